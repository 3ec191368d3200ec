#!/usr/bin/env bash
# Questions asked under a grid with baselines, gone on with, and made into one report; what is no input is named.
source "$(dirname "$0")/lib.sh" "$@"

run 0 model synth --like tiny --type f16 -o tiny.gguf
export GRITSTONE_MODEL=$work/tiny.gguf GRITSTONE_COLLECTION=notes
mkdir docs
printf '# Ferry\n\nThe last ferry leaves at 16:30 in winter, from the old pier.\n' >docs/ferry.md
printf '# Bees\n\nA honeybee colony keeps its brood at 35 degrees.\n' >docs/bees.md
printf '# Tea\n\nGreen tea is steeped at 75 degrees for two minutes.\n' >docs/tea.md
run 0 index docs -q
run 0 index docs -c notes-small --chunk-tokens 32 -q
cat >questions.jsonl <<'LINES'
{"id":"a","question":"When does the last ferry leave?","answers":["16:30"],"kind":"single"}
{"id":"b <script>alert(1)</script>","question":"How warm is a brood of <b>bees</b> & \"co\"?","answers":["35 degrees"],"kind":"single"}
{"id":"c","question":"Who built the pier?","answers":[],"kind":"unanswerable"}
LINES

qa=(eval qa --questions questions.jsonl --reuse none,chunks --mode fused,bm25 --baseline notes-small:fused --passages 2 -n 6 --no-abstain)
run 0 "${qa[@]}" --run run.jsonl --limit 1 --json
check 'd["configs"][0]["questions"] == 1 and d["configs"][0]["failed"] == 0'
cp run.jsonl begun.jsonl
run 0 "${qa[@]}" --run run.jsonl --json
check '[c["config"] for c in d["configs"]] == [p + r + "/k2/docs-first" for p in ("", "bm25+", "notes-small:fused+") for r in ("none", "chunks/int8")]'
check 'all(c["questions"] == 3 and c["hit_rate"] == 1 and c["stages_mean_ms"]["prefill"] > 0 for c in d["configs"])'
head -c "$(stat -c %s begun.jsonl)" run.jsonl >head
same head begun.jsonl
python3 - <<'PY' || die "the run file lacks what a report shows"
import json
lines = [json.loads(line) for line in open("run.jsonl")]
assert lines[0]["gritstone_qa_run"] == 3 and [s["label"] for s in lines[0]["sources"]] == ["", "notes-small"]
assert "--baseline notes-small:fused" in dict(lines[0]["about"])["command"]
assert len(lines) == 1 + 3 * 6
for row in lines[1:]:
    assert row["question"] and 1 <= len(row["passages"]) <= 2 and row["stages"]["decode_ms"] > 0, row
    assert all(p["path"].endswith(".md") and p["end"] > p["start"] and p["text"] for p in row["passages"])
assert lines[1]["gold"] == ["16:30"]
PY
run 1 eval qa --questions questions.jsonl --reuse none --passages 2 -n 6 --no-abstain --run run.jsonl
says err 'run.jsonl is of another evaluation'
run 1 eval qa --questions questions.jsonl --baseline notes
run 1 eval qa --questions questions.jsonl --baseline absent
says err 'absent'
run 1 eval qa --questions questions.jsonl --mode words

# A question longer than the context fails alone, is counted apart, and is asked again by the next run.
cp questions.jsonl long.jsonl
printf '{"id":"long","question":"ferry %s","answers":["x"],"kind":"single"}\n' "$(printf 'x%.0s' $(seq 9000))" >>long.jsonl
run 2 eval qa --questions long.jsonl --passages 2 -n 6 --no-abstain --mode bm25 --run long-run.jsonl --json
check 'd["configs"][0]["failed"] == 1 and d["configs"][0]["questions"] == 3'
says err '1 x .*context'
run 2 eval qa --questions long.jsonl --passages 2 -n 6 --no-abstain --mode bm25 --run long-run.jsonl -q
[[ $(wc -l <long-run.jsonl) -eq 6 ]] || die "the failed question was not asked again, or others were"

run 0 eval latency --questions questions.jsonl --requests 4 -n 4 --no-abstain --reuse none --json
cp out load.json
run 0 eval report run.jsonl long-run.jsonl load.json -o report.html --csv report.csv --markdown report.md --json-out report.json --title 'A & <B>'
says out 'Of 7 configs asked'
check 'len(d["configs"]) == 7 and d["configs"][0]["ttft_ms"]["n"] == 3 and len(d["latency"]) == 1 and d["failures"][0]["count"] == 1' report.json
check 'len(d["worst"]) > 0 and {x["metric"] for x in d["differences"]} == {"f1", "contained", "abstained", "ttft_ms"}' report.json
python3 - <<'PY' || die "the report is not what it should be"
import csv, html.parser, json
page = open("report.html", encoding="utf-8").read()
class Tags(html.parser.HTMLParser):
    void = {"meta"}
    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text = [], set(), ""
    def handle_starttag(self, tag, attributes):
        self.seen.add(tag)
        for name, value in attributes:
            assert not name.startswith("on") and name not in ("src", "href", "style"), (tag, name)
        if tag not in self.void:
            self.open.append(tag)
    def handle_startendtag(self, tag, attributes):
        self.seen.add(tag)
    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag
    def handle_data(self, data):
        self.text += data
tags = Tags()
tags.feed(page)
tags.close()
assert not tags.open and not tags.seen & {"script", "img", "link", "iframe", "b"}, (tags.open, tags.seen)
assert "b <script>alert(1)</script>" in tags.text and 'How warm is a brood of <b>bees</b> & "co"?' in tags.text
assert "A & <B>" in tags.text and "svg" in tags.seen and page.count("http") == page.count("http-equiv")
rows = list(csv.DictReader(open("report.csv", newline="", encoding="utf-8")))
assert {r["table"] for r in rows} == {"answers", "stages", "differences", "latency"}
report = json.load(open("report.json"))
for config in report["configs"]:
    value = [r for r in rows if (r["table"], r["name"], r["metric"], r["kind"]) == ("answers", config["config"], "f1", "")]
    assert len(value) == 1 and abs(float(value[0]["value"]) - config["f1"]) < 1e-12
PY
says report.md '^\| none/k2/docs-first \|'
run 0 eval report run.jsonl --json
check 'len(d["configs"]) == 6'
run 0 eval compare run.jsonl run.jsonl --config-a none/k2/docs-first --config-b bm25+none/k2/docs-first

# A cut last line is left out and told; any other damage is an error with its line, and nothing is written.
head -c -20 run.jsonl >cut.jsonl
run 0 eval report cut.jsonl -o cut.html
says err 'cut.jsonl: its last line is incomplete'
sed '3s/"em"/"me"/' run.jsonl >damaged.jsonl
run 1 eval report damaged.jsonl -o damaged.html
says err 'damaged.jsonl, line 3: no "em"'
[[ ! -e damaged.html ]] || die "a report of damaged data was written"
run 1 eval report docs/tea.md -o x.html
says err 'tea.md'
run 1 eval report absent.jsonl -o x.html
run 1 eval report run.jsonl
says err 'nothing to write'
run 5 eval report run.jsonl -o no/such/folder/x.html
done_all
