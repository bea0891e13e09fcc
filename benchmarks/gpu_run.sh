#!/usr/bin/env bash
# Everything that needs a GPU, piece by piece, what tells most first: for a machine that is at hand for half an hour.
#
#   benchmarks/gpu_run.sh OUT [PIECE...]      OUT: folder for gpu_run.jsonl (results) and gpu_run.log, both added to, and facts.json
#
#   facts         GPU, driver, CUDA, NVDEC, PCIe, clocks, compilers, Python packages: in seconds, all of it only read
#   build         the extension and the DALI plugin, with the CUDA twins
#   test-kernels  the CUDA twins against the CPU twins
#   kernels       assemble and motion against the copy bandwidth; plan, and all of them in the DALI graph
#   test-loader   the graph on the GPU, and NVDEC's frames
#   loader        VCOP tuples a second, decoded by NVDEC and by the CPU
#   store         tuples a second from the store, by backend: file, memory, device
#   decoder       NVDEC by number of threads, at three sizes; slices against whole files; against PyAV
#   train         share of a step that waits for data, in training, from the store and by decoding
#   memory        memory of the host and of the device over epochs
#   sanitize      compute-sanitizer on each kernel in turn: memcheck, racecheck, initcheck
#
# No PIECE: all of them, in this order. Each ends well inside ten minutes. A piece that fails does not keep the next from running; the exit
# code says whether all went well. Each result is written as soon as it is there; a piece that was cut off goes on where it was, if asked for
# again with the same OUT and commit. Without NVDEC what it decodes is left out, and said.
#
#   PYTHON=.venv/bin/python   an interpreter that has what vidssl needs (`make build` makes this one)
#   CLIPS=OUT/clips           folder that keeps the clips that are made here
#   VIDSSL_COMMIT=            the commit, for a copy without .git
#   DEVICE=cuda               cpu: a trial of the script on a machine without a GPU; what only a GPU can do is left out and said
#   QUICK=                    1: the fewest rounds and the shortest clips, to see that a piece runs; results go to OUT/quick.jsonl
set -uo pipefail
cd "$(dirname "$0")/.." || exit

export PYTHON=${PYTHON:-.venv/bin/python} DEVICE=${DEVICE:-cuda} QUICK=${QUICK:-} PYTHONUNBUFFERED=1
PIECES=(facts build test-kernels kernels test-loader loader store decoder train memory sanitize)
LIMIT=560 # seconds of a piece

