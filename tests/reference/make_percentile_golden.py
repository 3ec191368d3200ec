#!/usr/bin/env python3
"""Writes tests/golden/latency/percentiles.jsonl: samples of many sizes and shapes, and what numpy says of them.

    $python tests/reference/make_percentile_golden.py
"""
import json
import pathlib

import numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main():
    random = numpy.random.default_rng(1)
    samples = [[5.0], [1.0, 2.0], [3.0, 3.0, 3.0], [0.0, 1e6, 1e-6], random.exponential(100, 10), random.exponential(100, 37),
               numpy.repeat(random.normal(50, 5, 9), 5), random.lognormal(4, 1, 663)]
    path = ROOT / "tests/golden/latency/percentiles.jsonl"
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", encoding="ascii") as out:
        for sample in samples:
            values = [round(float(v), 4) for v in sample]
            shares = [0.5, 0.9, 0.95] + ([0.99] if len(values) >= 662 else [])
            out.write(json.dumps({"values": values, "mean": float(numpy.mean(values)),
                                  "deviation": float(numpy.std(values, ddof=1)) if len(values) > 1 else 0.0,
                                  "percentiles": {str(s): float(numpy.percentile(values, 100 * s)) for s in shares}}) + "\n")


if __name__ == "__main__":
    main()
