#!/usr/bin/env python3
"""Reuse of a known prompt beside llama.cpp's prompt-cache and slot restore, on the same model and prompt lengths, taking turns.

  tests/bench/compare_llama_restore.py MODEL.gguf --work DIR [--turns 3] [--rounds 3]

Each turn runs reuse_bench and then llama_cpp_restore.py. Ours: `exact` with all five passages in the same order (what llama.cpp's saved
state can do), and `chunks` with the passages in any order (what it cannot). Run it with the interpreter of the reference environment
(tests/reference/make_venv.sh); reuse_bench is built with -DGRITSTONE_BENCH=ON. Prints a Markdown table.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
OURS = (("none", "`none`"), ("exact, 5 of 5", "`exact`, the same five passages, RAM"), ("exact, 5 of 5, disk", "the same from a cold disk"),
        ("chunks, RAM", "`chunks`, the passages in another order, RAM"), ("chunks, disk", "the same from a cold disk"))
THEIRS = (("none", "the whole prompt"), ("ram", "state restored from memory"), ("disk", "state restored from a cold file"))


def run(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for span files and saved states")
    parser.add_argument("--bench", type=pathlib.Path, default=ROOT / "build" / "release" / "tests" / "bench" / "reuse_bench")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3, help="in each turn")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    ours, theirs, sizes = {}, {}, {}
    for turn in range(args.turns):
        samples = run([args.bench, args.model, "--rounds", args.rounds, "--threads", args.threads, "--work", args.work / "spans", "--json"])
        for name, values in samples.items():
            ours.setdefault(name, []).extend(values)
        live = round(statistics.median(samples["exact, 5 of 5 live"]))
        saved = round(statistics.median(samples["none live"])) - live
        result = run([sys.executable, ROOT / "tests" / "bench" / "llama_cpp_restore.py", "-m", args.model, "--saved", saved, "--live", live,
                      "--rounds", args.rounds, "--threads", args.threads, "--file", args.work / "llama.state"])
        sizes = result
        for name, values in result["ms"].items():
            theirs.setdefault(name, []).extend(values)
        print(f"turn {turn + 1} of {args.turns} done", file=sys.stderr, flush=True)

    def row(who, label, values, size):
        middle = statistics.median(values)
        print(f"| {who} | {label} | {middle:.0f} ({min(values):.0f} - {max(values):.0f}) | {size / 2**20:.0f} | "
              f"{statistics.median(theirs['none']) / middle:.1f} |")

    print(f"{saved} saved tokens and {live} live ones; {args.turns} turns of {args.rounds} rounds, {args.threads} threads.\n")
    print("| engine | what | first token, ms: median (smallest - largest) | MiB read | llama.cpp's whole prompt / it |\n| --- | --- | --- | --- | --- |")
    for name, label in OURS:
        row("gritstone", label, ours[name], statistics.median(ours[name + " bytes"]))
    for name, label in THEIRS:
        row("llama.cpp", label, theirs[name], {"none": 0, "ram": sizes["state_bytes"], "disk": sizes["file_bytes"]}[name])


if __name__ == "__main__":
    main()