usage() {
  sed -n '4,28p' "$0" | sed 's/^# \{0,1\}//'
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
export OUT CLIPS=${CLIPS:-$OUT/clips}
# Containers and cluster nodes mount the driver here; the dynamic loader looks only where it is told to.
for folder in /usr/local/nvidia/lib64 /usr/local/nvidia/lib; do
  [[ ! -e $folder/libnvcuvid.so.1 ]] || export LD_LIBRARY_PATH=$folder${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
done

# bench MODULE ARGUMENT...: one benchmark, its results in OUT; what is there already is not measured again
bench() {
  local name=gpu_run
  [[ -z $QUICK ]] || name=quick
  "$PYTHON" -m "benchmarks.$1" --out "$OUT/$name.jsonl" --resume "${@:2}"
}

# made MODULE ARGUMENT...: a benchmark that makes clips
made() {
  local quick=()
  [[ -z $QUICK ]] || quick=(--quick)
  bench "$1" --keep "$CLIPS" ${quick[@]+"${quick[@]}"} "${@:2}"
}

left_out() {
  echo "left out: $1"
}

# tests ARGUMENT...: those that need a GPU; a skip is a failure there
tests() {
  local required=1
  [[ $DEVICE == cuda ]] || required=0
  VIDSSL_REQUIRE_GPU=$required "$PYTHON" -m pytest -v --tb=short --durations=5 -p no:cacheprovider "$@"
}

piece_facts() {
  "$PYTHON" -m benchmarks.facts --out "$OUT/facts.json"
}

piece_build() {
  local wanted=1
  [[ $DEVICE == cuda ]] || wanted=${VIDSSL_CUDA:-}
  VIDSSL_CUDA=$wanted "$PYTHON" setup.py -q build_ext --inplace && "$PYTHON" -m vidssl info
}

piece_test-kernels() {
  tests -m gpu tests/kernels/test_cuda.py tests/pretext/test_golden.py
}

piece_test-loader() {
  local which=gpu
  local has_nvdec='import sys; from benchmarks.workloads import nvdec; sys.exit(nvdec() is None)'
  if [[ $DEVICE == cuda ]] && ! "$PYTHON" -c "$has_nvdec"; then
    which="gpu and not nvdec"
  fi
  tests -m "$which" tests/loader/test_gpu.py tests/loader/test_effects.py
}

piece_kernels() {
  local some=(--repeats 21)
  [[ -z $QUICK ]] || some=(--repeats 2)
  [[ $DEVICE == cuda ]] || some+=(--device cpu --tuples 2)
  bench bench_cuda "${some[@]}"
}

piece_loader() {
  local some=(--device cuda --workers "$(nproc)" --batch-size 32 --repeats 3 --batches 6)
  [[ -z $QUICK ]] || some=(--device cuda --workers 4 --batch-size 4 --repeats 1 --batches 1)
  [[ $DEVICE == cuda ]] || some=(--workers 1 --batch-size 1 --repeats 1 --batches 1)
  made bench_loader "${some[@]}"
}

piece_store() {
  # VCOP at 128x171, and OPN, whose motion is measured on the device. Later epochs only: what decodes is in other pieces.
  local some=(--pieces epochs --device cuda --batch-size 64 --mebibytes 1024 --cores "$(nproc)" --no-decode)
  [[ -z $QUICK ]] || some=(--pieces epochs --device cuda --batch-size 8 --batches 1 --repeats 1)
  [[ $DEVICE == cuda ]] || some=(--pieces epochs --batch-size 1 --batches 1 --repeats 1)
  made bench_store "${some[@]}" --methods "VCOP, 128x171" "OPN, 240x320"
}

piece_decoder() {
  local size failed=0
  # Windows: those of a batch lie in the device's memory, 12 GB of 64 at 720p.
  local -A count=([240]=64 [256]=64 [720]=32)
  if [[ $DEVICE == cpu ]]; then
    made bench_decoder --only decoder --threads 1 2 --sizes 240 --count 2 --repeats 1
    return
  fi
  for size in 240 720 256; do
    local some=(--repeats 3 --count "${count[$size]}")
    [[ -z $QUICK ]] || some=(--repeats 1 --threads 4 14 --count 8)
    made bench_decoder --only decoder --device cuda --sizes "$size" "${some[@]}" || failed=1
  done
  return $failed
}

piece_train() {
  local some=(--batch-size 32 --steps 10) failed=0
  [[ -z $QUICK ]] || some=(--batch-size 2 --repeats 1)
  if [[ $DEVICE == cpu ]]; then
    made bench_train --recipe vcop_r3d_tiny --no-plain --batch-size 2 --repeats 1 --workers 1
    return
  fi
  local recipe
  for recipe in vcop_r3d vcop_r2plus1d; do
    made bench_train --device cuda --recipe $recipe --store 128 171 --no-plain "${some[@]}" || failed=1
  done
  made bench_train --device cuda "${some[@]}" || failed=1
  return $failed
}

piece_memory() {
  local some=(--epochs 30) decode failed=0
  [[ -z $QUICK ]] || some=(--epochs 3 --batch-size 2)
  if [[ $DEVICE == cpu ]]; then
    made bench_memory "${some[@]}"
    return
  fi
  for decode in nvdec cpu; do
    made bench_memory --device cuda --decode $decode --workers "$(nproc)" "${some[@]}" || failed=1
  done
  return $failed
}

# sanitized TOOL KERNEL TEST: one tool, one kernel, in the tests whose name TEST fits
sanitized() {
  local by=--kernel-name
  compute-sanitizer --help | grep -q -- "$by" || by=--kernel-regex # as older ones call it
  PYTORCH_NO_CUDA_MEMORY_CACHING=1 VIDSSL_REQUIRE_GPU=1 timeout 150 \
    compute-sanitizer --tool "$1" --error-exitcode 9 "$by" "kns=$2" \
    "$PYTHON" -m pytest -x -p no:cacheprovider tests/kernels/test_cuda.py -k "$3"
}

piece_sanitize() {
  if [[ $DEVICE == cpu ]]; then
    left_out "compute-sanitizer needs a GPU"
    return
  fi
  command -v compute-sanitizer >/dev/null || {
    echo "compute-sanitizer: not found; it comes with the CUDA toolkit" >&2
    return 1
  }
  local tool source kernel case failed=0
  local -A fits=( # the sizes with which a kernel takes each of its ways
    [motion]="test_motion and (5-37-53 or 40-128-340)" [plan]="test_plan" [assemble]="test_assemble and float32-kcthw"
    [reduce]="test_reduce and (37-53 or 90-400)"
  )
  for tool in memcheck racecheck initcheck; do
    for source in plan assemble motion reduce; do
      for kernel in $(grep -oh '\w*_kernel(' "csrc/kernels/${source}_cuda.cu" | tr -d '(' | sort -u); do
        case="$tool $kernel $(sha256sum "csrc/kernels/${source}_cuda.cu" | cut -c1-12)"
        if grep -qxF "$case" "$OUT/sanitized" 2>/dev/null; then
          echo "== $tool $kernel: passed before"
          continue
        fi
        echo "== $tool $kernel"
        if sanitized "$tool" "$kernel" "${fits[$source]}"; then echo "$case" >>"$OUT/sanitized"; else failed=1; fi
      done
    done
  done
  return $failed
}

export -f bench made left_out tests sanitized
failed=()
for piece in "${@:-${PIECES[@]}}"; do
  echo "==== $piece"
  began=$SECONDS
  # A piece in a process of its own, so that its time can be limited.
  export -f "piece_$piece"
  timeout $LIMIT bash -uo pipefail -c "piece_$piece" 2>&1 | tee -a "$OUT/gpu_run.log"
  code=${PIPESTATUS[0]}
  [[ $code -eq 0 ]] || failed+=("$piece (exit code $code)")
  echo "==== $piece: $((SECONDS - began)) s, exit code $code"
done
[[ ${#failed[@]} -eq 0 ]] || { echo "failed: ${failed[*]}" >&2; exit 1; }
