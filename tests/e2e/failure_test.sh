#!/usr/bin/env bash
# What goes wrong on real machines: interruption, a kill, a second writer, a full disk, damaged data. Each has its exit status.
source "$(dirname "$0")/lib.sh" "$@"

run 0 model synth --like tiny --type f16 -o tiny.gguf
export GRITSTONE_MODEL=$work/tiny.gguf GRITSTONE_STORE=$work/store GRITSTONE_COLLECTION=many
mkdir docs
for i in $(seq 150); do
  { echo "# Document $i"; for j in $(seq 12); do echo "Sentence $j of document $i speaks of thing $((i * j % 97))."; done; } >"docs/$i.md"
done
documents() { run 0 collection show many --documents --json; value '[(f["path"], f["sha256"], f["chunks"]) for f in d["document_list"]]'; }

# A clean run elsewhere is what an interrupted one must arrive at.
begun=$(date +%s%N)
GRITSTONE_STORE=$work/whole run 0 index docs -q
whole_ns=$(($(date +%s%N) - begun))
(export GRITSTONE_STORE=$work/whole; documents >whole.list)

# Ctrl-C while embedding: status 2, nothing half done, and the next run finishes the rest. The signal is sent at different moments of a
# run; one that was quicker than the signal ends with 0.
interrupted=0
for percent in 15 40 70; do
  rm -rf "$GRITSTONE_STORE"
  status=0
  "$gritstone" index docs -q >out 2>err &
  pid=$!
  sleep "$(awk -v ns="$whole_ns" -v percent="$percent" 'BEGIN { print ns * percent / 1e11 }')"
  kill -INT "$pid" 2>/dev/null || true
  wait "$pid" || status=$?
  [[ $status -eq 2 || $status -eq 0 ]] || { cat err; die "index ended with $status after SIGINT"; }
  [[ $status -eq 2 ]] && interrupted=$((interrupted + 1))
  if [[ -f $GRITSTONE_STORE/gritstone.db ]]; then
    run 0 collection verify --all --json
    check 'd["ok"]'
  fi
  run 0 index docs --json -q
  check 'd["pending"] == 0 and d["documents"] == 150'
  documents >part.list
  same whole.list part.list
done
[[ $interrupted -ge 1 ]] || die "no run was interrupted: all were quicker than the signal"

# SIGKILL cannot be caught: the store is as of the last commit.
rm -rf "$GRITSTONE_STORE"
"$gritstone" index docs -q >out 2>err &
pid=$!
sleep "$(awk -v ns="$whole_ns" 'BEGIN { print ns * 0.5 / 1e9 }')"
kill -KILL "$pid" 2>/dev/null || true
wait "$pid" 2>/dev/null || true
if [[ -f $GRITSTONE_STORE/gritstone.db ]]; then
  run 0 collection verify --all --json
  check 'd["ok"]'
fi
run 0 index docs -q
documents >part.list
same whole.list part.list

# A second writer is refused (status 3), readers are not.
exec 9>>"$GRITSTONE_STORE/lock"
flock -n 9
run 3 index docs
says err 'written by'
run 3 collection verify many
run 0 search thing -k 1 --mode bm25 --json
check 'len(d["hits"]) == 1'
exec 9>&-
run 0 index docs -q

# No space (status 5): a limit on the size of files stands in for a full disk. The store stays whole, and works again afterwards.
for i in $(seq 151 170); do { echo "# New document $i"; seq 300 | sed "s/^/word$i-/"; } >"docs/$i.md"; done
status=0
(ulimit -f $(($(stat -c %s "$GRITSTONE_STORE/gritstone.db") / 1024 + 16)); exec "$gritstone" index docs -q >out 2>err) || status=$?
[[ $status -eq 5 ]] || { cat err; die "index on a full disk ended with $status"; }
run 0 collection verify many --json
check 'd["ok"]'
run 0 index docs -q
run 0 collection show many --json
check 'd["documents"] == 170'

# A derived file that is damaged is rebuilt, not believed.
find "$GRITSTONE_STORE" -name '*.faiss' -exec sh -c 'printf garbage | dd of="$1" bs=1 seek=200 conv=notrunc status=none' _ {} \;
run 0 search "thing" --mode dense -k 3 --json
check 'len(d["hits"]) == 3'

# Damaged text in the database: verify names it and ends with 4; so does everything when the database itself is no longer one.
cp -r "$GRITSTONE_STORE" damaged
python3 - <<'PY'
import sqlite3
path = "damaged/gritstone.db"
db = sqlite3.connect(path)
db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # every page into the file itself
db.close()
data = bytearray(open(path, "rb").read())
at = found = 0
while (at := data.find(b"speaks of thing", at + 1)) >= 0:
    data[at] ^= 1 if found % 100 == 0 else 0
    found += 1
assert found > 100
open(path, "wb").write(data)
PY
GRITSTONE_STORE=$work/damaged run 4 collection verify many --json
check 'd["ok"] is False and len(d["problems"]) > 0'
GRITSTONE_STORE=$work/damaged run 0 collection verify many --repair --json
check 'd["ok"] and len(d["removed_documents"]) >= 1'
GRITSTONE_STORE=$work/damaged run 0 index docs -q
GRITSTONE_STORE=$work/damaged run 0 collection show many --json
check 'd["documents"] == 170'
rm -f damaged/gritstone.db-wal damaged/gritstone.db-shm
head -c 100000 /dev/urandom >damaged/gritstone.db
GRITSTONE_STORE=$work/damaged run 4 search thing --mode bm25
GRITSTONE_STORE=$work/damaged run 4 index docs

done_all
