#!/usr/bin/env python3
"""Writes the inputs of tests/pipelines/report_test.cc: a run file of eval qa, records of eval latency, JSON of eval retrieval; and what
numpy says of them. Figures are made up; texts are hostile on purpose. Usage: make_report_fixture.py (numpy; writes beside itself)"""
import json
import pathlib

import numpy

here = pathlib.Path(__file__).parent
random = numpy.random.default_rng(6)
HOSTILE = "<script>alert(1)</script> & \"quotes\" 'n' =1+1"


def row(config, i, answerable, f1, contained, ttft, **more):
    written = "The ferry leaves at 16:30." if contained else "The documents do not say."
    return {
        "config": config, "id": f"q{i}", "kind": "single" if answerable else "unanswerable",
        "question": HOSTILE if i == 0 else f"What is said of {i}?", "gold": ["16:30 <b>"] if answerable else [], "answerable": answerable,
        "answer": written, "em": 0.0, "f1": f1, "contained": contained, "abstained": not contained, "hit": True, "citations": 1,
        "citations_ok": 1 if contained else 0, "prompt_tokens": 500, "reused_tokens": 0 if config.startswith("none") else 450,
        "recomputed_tokens": 0, "completion_tokens": 8, "ttft_ms": ttft, "total_ms": ttft + 300,
        "stages": {"bm25_ms": 2.0, "prefill_ms": ttft - 10, "decode_ms": 300.0},
        "passages": [{"path": "/docs/<img src=x onerror=alert(1)>.md", "start": 0, "end": 40, "score": 0.5, "text": "Leaves at </td><svg onload=alert(1)>"}],
        "cited": [{"n": 1, "path": "/docs/<img src=x onerror=alert(1)>.md", "start": 3, "end": 20}],
        "fingerprint": written[:4], "kl": [] if config.startswith("none") else [0.25, 0.75], "same_top": 0 if config.startswith("none") else 1, **more,
    }


rows = []
for i in range(12):
    answerable = i < 10
    base = float(round(random.uniform(800, 1200), 3))
    # Reuse starts 600 ms earlier and loses question 1; words alone find less.
    rows.append(row("none/k5/docs-first", i, answerable, 0.5 if i < 8 else 0.0, i < 8, base))
    rows.append(row("chunks/int8/k5/docs-first", i, answerable, 0.5 if 2 <= i < 9 else 0.25, i != 1 and i < 9, base - 600))
    rows.append(row("bm25+none/k5/docs-first", i, answerable, 0.25, i < 4, base - 1))
failed = row("none/k5/docs-first", 12, True, 0.0, False, 0.0, error="the question exceeds the context <of 2048 tokens>")
rows.append(failed)
header = {
    "gritstone_qa_run": 3, "model": "00", "numerics": "cpu", "tokens": 64, "abstain": True, "kl": True, "search": "convex",
    "sources": [{"label": "", "collection": "notes", "generation": 3, "dense_weight": 0.5}],
    "about": [["model", "tiny <model>"], ["command", "gritstone eval qa --questions 'q & a.jsonl'"]],
}
with open(here / "run.jsonl", "w", encoding="utf-8", newline="\n") as file:
    for line in [header] + rows:
        file.write(json.dumps(line) + "\n")

ttft = [float(round(v, 4)) for v in random.lognormal(-1, 0.4, 40)]
with open(here / "load.jsonl", "w", encoding="utf-8", newline="\n") as file:
    file.write(json.dumps({"gritstone_latency_records": 1, "load": {"kind": "open", "rate": 0.5}, "policy": "chunks"}) + "\n")
    for i, t in enumerate(ttft):
        ok = i != 7
        file.write(json.dumps({
            "index": i, "due": 2.0 * i, "begun": 2.0 * i + 0.01, "first_token": 2.0 * i + t if ok else 0, "ended": 2.0 * i + t + 0.5, "tokens": 6 if ok else 0,
            "ok": ok, "error": "" if ok else "connection reset | by <peer>", "stages": {"queue_ms": 10.0, "prefill_ms": 1000 * t - 10} if ok else {},
        }) + "\n")

per_query = {str(q): {"ndcg@10": float(round(random.uniform(), 4)), "rr": 1.0 if q % 2 else 0.5} for q in range(20)}
mean = {m: float(numpy.mean([v[m] for v in per_query.values()])) for m in ("ndcg@10", "rr")}
better = {q: {m: min(1.0, v + 0.05) for m, v in figures.items()} for q, figures in per_query.items()}
with open(here / "retrieval.json", "w", encoding="utf-8", newline="\n") as file:
    json.dump({"configs": [
        {"config": "bm25", "metrics": mean, "per_query": per_query},
        {"config": "fused", "metrics": {m: float(numpy.mean([v[m] for v in better.values()])) for m in mean}, "per_query": better},
    ]}, file)
    file.write("\n")

done = [1000 * t for i, t in enumerate(ttft) if i != 7]
expected = {
    "load_ttft_p50": float(numpy.percentile(done, 50)), "load_ttft_p95": float(numpy.percentile(done, 95)),
    "none_ttft_p50": float(numpy.percentile([r["ttft_ms"] for r in rows if r["config"].startswith("none") and "error" not in r], 50)),
    "none_f1": 0.4, "chunks_f1": float(numpy.mean([0.5 if 2 <= i < 9 else 0.25 for i in range(10)])), "fused_ndcg": float(numpy.mean([v["ndcg@10"] for v in better.values()])),
}
with open(here / "expected.json", "w", encoding="utf-8", newline="\n") as file:
    json.dump(expected, file, indent=1)
    file.write("\n")
