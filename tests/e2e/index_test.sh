#!/usr/bin/env bash
# Documents in, passages and answers out: incremental counts, shapes of the JSON, skipped files, removal.
source "$(dirname "$0")/lib.sh" "$@"

run 0 model synth --like tiny --type f16 -o tiny.gguf
export GRITSTONE_MODEL=$work/tiny.gguf GRITSTONE_COLLECTION=notes
mkdir -p docs/deep
printf '# Ferry\n\n## Winter\n\nThe last ferry leaves at 16:30 in winter.\n\n## Summer\n\nIn summer it leaves at 18:45.\n' >docs/ferry.md
printf 'Bees\n\nA honeybee colony keeps its brood at 35 degrees.\n' >docs/bees.txt
printf '<html><head><title>Tea</title></head><body><h1>Tea</h1><p>Green tea is steeped at 75 degrees.</p></body></html>' >docs/deep/tea.html

run 1 search anything
says err 'store|collection'

run 0 index docs --json
check '(d["new"], d["updated"], d["unchanged"], d["removed"], d["skipped"]) == (3, 0, 0, 0, [])'
check 'd["documents"] == 3 and d["chunks"] >= 3 and d["pending"] == 0 and d["embedded"] == d["chunks"] and d["seconds"]["total"] > 0'

# Nothing to do, also through another spelling of the same folder.
(cd docs && "$gritstone" index . --json -q >../out)
check '(d["new"], d["updated"], d["unchanged"], d["removed"]) == (0, 0, 3, 0) and d["embedded"] == 0'
touch docs/bees.txt
run 0 index docs --json
check 'd["unchanged"] == 3 and d["updated"] == 0'

# One edited, one gone, one new; text that stays keeps its vectors.
sed -i 's/16:30/16:45/' docs/ferry.md
rm docs/bees.txt
printf 'Sourdough\n\nA starter is fed flour and water every day.\n' >docs/bread.txt
run 0 index docs --json
check '(d["new"], d["updated"], d["unchanged"], d["removed"]) == (1, 1, 1, 1)'
run 0 index docs
says out '^0 new, 0 updated, 3 unchanged, 0 removed, 0 skipped$'
run 0 search "honeybee brood" --mode bm25 --json
check 'd["hits"] == []'

# Byte spans point into the source file.
run 0 search "ferry winter" -k 2 --json
check 'd["hits"][0]["path"].endswith("/docs/ferry.md") and d["hits"][0]["rank"] == 1'
check 'all({"rank", "score", "document", "path", "heading", "start", "end", "text", "scores"} <= h.keys() for h in d["hits"])'
check 'b"16:45" in open(d["hits"][0]["path"], "rb").read()[d["hits"][0]["start"]:d["hits"][0]["end"]]'
check 'd["hits"][0]["scores"]["bm25"] > 0 and d["hits"][0]["scores"]["dense"] is not None'
for mode in fused dense bm25; do
  run 0 search "green tea" -k 3 --mode $mode --json
  check 'len(d["hits"]) >= 1'
done
run 0 search "ferry" --filter "type:html" --json
check 'all(h["path"].endswith(".html") for h in d["hits"])'
run 0 search "ferry tea starter" --filter "path:docs/deep/*" --mode bm25 --json
check 'len(d["hits"]) == 1 and d["hits"][0]["path"].endswith("tea.html")'
for query in '"' "AND OR NOT" "' --" "*" "(((" "NEAR(a b)" "" "  "; do run 0 search -k 1 --mode bm25 --json -- "$query"; done
run 1 search x -k 0
run 1 search x --mode nonsense
run 1 search x --filter "nonsense:1"
run 1 search x -c unknown
says err 'unknown'

# A random model writes nonsense, but everything around the words must hold.
run 0 ask "When does the last ferry leave in winter?" -n 8 --no-abstain --json
check '{"answer", "citations", "abstained", "dropped", "usage", "generation", "timings", "reuse"} <= d.keys()'
check 'd["usage"]["completion_tokens"] <= 8 and d["usage"]["prompt_tokens"] > 20 and d["timings"]["ttft_ms"] > 0'
check 'any(p["path"].endswith("ferry.md") and "16:45" in p["text"] for p in d["passages"])'
check 'd["reuse"]["policy"] == "exact" and d["reuse"]["reused_tokens"] == 0 and d["reuse"]["certificate"] is None'
value 'd["answer"]' >one
# The second process finds the states that the first one left, and they change nothing.
run 0 ask "When does the last ferry leave in winter?" -n 8 --no-abstain --json
check 'd["reuse"]["reused_tokens"] > 20 and {p["source"] for p in d["reuse"]["passages"]} == {"disk"}'
value 'd["answer"]' >two
same one two
run 0 ask "When does the last ferry leave in winter?" -n 8 --no-abstain --json --reuse none --no-drafts
check 'd["reuse"]["policy"] == "none" and d["reuse"]["passages"] == [] and d["drafts"]["proposed"] == 0'
value 'd["answer"]' >two
same one two
for policy in chunks first=4 blend=0.2; do
  run 0 ask "When does the last ferry leave in winter?" -n 8 --no-abstain --json --reuse $policy
  value '(d["answer"], d["usage"]["completion_tokens"])' >fresh
  run 0 ask "When does the last ferry leave in winter?" -n 8 --no-abstain --json --reuse $policy
  check 'all(p["source"] == "disk" for p in d["reuse"]["passages"]) and d["reuse"]["bytes"] > 0'
  value '(d["answer"], d["usage"]["completion_tokens"])' >stored
  same fresh stored
