#!/usr/bin/env bash
# Everything that must hold before a change is merged: the unit tests under ASan and UBSan, the release build with its end-to-end tests and
# those of the optimised kernels, fuzz targets.
#   tests/run.sh [--quick] [--no-install] [--no-asan] [--no-fuzz] [--fuzz-seconds N]
# --quick, --no-asan: all tests with the release build. Exit status 0 if nothing failed; the last line counts.
set -uo pipefail
cd "$(dirname "$0")/.."

install=1 asan=1 fuzz=1 fuzz_seconds=30
while [[ $# -gt 0 ]]; do
  case "$1" in
    --quick) asan=0 fuzz=0 ;;
    --no-install) install=0 ;;
    --no-asan) asan=0 ;;
    --no-fuzz) fuzz=0 ;;
    --fuzz-seconds) fuzz_seconds=${2:?--fuzz-seconds needs a number}; shift ;;
    -h|--help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "run.sh: unknown option $1" >&2; exit 1 ;;
  esac
  shift
done

passed=0 failed=0 failures=()
pass() { passed=$((passed + 1)); }
fail() { failed=$((failed + 1)); failures+=("$1"); echo "FAILED: $1"; }
summary() {
  echo
  for failure in ${failures[@]+"${failures[@]}"}; do echo "FAILED: $failure"; done
  echo "$passed passed, $failed failed"
  [[ $failed -eq 0 ]]
}
stage() { printf '\n== %s (%d s so far)\n' "$1" "$SECONDS"; }

# Compilers take up to 1 GB each; a machine with little memory builds with fewer at once.
jobs=$(nproc)
memory_gb=$(awk '/MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)
(( memory_gb >= 1 && memory_gb < jobs )) && jobs=$memory_gb

# build PRESET [TARGET...]: configure and build; a failure counts once and stops the stages that need it.
build() {
  local preset=$1
  shift
  # Where a CUDA toolkit is found: one architecture is enough to see that the kernels compile.
  if cmake --preset "$preset" -DGRITSTONE_CUDA_ARCHITECTURES=90a >"build/$preset-configure.log" 2>&1 &&
    cmake --build --preset "$preset" -j "$jobs" --target "${@:-all}" >"build/$preset-build.log" 2>&1; then
    pass
    return 0
  fi
  tail -n 60 "build/$preset-configure.log"
  [[ -f build/$preset-build.log ]] && grep -A 20 -m 5 -E 'error|FAILED' "build/$preset-build.log"
  fail "build of preset $preset"
  return 1
}

# tests PRESET LABELS: test cases counted into the summary (GoogleTest's cases, and each end-to-end script as one). Output of failures only.
tests() {
  local log="build/$1-tests.log" total broken cases
  ctest --test-dir "build/$1" -j "$(nproc)" -L "$2" --output-on-failure --no-tests=error -V >"$log" 2>&1
  grep -E '^ *[0-9]+/[0-9]+ Test ' "$log"
  total=$(sed -nE 's/^.* tests failed out of ([0-9]+)$/\1/p' "$log" | tail -n 1)
  broken=$(sed -nE 's/^.*, ([0-9]+) tests failed out of [0-9]+$/\1/p' "$log" | tail -n 1)
  if [[ -z "$total" || "$total" -eq 0 ]]; then
    fail "$1: ctest ran nothing"
    return
  fi
  # GoogleTest programs print "[  PASSED  ] N tests."; what has no such line is a script and counts once.
  cases=$(sed -nE 's/^[0-9]+: \[  PASSED  \] ([0-9]+) tests?\.$/\1/p' "$log" | awk '{ n += $1 } END { print n + 0 }')
  passed=$((passed + cases + $(grep -cE '^ *[0-9]+/[0-9]+ Test .* e2e_.*Passed' "$log" || true)))
  local bad named=$failed
  while read -r bad; do fail "$1: $bad"; done < <(sed -nE 's/^[0-9]+: \[  FAILED  \] ([^ ]+\.[^ ,]+)( \(.*)?$/\1/p' "$log" | sort -u)
  if [[ $broken -gt 0 ]]; then
    # Programs and scripts that failed without naming a case: crashes, time-outs, end-to-end checks.
    while read -r bad; do
      [[ $bad != e2e_* && $failed -gt $named ]] || fail "$1: $bad"
    done < <(sed -nE 's/^[[:space:]]+[0-9]+ - ([^ ]+) .*$/\1/p' "$log")
    sed -nE '/FAILED|Failure|ERROR|runtime error|--- std/,+12p' "$log" | head -n 200
  fi
}

# fuzz_one EXECUTABLE: its corpus of bad files first, then fuzz_seconds of mutations. New inputs stay in the build folder.
fuzz_one() {
  local name seeds found
  name=$(basename "$1")
  seeds="tests/fuzz/corpus/${name%_fuzz}"
  found="build/fuzz/found/$name"
  mkdir -p "$found"
  local directories=("$found")
  [[ -d "$seeds" ]] && directories+=("$seeds")
  "$1" -max_total_time="$fuzz_seconds" -rss_limit_mb=2048 -timeout=10 -max_len=65536 -print_final_stats=1 \
    -artifact_prefix="build/fuzz/crash-$name-" "${directories[@]}" >"build/fuzz/$name.log" 2>&1
}

mkdir -p build
if [[ $install -eq 1 ]]; then
  options=()
  [[ $fuzz -eq 1 ]] && options+=(--fuzz)
  if ! apps/install_packages.sh ${options[@]+"${options[@]}"}; then
    fail "installation of packages"
    summary
    exit 1
  fi
fi

stage "Release build"
targets=(all) labels='unit|e2e'
if [[ $asan -eq 1 ]]; then  # which runs the unit tests
  targets=(gritstone optimised_tests) labels='optimised|e2e'
fi
if build release "${targets[@]}"; then
  stage "Tests"
  tests release "$labels"
fi

if [[ $asan -eq 1 ]]; then
  stage "ASan and UBSan build"
  if build asan unit_tests; then
    stage "Unit tests under ASan and UBSan"
    export UBSAN_OPTIONS=print_stacktrace=1
    tests asan unit
  fi
fi

if [[ $fuzz -eq 1 ]]; then
  stage "Fuzz build"
  if build fuzz fuzz_targets; then
    stage "Fuzz targets, $fuzz_seconds s each"
    mapfile -t targets < <(find build/fuzz/tests/fuzz -maxdepth 1 -type f -name '*_fuzz' -perm -u+x | sort)
    [[ ${#targets[@]} -eq 0 ]] && fail "no fuzz targets were built"
    for ((i = 0; i < ${#targets[@]}; i += 2)); do  # two at a time
      pids=()
      for target in "${targets[@]:i:2}"; do
        fuzz_one "$target" &
        pids+=($!)
      done
      for ((k = 0; k < ${#pids[@]}; ++k)); do
        name=$(basename "${targets[i + k]}")
        if wait "${pids[k]}"; then
          pass
          echo "$name: $(sed -nE 's/^stat::number_of_executed_units: *([0-9]+)$/\1/p' "build/fuzz/$name.log") inputs"
        else
          tail -n 40 "build/fuzz/$name.log"
          fail "fuzz target $name"
        fi
      done
    done
  fi
fi

stage "Done"
summary
