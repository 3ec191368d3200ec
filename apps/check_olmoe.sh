#!/usr/bin/env bash
# Confirms that real OLMoE-1B-7B weights run correctly here: shape, known facts, perplexity of ordinary English.
#   apps/check_olmoe.sh FILE [GRITSTONE]
# FILE: a GGUF file or a Hugging Face directory of OLMoE-1B-7B (0924 or 0125; base, SFT or Instruct).
# GRITSTONE: the executable, by default build/release/gritstone. Exit status 0 if every check passed.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
[[ $# -ge 1 && "$1" != -h && "$1" != --help ]] || { sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 1; }
model=$1
gritstone=${2:-$root/build/release/gritstone}
[[ -e "$model" ]] || { echo "check_olmoe.sh: $model does not exist" >&2; exit 1; }
[[ -x "$gritstone" ]] || { echo "check_olmoe.sh: $gritstone is not built; run: cmake --preset release && cmake --build --preset release" >&2; exit 1; }

passed=0 failed=0
check() {  # check NAME OK DETAIL
  if [[ "$2" == yes ]]; then passed=$((passed + 1)); printf 'ok      %s: %s\n' "$1" "$3"
  else failed=$((failed + 1)); printf 'FAILED  %s: %s\n' "$1" "$3"; fi
}
field() { python3 -c 'import json, sys
value = json.load(sys.stdin)
for key in sys.argv[1].split("."): value = value[key]
print(value)' "$1"; }

# The published shape: any other means that this is not OLMoE-1B-7B.
shape=$("$gritstone" model show -m "$model" --json -q)
for expected in architecture=olmoe layers=16 hidden=2048 heads=16 kv_heads=16 experts=64 experts_used=8 vocab=50304; do
  key=${expected%%=*}
  value=$(field "config.$key" <<<"$shape")
  check "shape" "$([[ "$value" == "${expected#*=}" ]] && echo yes || echo no)" "$key is $value, expected ${expected#*=}"
done

# Facts any model of this size completes greedily; --raw sends the text as it is, so base and instruct models are asked alike.
fact() {  # fact PROMPT PATTERN
  local text
  text=$("$gritstone" generate -m "$model" --raw -p "$1" -n 12 --temp 0 --json -q | field text)
  check "fact" "$(grep -qiE "$2" <<<"$text" && echo yes || echo no)" "\"$1\" -> \"${text//$'\n'/ }\""
}
fact "The capital of France is" '\bParis\b'
fact "The chemical formula of water is" 'H2O|H₂O'
fact "The play Romeo and Juliet was written by William" 'Shakespeare'
fact "The largest planet in the Solar System is" 'Jupiter'
fact "Monday, Tuesday, Wednesday, Thursday," 'Friday'
fact "2 + 2 =" '\b4\b'
fact "The opposite of hot is" 'cold'
fact "The first President of the United States was George" 'Washington'

# Articles of the sample corpus: ordinary English that no model has seen. A correct 7B-parameter mixture lies well inside the range; wrong
# RoPE, routing or dequantisation gives hundreds, random weights about the size of the vocabulary.
passage=$(mktemp)
trap 'rm -f "$passage"' EXIT
cat "$root"/data/sample/docs/{photosynthesis.md,octopus.txt,panama_canal.md,volcanoes.md,iceland.md,glass.txt,tides.md} >"$passage"
perplexity=$("$gritstone" perplexity -m "$model" -f "$passage" --json -q | field perplexity)
check "perplexity" "$(python3 -c 'import sys; p = float(sys.argv[1]); print("yes" if 2 <= p <= 20 else "no")' "$perplexity")" \
  "$perplexity on the sample articles, expected between 2 and 20"

echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
