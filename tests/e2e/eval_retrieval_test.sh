#!/usr/bin/env bash
# Ranking quality from the command line: a data set of its own, own questions, several rows, tuning, and what is refused.
source "$(dirname "$0")/lib.sh" "$@"

run 0 model synth --like tiny --type f16 --seed 3 -o tiny.gguf --json
mkdir -p beir/qrels notes
python3 - <<'PY'
import json
things = ["octopus", "kettle", "harbour", "glacier", "violin", "lantern", "saddle", "compass", "turbine", "orchard", "beacon", "quarry"]
with open("beir/corpus.jsonl", "w") as corpus, open("beir/queries.jsonl", "w") as queries, open("beir/qrels/test.tsv", "w") as qrels:
    qrels.write("query-id\tcorpus-id\tscore\n")
    for i, thing in enumerate(things):
        corpus.write(json.dumps({"_id": f"d{i}", "title": thing, "text": f"The {thing} of number {i} is kept in hall {i * 7}."}) + "\n")
        queries.write(json.dumps({"_id": f"q{i}", "text": f"where is the {thing}"}) + "\n")
        qrels.write(f"q{i}\td{i}\t1\n")
with open("questions.jsonl", "w") as questions:
    for i, thing in enumerate(things):
        text = f"# Halls\n\nThe {thing} is kept in hall {i * 7}.\n"
        open(f"notes/{thing}.md", "w").write(text)
        start = text.index("The")
        questions.write(json.dumps({"id": thing, "question": f"Where is the {thing}?", "answers": [f"hall {i * 7}"],
                                    "gold": [{"document": f"{thing}.md", "start": start, "end": len(text) - 1}]}) + "\n")
    questions.write(json.dumps({"id": "none", "question": "Where is the moon?", "answers": []}) + "\n")
with open("nq.jsonl", "w") as nq:
    nq.writelines(json.dumps({"question": f"Where is the {thing}?", "answer": [f"hall {i * 7}"]}) + "\n" for i, thing in enumerate(things))
PY

# One configuration keeps its own shape; the metrics of the default set are all there.
run 0 eval retrieval --data beir --mode bm25 --run run.trec --json
check 'd["metrics"]["ndcg@10"] == 1 and set(d["metrics"]) == {"ndcg@10", "recall@100", "map", "rr", "p@5", "rr@10", "success@5"}'
check 'len(d["per_query"]) == 12 and d["documents"] == 12 and "configs" not in d'
cp out bm25.json
run 0 eval retrieval --data beir --from-run run.trec --json
check 'd["per_query"] == json.load(open("bm25.json"))["per_query"]'

# Several: one table, and compare reads a row of it.
export GRITSTONE_MODEL=$work/tiny.gguf
run 0 eval retrieval --data beir --mode bm25,dense,fused --rerank 0,4 --metrics ndcg@10,success@1
says out '^config +nDCG@10 +Success@1 +ms/query$'
says out '^bm25 +1.0000 +1.0000'
says out '^fused\+rerank4 '
[[ $(wc -l <out) -eq 7 ]] || die "one row for each of six configs"
run 0 eval retrieval --data beir --mode bm25,dense --pooling mean,last --json
check '[c["config"] for c in d["configs"]] == ["bm25", "dense/mean", "dense/last"]'
cp out rows.json
run 0 eval compare bm25.json rows.json --config-b bm25 --json
check 'all(m["difference"] == 0 for m in d["metrics"])'
run 1 eval compare bm25.json rows.json
says err 'several configs, name one: bm25, dense/last, dense/mean'

# Questions about a collection: gold spans, or answers alone.
run 0 index notes -c notes
run 0 eval retrieval --questions questions.jsonl -c notes --mode bm25 --relevant passage --json
check 'd["metrics"]["success@5"] == 1 and d["queries"] == 12'
run 0 eval retrieval --questions nq.jsonl -c notes --mode bm25
says out '^config +Success@1 +Success@5'
says err 'only Success@K and RR'
run 1 eval retrieval --questions nq.jsonl -c notes --mode bm25 --metrics map
says err 'map needs to know which passages are relevant'

# Reranking in search, and a weight that these questions cannot tell apart stays.
run 0 search "Where is the kettle?" -c notes -k 3 --rerank 3 --json
check 'len(d["hits"]) == 3 and all(h["scores"]["likelihood"] < 0 for h in d["hits"]) and d["timings"]["rerank_ms"] > 0'
run 0 eval retrieval --questions questions.jsonl -c notes --tune --save --json
check 'd["tune"]["metric"] == "ndcg@10" and len(d["tune"]["curve"]) in (21, 22) and not (d["tune"]["saved"] and not d["tune"]["recommended"])'

# What is refused, with the place.
run 1 eval retrieval
says err '--data .*--questions'
run 1 eval retrieval --data beir --mode bm25 --metrics mrr
says err 'unknown metric "mrr"'
run 1 eval retrieval --data beir -c notes --mode bm25
says err 'holds files'
run 1 eval retrieval --data beir --mode bm25 --tune
says err 'fused search alone'
head -1 run.trec >twice.trec
head -1 run.trec >>twice.trec
run 1 eval retrieval --data beir --from-run twice.trec
says err 'twice.trec, line 2: document'
echo '{"_id": "d3", "text": "again"}' >>beir/corpus.jsonl
run 1 eval retrieval --data beir --mode bm25
says err 'corpus.jsonl, line 13: the id "d3" stands there twice, first in line 4'
rm -r beir/qrels
run 1 eval retrieval --data beir --mode bm25
says err 'qrels has no test.tsv'
done_all
