#!/usr/bin/env bash
# Trains with several processes, one for each GPU; without GPUs they share the cores. After a process dies, all processes
# start again from the latest checkpoint.
#
#   examples/torchrun.sh VIDEOS RUN [PROCESSES] [OPTION...]
set -euo pipefail
[[ $# -ge 2 ]] || { sed -n '4,5p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
data=$1 out=$2 processes=${3:-2}
"${PYTHON:-python}" -m torch.distributed.run --standalone --nproc-per-node "$processes" --max-restarts 3 \
  -m vidssl train vcop_r3d_tiny --data "$data" --out "$out" --norm group "${@:4}"
