# Sourced by every *_test.sh: a home of its own, and checks that say what they expected. Usage: NAME_test.sh GRITSTONE SOURCE_TREE
set -euo pipefail
gritstone=$(realpath "$1")
source_tree=$(realpath "$2")
work=$(mktemp -d "${TMPDIR:-/tmp}/gritstone-e2e.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
export HOME=$work/home
mkdir -p "$HOME"
unset XDG_DATA_HOME XDG_CONFIG_HOME XDG_CACHE_HOME
while read -r name; do unset "$name"; done < <(compgen -e | grep '^GRITSTONE_' | grep -v '^GRITSTONE_SIMD$' || true)

checks=0
die() { echo "FAILED: $*"; exit 1; }

# run STATUS ARGUMENT...: runs gritstone; its output is in ./out and ./err afterwards. Fails on another exit status.
run() {
  local expected=$1 status=0
  shift
  "$gritstone" "$@" >out 2>err </dev/null || status=$?
  checks=$((checks + 1))
  [[ $status -eq $expected ]] && return
  echo "--- stdout"; head -c 2000 out; echo "--- stderr"; head -c 2000 err
  die "gritstone $* ended with $status, expected $expected"
}

# check EXPRESSION: Python over d (the JSON document in ./out, or the file named second) must be true.
check() {
  checks=$((checks + 1))
  python3 -c '
import json, sys
d = json.load(open(sys.argv[2]))
if not eval(sys.argv[1]):
    print(json.dumps(d)[:2000])
    sys.exit(1)' "$1" "${2:-out}" || die "$1"
}

# says FILE PATTERN: ./out or ./err must match the extended regular expression.
says() {
  checks=$((checks + 1))
  grep -qE -- "$2" "$1" || { head -c 2000 "$1"; die "$1 does not say /$2/"; }
}

same() { checks=$((checks + 1)); cmp -s "$1" "$2" || die "$1 and $2 differ"; }
value() { python3 -c 'import json, sys; d = json.load(open("out")); print(eval(sys.argv[1]))' "$1"; }
done_all() { echo "$checks checks passed"; }
