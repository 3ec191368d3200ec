#!/usr/bin/env bash
# What only a GPU can show, in stages; every figure of docs/results/cuda.md comes from here.
#   tests/bench/cuda_check.sh [--build DIR] [--work DIR] STAGE...
#     tests       the op and engine tests on the device
#     sanitizer   compute-sanitizer over the same tests (TOOLS="memcheck racecheck synccheck", FILTER)
#     parity      transformers in bf16 on the same GPU (python3 with torch and transformers)
#     agreement   teacher-forced choices against the CPU's f32 (SMOLLM2=FILE, TEXT=FILE)
#     kernels     single kernels in every form, beside cuBLAS
#     bf16 q4     speed of the synthetic OLMoE-1B-7B in bf16 and Q4_K
#     peer        transformers' speed on the same GPU
#     reuse       time to the first token under each reuse policy
#     search      a collection of 4,300 passages, large enough to be searched on the GPU, through the commands of a user
# Needs a build with -DGRITSTONE_CUDA=ON -DGRITSTONE_BENCH=ON. Models are made in the work directory (14 GB in bf16).
set -uo pipefail
cd "$(dirname "$0")/../.."
build=build/cuda work=/tmp/gritstone-cuda
while [[ $# -gt 0 ]]; do
  case "$1" in
    --build) build=$2; shift 2 ;;
    --work) work=$2; shift 2 ;;
    *) break ;;
  esac
done
mkdir -p "$work"
gritstone=$build/gritstone bench=$build/tests/bench tests=$build/tests/test_cuda
status=0
run() {
  printf '\n$ %s\n' "$*"
  local start=$SECONDS
  "$@" || { status=1; echo "FAILED with $?"; }
  echo "($((SECONDS - start)) s)"
}
synth() {  # TYPE
  [[ -f $work/olmoe-$1.gguf ]] || run "$gritstone" model synth --like olmoe-1b-7b --type "$1" --routing zipf --seed 1 -q -o "$work/olmoe-$1.gguf"
}
for stage in "$@"; do
  printf '\n== %s\n' "$stage"
  case "$stage" in
    tests) run "$tests" --gtest_brief=1 ;;
    sanitizer)
      for tool in ${TOOLS:-memcheck}; do
        run compute-sanitizer --tool "$tool" --error-exitcode 9 "$tests" --gtest_brief=1 --gtest_filter="${FILTER:-*}"
      done ;;
    parity) run python3 tests/reference/compare_cuda.py --gritstone "$gritstone" ;;
    agreement) run "$bench/cuda_agreement_bench" "${SMOLLM2:?}" "${TEXT:?}" ;;
    kernels) run "$bench/cuda_kernels_bench" ;;
    bf16) run "$bench/cuda_bench" "$work/olmoe-bf16.gguf" --synth bf16 ;;
    q4) run "$bench/cuda_bench" "$work/olmoe-q4_k.gguf" --synth q4_k --skip-search ;;
    peer) run python3 tests/bench/transformers_olmoe.py ${PEER_OPTIONS:-} ;;
    reuse)
      synth "${REUSE_TYPE:-bf16}"
      run "$bench/reuse_bench" "$work/olmoe-${REUSE_TYPE:-bf16}.gguf" --device cuda --threads "$(nproc)" --span-type bf16 --work "$work/reuse" ${REUSE_OPTIONS:-} ;;
    search)
      synth bf16
      python3 - "$work/passages" <<'END'
import pathlib, random, sys
folder, draw = pathlib.Path(sys.argv[1]), random.Random(1)
folder.mkdir(parents=True, exist_ok=True)
words = ["".join(draw.choice("bcdfglmnprst") + draw.choice("aeiou") for _ in range(3)) for _ in range(3000)]
for i in range(4300):
    (folder / f"{i}.txt").write_text(" ".join(draw.choices(words, k=30)) + "\n")
END
      common=(-m "$work/olmoe-bf16.gguf" --device cuda --store "$work/store" -c passages)
      run "$gritstone" index "$work/passages" --kv off -q --json "${common[@]}"
      for i in 7 4242; do
        run "$gritstone" search "$(cat "$work/passages/$i.txt")" --mode dense -k 1 --json "${common[@]}"
      done ;;
    *) echo "cuda_check.sh: unknown stage $stage" >&2; exit 1 ;;
  esac
done
exit $status
