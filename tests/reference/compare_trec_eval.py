#!/usr/bin/env python3
"""Retrieval metrics beside trec_eval's own code (pytrec_eval) and ir_measures.

    compare_trec_eval.py golden                        writes tests/golden/retrieval: judgements, a run, pytrec_eval's values per query
    compare_trec_eval.py compare --data scifact ...    runs `gritstone eval retrieval` on a BEIR folder and scores its TREC run again

`compare` also rounds the run's scores, so that many documents tie, and scores that run on both sides. It prints the largest difference of
any value of any query and fails above 1e-6.

Needs: pip install pytrec-eval-terrier ir_measures. The golden is checked by tests/pipelines/retrieval_metrics_test.cc without either.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import ir_measures
import pytrec_eval

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "retrieval"

# Our names and trec_eval's. rr@10 is no measure of trec_eval: it is recip_rank where the rank is at most 10.
MEASURES = {
    "ndcg@10": "ndcg_cut_10", "ndcg@5": "ndcg_cut_5", "ndcg": "ndcg", "recall@100": "recall_100", "recall@5": "recall_5",
    "map": "map", "map@10": "map_cut_10", "rr": "recip_rank", "rr@10": "recip_rank", "p@5": "P_5", "p@10": "P_10",
    "success@1": "success_1", "success@5": "success_5", "success@10": "success_10",
}
REQUEST = {"ndcg_cut.5,10", "ndcg", "recall.5,100", "map", "map_cut.10", "recip_rank", "P.5,10", "success.1,5,10"}
IR_MEASURES = {"ndcg@10": "nDCG@10", "recall@100": "R@100", "map": "AP", "rr": "RR", "p@5": "P@5", "success@5": "Success@5"}
LIMIT = 1e-6


def trec_eval(qrels, run):
    """metric -> value for every judged query, under our names; queries that the run lacks count 0."""
    found = pytrec_eval.RelevanceEvaluator(qrels, REQUEST).evaluate(run)
    values = {}
    for query in qrels:
        of_query = found.get(query, {})
        values[query] = {ours: of_query.get(theirs, 0.0) for ours, theirs in MEASURES.items()}
        if values[query]["rr@10"] < 0.1:
            values[query]["rr@10"] = 0.0
    return values


def answerable(qrels):
    return {query for query, judged in qrels.items() if any(relevance > 0 for relevance in judged.values())}


def read_run(path):
    run = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        query, _, document, _, score, _ = line.split()
        run.setdefault(query, {})[document] = float(score)
    return run


def make_golden():
    rng = random.Random(7)
    qrels, run = {}, {}
    letters = ["d", "D", "doc-", "x", "é"]

    def document(n):
        return letters[n % len(letters)] + str(n)

    for number in range(1, 11):
        query = f"q{number}"
        qrels[query] = {document(n): rng.choice([-2, -1, 0, 0, 1, 1, 2, 3]) for n in rng.sample(range(28), 12)}
        # Few distinct scores: ties everywhere; some differ only beyond a float's precision, some are negative.
        run[query] = {}
        for n in rng.sample(range(28), 18):
            run[query][document(n)] = rng.choice([2.5, 2.5, 2.50000001, 1.0, 1.00000002, 0.0, -0.5, 1e-9])
    # Deep: what lies beyond rank 100.
    qrels["deep"] = {f"r{n}": 1 + n % 3 for n in range(0, 130, 9)}
    run["deep"] = {f"r{n}": 1000.0 - n for n in range(130)}
    # Only unjudged documents are found; the first relevant one stands at rank 11; nothing relevant; only negative; not in the run;
    # in the run, but not judged.
    qrels["unjudged"], run["unjudged"] = {"a": 1}, {f"u{n}": float(n) for n in range(5)}
    qrels["eleventh"], run["eleventh"] = {"hit": 1}, {"hit": 0.5, **{f"u{n}": 1.0 + n for n in range(10)}}
    qrels["nothing"], run["nothing"] = {"a": 0, "b": 0}, {"a": 1.0, "b": 0.5}
    qrels["negative"], run["negative"] = {"a": -1, "b": -2}, {"b": 1.0, "a": 1.0}
    qrels["missing"] = {"a": 2, "b": 1}
    run["stranger"] = {"a": 1.0}
    GOLDEN.mkdir(parents=True, exist_ok=True)
    with open(GOLDEN / "qrels.txt", "w", encoding="utf-8") as file:
        for query, judged in qrels.items():
            file.writelines(f"{query} 0 {name} {relevance}\n" for name, relevance in judged.items())
    with open(GOLDEN / "run.trec", "w", encoding="utf-8") as file:
        for query, found in run.items():
            # Ranks that lie: scores decide.
            file.writelines(f"{query} Q0 {name} {rank} {score!r} golden\n" for rank, (name, score) in enumerate(found.items()))
    values = trec_eval(qrels, read_run(GOLDEN / "run.trec"))
    with open(GOLDEN / "expected.json", "w", encoding="utf-8") as file:
        lines = [f"  {json.dumps(query)}: {json.dumps(of_query)}" for query, of_query in values.items()]
        file.write("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(values)} queries, {sum(map(len, qrels.values()))} judgements, {sum(map(len, run.values()))} lines of run")


def gritstone(args, *extra):
    command = [str(args.gritstone), "eval", "retrieval", "--data", str(args.data), "--metrics", ",".join(MEASURES), "--json", "-q", *extra]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def largest_difference(name, ours, qrels, run):
    theirs = trec_eval(qrels, run)
    queries = answerable(qrels)
    if set(ours["per_query"]) != queries:
        sys.exit(f"{name}: {len(ours['per_query'])} queries, trec_eval has {len(queries)} with a relevant document")
    worst = max((abs(ours["per_query"][q][m] - theirs[q][m]), m, q) for q in queries for m in MEASURES)
    means = max(abs(ours["metrics"][m] - sum(theirs[q][m] for q in queries) / len(queries)) for m in MEASURES)
    wanted = {ours_name: ir_measures.parse_measure(text) for ours_name, text in IR_MEASURES.items()}
    kept = {q: qrels[q] for q in queries}
    ir = ir_measures.calc_aggregate(wanted.values(), kept, run)
    ir_worst = max(abs(ours["metrics"][m] - ir[measure]) for m, measure in wanted.items())
    ties = sum(len(found) - len(set(found.values())) for found in run.values())
    print(f"{name}: {len(queries)} queries, {ties} ties; largest difference {worst[0]:.2e} ({worst[1]}, query {worst[2]}), of means "
          f"{means:.2e}, of means beside ir_measures {ir_worst:.2e}")
    return max(worst[0], means, ir_worst)


def compare(args):
    with open(args.data / "qrels" / "test.tsv", encoding="utf-8") as file:
        qrels = {}
        for line in list(file)[1:]:
            query, document, relevance = line.split()
            qrels.setdefault(query, {})[document] = int(relevance)
    worst = 0.0
    with tempfile.TemporaryDirectory() as work:
        for mode in args.mode.split(","):
            path = pathlib.Path(work) / f"{mode}.trec"
            extra = ["--model", args.model] if args.model and mode != "bm25" else []
            ours = gritstone(args, "--mode", mode, "--run", str(path), "--store", args.store or work + "/store", *extra)
            run = read_run(path)
            worst = max(worst, largest_difference(mode, ours, qrels, run))
            tied = {query: {name: round(score / args.step) * args.step for name, score in found.items()} for query, found in run.items()}
            with open(path, "w", encoding="utf-8") as file:
                for query, found in tied.items():
                    file.writelines(f"{query} Q0 {name} 0 {score!r} tied\n" for name, score in found.items())
            worst = max(worst, largest_difference(mode + ", tied", gritstone(args, "--from-run", str(path)), qrels, read_run(path)))
    if worst > LIMIT:
        sys.exit(f"a difference of {worst:.2e}, at most {LIMIT} was expected")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("golden")
    live = commands.add_parser("compare")
    live.add_argument("--gritstone", type=pathlib.Path, default=ROOT / "build" / "release" / "gritstone")
    live.add_argument("--data", type=pathlib.Path, required=True, help="BEIR folder with qrels/test.tsv")
    live.add_argument("--mode", default="bm25", help="with commas: bm25,dense,fused")
    live.add_argument("--model", help="for dense and fused")
    live.add_argument("--store", help="kept; default: a temporary one")
    live.add_argument("--step", type=float, default=0.25, help="scores are rounded to multiples of it to make ties; about 0.02 for fused")
    args = parser.parse_args()
    if args.command == "golden":
        make_golden()
    else:
        compare(args)


if __name__ == "__main__":
    main()
