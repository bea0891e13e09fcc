#!/usr/bin/env bash
#SBATCH --job-name=vidssl
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
# Trains on one or several nodes under Slurm, and goes on after the job was preempted or its time was over: 120 seconds
# before the end, Slurm sends USR1 to this script, which hands it to training. The run writes a checkpoint and ends, and
# the job is queued again. The same command then resumes, bit for bit.
#
#   sbatch --nodes 2 examples/slurm.sh VIDEOS RUN [OPTION...]
#
# RUN lies on a file system that all nodes share, since a job that is queued again may get others. The videos and a store
# (--store) may lie on disks that they do not share, under the same paths.
set -euo pipefail
[[ $# -ge 2 ]] || { echo "usage: sbatch examples/slurm.sh VIDEOS RUN [OPTION...]" >&2; exit 2; }
data=$1 out=$2
head=${SLURM_JOB_NODELIST:+$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)}

resume=()
compgen -G "$out/checkpoints/step_*" >/dev/null && resume=(--resume)
# torchrun waits so long for processes that write a checkpoint; it would kill them after 30 seconds otherwise.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-110}
srun --kill-on-bad-exit=1 "${PYTHON:-python}" -m torch.distributed.run \
  --nnodes "${SLURM_NNODES:-1}" --nproc-per-node "${PROCESSES:-gpu}" --signals-to-handle SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1 \
  --rdzv-backend c10d --rdzv-endpoint "${head:-127.0.0.1}:${PORT:-29500}" --rdzv-id "${SLURM_JOB_ID:-0}" \
  -m vidssl train "${RECIPE:-vcop_r3d}" --data "$data" --out "$out" --norm group "${resume[@]}" "${@:3}" &
step=$!

preempted=
trap 'preempted=1; kill -USR1 "$step" 2>/dev/null || true' USR1 TERM # srun hands it to the processes of all nodes
code=0
while :; do
  wait "$step" && code=0 || code=$?
  kill -0 "$step" 2>/dev/null || break # else a signal ended the wait, and the run is still writing its checkpoint
done
if [[ $preempted && $code -ne 0 ]]; then # a run that has just reached its end has code 0
  scontrol requeue "${SLURM_JOB_ID:?is set by Slurm}"
fi
exit "$code"
