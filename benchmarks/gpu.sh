#!/usr/bin/env bash
# All checks and benchmarks of a machine with a GPU, in one run and without a network: build, CUDA tests,
# compute-sanitizer, the machine's ceilings, all GPU benchmarks, and one table of them in benchmarks/results/.
# It compares canonical with exact slots (PYADX_SLOTS, bench_occlusion_engines.py), and class activation maps
# with and without channels divided among blocks (PYADX_CAM_SPLIT, bench_weighted_cam.py).
#
#   benchmarks/gpu.sh [--dry-run] [--cpu] [--only PART[,PART...]] [--out FOLDER]
#
# Parts: build test sanitize bench. Each has a time limit; together they stay under nine minutes. If a part
# fails, a message says so, the others still run, and the exit code is 1.
#   --cpu      similar steps without a GPU and with small sizes, to test this script
#   --dry-run  print the commands only
#
# The brain of the benchmarks comes from nilearn. If that is missing here, run `python benchmarks/brain.py`
# elsewhere and copy build/mni152-110.npz.
set -euo pipefail
cd "$(dirname "$0")/.."

dry= cpu= only= out=benchmarks/results
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) dry=1 ;;
    --cpu) cpu=1 ;;
    --only) only=${2:?--only needs parts}; shift ;;
    --out) out=${2:?--out needs a folder}; shift ;;
    *) echo "gpu.sh: unknown option $1; see the top of $0" >&2; exit 2 ;;
  esac
  shift
done
python=${PYTHON:-python3}
failed=
for part in ${only//,/ }; do
  case $part in
    build | test | sanitize | bench) ;;
    *) echo "gpu.sh: unknown part $part; parts are build, test, sanitize, bench" >&2; exit 2 ;;
  esac
done

wanted() { [ -z "$only" ] || [[ ,$only, == *,$1,* ]]; }

# step PART SECONDS COMMAND...
step() {
  local part=$1 limit=$2
  shift 2
  wanted "$part" || return 0
  echo "+ [$part, at most $limit s] $*"
  [ -z "$dry" ] || return 0
  local start=$SECONDS
  timeout --kill-after=10 "$limit" "$@" || { echo "gpu.sh: $part failed with exit code $?" >&2; failed="$failed $part"; }
  echo "  $part: $((SECONDS - start)) s"
}

if [ -z "$cpu" ] && [ -z "$dry" ] && ! "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())'; then
  echo "gpu.sh: torch sees no CUDA GPU here; --cpu runs similar steps without one" >&2
  exit 2
fi

if [ -z "$cpu" ]; then
  step build 150 env PYADX_CUDA=ON "$python" -m pip install --no-build-isolation --no-deps .
  step test 100 "$python" -m pytest -q -k cuda tests/ops tests/inference tests/explainers tests/segmentation
  if command -v compute-sanitizer > /dev/null || [ -n "$dry" ]; then
    for tool in memcheck racecheck; do
      step sanitize 40 compute-sanitizer --tool "$tool" --error-exitcode 9 \
        "$python" -m pytest -q -x -k "cuda and not holds" tests/ops/test_weighted_cam.py tests/ops/test_patches.py \
        tests/ops/test_patch_conv.py::test_conv_sums_each_patch_alike_in_any_batch_and_with_any_threads
    done
  else
    echo "gpu.sh: compute-sanitizer is not installed, so sanitize is left out"
  fi
  step bench 175 "$python" benchmarks/run.py --device cuda --out "$out" --name gpu --only bench_ceilings.py \
    bench_masking.py bench_weighted_cam.py bench_end_to_end.py bench_occlusion_engines.py bench_gradcam_vs_peers.py \
    bench_whole_map.py
  step bench 30 "$python" benchmarks/cuda_convolutions.py --out "$out"
else
  step test 200 "$python" -m pytest -q -k "emulated" tests/ops/test_occlude.py tests/ops/test_weighted_cam.py
  step bench 200 env PYADX_BENCH_QUICK=1 "$python" benchmarks/run.py --device cpu --out "$out" --name gpu-dry \
    --only bench_ceilings.py bench_masking.py bench_weighted_cam.py \
    --select "test_copy or matrix or (fresh and 64) or (weighted_cam and vggnet)"
  step bench 60 "$python" benchmarks/cuda_convolutions.py --cpu --out "$out"
fi
[ -z "$failed" ] || { echo "gpu.sh: failed:$failed" >&2; exit 1; }
