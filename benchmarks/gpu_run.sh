#!/usr/bin/env bash
# Everything that needs a GPU, piece by piece: build, tests, compute-sanitizer, benchmarks. Each piece ends well inside ten minutes.
#
#   benchmarks/gpu_run.sh OUT [PIECE...]      OUT: folder for gpu_run.jsonl (results) and gpu_run.log, both added to
#
#   build     the extension and the DALI plugin, with the CUDA twins
#   test      pytest -m gpu, where a skip is a failure
#   sanitize  compute-sanitizer on the kernels' tests: memcheck, racecheck, initcheck
#   kernels   assemble and motion against the copy bandwidth; plan, and all of them in the DALI graph
#   decoder   NVDEC by number of threads, at three sizes; slices against whole files; against PyAV
#   loader    VCOP tuples a second, decoded by NVDEC and by the CPU
#   train     share of a step that waits for data, in training
#   memory    memory of the host and of the device over epochs
#
# No PIECE: all of them, in this order. A piece that fails does not keep the next from running; the exit code says whether all went well.
#
#   PYTHON=.venv/bin/python   an interpreter that has what vidssl needs (`make build` makes this one)
#   DEVICE=cuda               cpu: a trial of the script on a machine without a GPU; what only a GPU can do is left out and said
#   QUICK=                    1: the fewest rounds, to see that a piece runs
set -uo pipefail
cd "$(dirname "$0")/.."

PYTHON=${PYTHON:-.venv/bin/python}
DEVICE=${DEVICE:-cuda}
QUICK=${QUICK:-}
PIECES=(build test sanitize kernels decoder loader train memory)
LIMIT=560 # seconds of a piece

usage() {
  sed -n '4,19p' "$0" | sed 's/^# \{0,1\}//'
  exit "$1"
}

[[ ${1:-} == -h || ${1:-} == --help ]] && usage 0
[[ $# -ge 1 ]] || usage 2
[[ $DEVICE == cuda || $DEVICE == cpu ]] || { echo "DEVICE=$DEVICE: take cuda or cpu" >&2; exit 2; }
OUT=$1
shift
for piece in "$@"; do
  [[ " ${PIECES[*]} " == *" $piece "* ]] || { echo "$piece: no such piece; take some of ${PIECES[*]}" >&2; exit 2; }
done
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)

# bench MODULE ARGUMENT...: one benchmark, its results in OUT
bench() {
  "$PYTHON" -m "benchmarks.$1" --out "$OUT/gpu_run.jsonl" "${@:2}"
}

left_out() {
  echo "left out with DEVICE=$DEVICE: $1"
}

piece_build() {
  local wanted=1
  [[ $DEVICE == cuda ]] || wanted=${VIDSSL_CUDA:-}
  VIDSSL_CUDA=$wanted "$PYTHON" setup.py -q build_ext --inplace && "$PYTHON" -m vidssl info
}

piece_test() {
  local required=1
  [[ $DEVICE == cuda ]] || required=0
  VIDSSL_REQUIRE_GPU=$required "$PYTHON" -m pytest -m gpu -p no:cacheprovider
}

piece_sanitize() {
  if [[ $DEVICE == cpu ]]; then
    left_out "compute-sanitizer"
    return
  fi
  command -v compute-sanitizer >/dev/null || { echo "compute-sanitizer: not found; it comes with the CUDA toolkit" >&2; return 1; }
  local tool failed=0 # the sizes with which a kernel takes each of its ways
  local tests=(tests/kernels/test_cuda.py -k 'test_motion and (5-37-53 or 40-128-340) or test_plan or test_assemble and float32-kcthw')
  for tool in memcheck racecheck initcheck; do
    echo "== $tool"
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 VIDSSL_REQUIRE_GPU=1 timeout 170 compute-sanitizer --tool "$tool" --error-exitcode 9 \
      --kernel-regex kns=_kernel "$PYTHON" -m pytest -x -p no:cacheprovider "${tests[@]}" || failed=1
  done
  return $failed
}

piece_kernels() {
  local some=(--repeats 21)
  [[ -z $QUICK ]] || some=(--repeats 2)
  [[ $DEVICE == cuda ]] || some+=(--device cpu --tuples 2)
  bench bench_cuda "${some[@]}"
}

piece_decoder() {
  local some=(--repeats 2)
  if [[ $DEVICE == cpu ]]; then
    some=(--repeats 2 --threads 1 2 --sizes 240 --count 4)
  elif [[ -n $QUICK ]]; then
    some=(--repeats 1 --threads 4 14 --count 32)
  fi
  bench bench_decoder --only slice --repeats 3 && bench bench_decoder --only decoder --device "$DEVICE" "${some[@]}"
}

piece_loader() {
  if [[ $DEVICE == cpu ]]; then
    bench bench_loader --workers 1 --repeats 1 --batches 1 --batch-size 2
    return
  fi
  local some=(--repeats 5 --batches 6)
  [[ -z $QUICK ]] || some=(--repeats 1 --batches 2)
  bench bench_loader --device cuda --workers 16 --batch-size 32 "${some[@]}"
}

piece_train() {
  local size=(--batch-size 32 --steps 20)
  [[ $DEVICE == cuda && -z $QUICK ]] || size=(--batch-size 2 --repeats 1)
  bench bench_train --device "$DEVICE" "${size[@]}" && bench bench_train --device "$DEVICE" --recipe vcop_r2plus1d --no-plain "${size[@]}"
}

piece_memory() {
  local epochs=40
  [[ -z $QUICK && $DEVICE == cuda ]] || epochs=4
  if [[ $DEVICE == cpu ]]; then
    bench bench_memory --epochs $epochs
    return
  fi
  bench bench_memory --device cuda --decode nvdec --epochs $epochs --workers 16 && \
    bench bench_memory --device cuda --decode cpu --epochs $epochs --workers 16
}

export -f bench left_out
failed=()
for piece in "${@:-${PIECES[@]}}"; do
  echo "==== $piece"
  began=$SECONDS
  # A piece in a process of its own, so that its time can be limited.
  export -f "piece_$piece"
  PYTHON=$PYTHON DEVICE=$DEVICE QUICK=$QUICK OUT=$OUT timeout $LIMIT bash -uo pipefail -c "piece_$piece" 2>&1 | tee -a "$OUT/gpu_run.log"
  code=${PIPESTATUS[0]}
  [[ $code -eq 0 ]] || failed+=("$piece (exit code $code)")
  echo "==== $piece: $((SECONDS - began)) s, exit code $code"
done
[[ ${#failed[@]} -eq 0 ]] || { echo "failed: ${failed[*]}" >&2; exit 1; }
