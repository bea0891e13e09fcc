#!/usr/bin/env bash
#SBATCH --job-name=vidssl
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@180
# Trains on one or several nodes under Slurm, and goes on after the job was preempted or its time was over: 180 seconds
# before the end, Slurm sends USR1; the run writes a checkpoint, and the job is queued again. It then resumes, bit for bit.
#
#   sbatch --nodes 2 examples/slurm.sh VIDEOS RUN [OPTION...]
#
# RUN and the videos lie on a file system that all nodes share. A store (--store) may lie on one that they do not share:
# each node then keeps the frames that it decodes.
set -euo pipefail
[[ $# -ge 2 ]] || { echo "usage: sbatch examples/slurm.sh VIDEOS RUN [OPTION...]" >&2; exit 2; }
data=$1 out=$2
head=${SLURM_JOB_NODELIST:+$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)}

resume=()
[[ ! -d $out/checkpoints ]] || resume=(--resume)
srun --kill-on-bad-exit=1 "${PYTHON:-python}" -m torch.distributed.run \
  --nnodes "${SLURM_NNODES:-1}" --nproc-per-node "${PROCESSES:-gpu}" \
  --rdzv-backend c10d --rdzv-endpoint "${head:-127.0.0.1}:${PORT:-29500}" --rdzv-id "${SLURM_JOB_ID:-0}" \
  -m vidssl train "${RECIPE:-vcop_r3d}" --data "$data" --out "$out" --norm group "${resume[@]}" "${@:3}" &
step=$!

preempted=
trap 'preempted=1; kill -TERM "$step" 2>/dev/null || true' USR1 TERM # srun hands TERM to every process of the run
code=0
wait "$step" || code=$?
if [[ $preempted ]]; then
  wait "$step" || true # the trap ended the first wait; the run is still writing its checkpoint
  scontrol requeue "${SLURM_JOB_ID:?is set by Slurm}"
fi
exit "$code"