done
run 1 ask "When does the last ferry leave?" --reuse blend=2
says err 'blend=R'

# A budget for the first token: said before, reported after; what it does not hold is said, and answered all the same.
run 0 ask "When does the last ferry leave in winter?" -n 8 --no-abstain --json --ttft-budget 60000
check 'd["budget"]["fits"] and d["budget"]["kept"] and 0 < d["budget"]["actual_ms"] <= 60000'
check 'd["budget"]["passages"] == len(d["passages"])'
run 0 ask "When does the last ferry leave in winter?" -n 8 --no-abstain --ttft-budget 0.001
says err 'nothing starts within 0 ms'
run 1 ask "When does the last ferry leave?" --ttft-budget 0
run 0 ask "When does the last ferry leave in winter?" -n 8 --no-abstain --json --passage-tokens 12
check 'all(len(p["text"]) < 120 for p in d["passages"])'
run 0 cache show --json
check 'd["spans"] >= 4 and d["bytes"] > 0 and sum(c["spans"] for c in d["collections"]) == d["spans"]'
run 0 cache warm --json
check 'd["computed"] + d["known"] == d["chunks"] and d["left_out"] == 0'
run 0 cache warm --json
check 'd["computed"] == 0'
run 0 cache verify --json
check 'd["ok"] is True'
span=$(find "$HOME/.local/share/gritstone/kv" -name '*.kv' | head -n 1)
printf 'x' | dd of="$span" bs=1 seek=5000 conv=notrunc status=none
run 4 cache verify --json
check 'd["ok"] is False and d["damaged"] >= 1'
run 0 cache verify
run 0 cache prune --to 0
run 0 cache show --json
check 'd["spans"] == 0 and d["bytes"] == 0'
[[ -z $(find "$HOME/.local/share/gritstone/kv" -type f) ]] || die "files are left after cache prune --to 0"
run 0 ask "When does the last ferry leave in winter?" -n 8 --no-abstain --json --cache-disk 0
[[ -z $(find "$HOME/.local/share/gritstone/kv" -type f) ]] || die "--cache-disk 0 wrote files"
run 0 ask "When does the last ferry leave in winter?" -n 8 --no-abstain --json -t 1
value 'd["answer"]' >two
same one two
run 0 ask "Which quark has the largest mass?" -n 8 --json
check 'd["abstained"] is True'
run 1 ask "When does the last ferry leave in winter?" -n 10000000
run 2 ask "When does the last ferry leave?" -n 100 --timeout 0.000001

# Files that cannot be documents are skipped with a reason, the rest is indexed, and the status is 2.
printf '\x00\x01\x02binary' >docs/noise.txt
: >docs/empty.md
mkfifo docs/pipe.md
ln -s /etc/passwd docs/link.txt
printf 'caf\xe9 cr\xe8me in Latin-1 is text all the same\n' >docs/latin.txt
run 2 index docs --json
check 'd["new"] == 1 and d["unchanged"] == 3'
check '"noise.txt" in str(d["skipped"]) and all(s["reason"] for s in d["skipped"])'
run 2 index docs
says out 'skipped .*noise.txt: '
run 0 search "Latin" --mode bm25 --json
check 'd["hits"][0]["path"].endswith("latin.txt")'
run 2 index docs does-not-exist
rm docs/noise.txt docs/empty.md docs/pipe.md docs/link.txt

# Words first, vectors later.
run 0 index docs -c late --dense later --json
check 'd["embedded"] == 0 and d["pending"] == d["chunks"]'
run 0 search "ferry" -c late -k 2 --json
check 'len(d["hits"]) >= 1'
run 0 index docs -c late --json
check 'd["pending"] == 0 and d["embedded"] == d["chunks"]'

# Without a model there are words.
mkdir plain
cp docs/ferry.md plain/
GRITSTONE_MODEL='' run 0 index plain -c words --json
check 'd["new"] == 1 and d["embedded"] == 0'
GRITSTONE_MODEL='' run 0 search "ferry" -c words --json
check 'len(d["hits"]) >= 1'

# Another model is refused, by name of the difference, until the collection is embedded anew.
run 0 model synth --like tiny --type f16 --seed 9 -o other.gguf
run 1 index docs -m other.gguf
says err 'reembed'
run 1 search "ferry" -m other.gguf
run 0 collection reembed notes -m other.gguf --json
run 0 search "ferry" -m other.gguf --mode dense --json
check 'len(d["hits"]) >= 1'

run 0 collection list --json
check '[c["name"] for c in d["collections"]] == ["late", "notes", "words"]'
run 0 collection show notes --documents --json
check 'd["documents"] == 4 and len(d["document_list"]) == 4 and d["embedded_chunks"] == d["chunks"]'
run 0 collection verify notes --json
check 'd == {"ok": True, "problems": []}'
run 0 collection remove words
run 1 collection remove words
run 1 collection show words
run 1 index docs -c "Bad Name"
run 1 index

# The same files give the same collection, however many runs it took.
GRITSTONE_STORE=$work/once run 0 index docs -q
for store in "$work/once" "$HOME/.local/share/gritstone"; do
  GRITSTONE_STORE=$store run 0 collection show ${GRITSTONE_COLLECTION} --documents --json
  value '[(f["path"], f["sha256"], f["chunks"]) for f in d["document_list"]]' >"$(basename "$store").list"
done
same once.list gritstone.list
done_all
