#!/usr/bin/env python3
"""Gritstone beside llama.cpp: tokens/s of prefill, decoding and embedding, and peak memory, in one interleaved run.

Each round runs `gritstone bench` and then llama_cpp_bench.py on the same file with the same threads, so that whatever else the machine
does in those minutes hits both. Full-size OLMoE files have random weights (`gritstone model synth`): they show speed, never quality.

  tests/bench/compare_llama_speed.py --work DIR [--smollm2 FILE] [--rounds 3]

DIR (outside the tree) keeps the synthetic files between runs: about 3.9 GB for Q4_K, 7.4 GB for Q8_0. Run it with the interpreter of the
reference environment (tests/reference/make_venv.sh). Exit status 1 if a limit is missed: prefill and embedding 1.5 times llama.cpp on
OLMoE (0.8 times in prefill on SmolLM2), decoding 0.85 times; peak memory of loading at most the file + 1 GiB, of synth at most 1 GiB.
"""
import argparse
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "reference"))
import results_page  # noqa: E402

GIB = 1 << 30
LIMITS = {"olmoe": {"pp": 1.5, "embed": 1.5, "tg": 0.85}, "smollm2": {"pp": 0.8}}


def run(command):
    """(stdout, peak resident bytes). Mapped pages of the model count as resident, for both engines."""
    command = [str(part) for part in command]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(command, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            raise SystemExit(f"{shlex.join(command)}\nended with {process.returncode}: {err.read().decode(errors='replace')[-2000:]}")
        return out.read().decode(), usage.ru_maxrss * 1024


def synth(args, kind):
    path = args.work / f"olmoe-1b-7b-random-{kind}.gguf"
    peak = None
    if not path.exists():
        _, peak = run([args.gritstone, "model", "synth", "--like", "olmoe-1b-7b", "--type", kind, "--seed", 1, "-o", path])
    return path, peak


def measure(args, path):
    """{"ours"|"theirs": {test: [tokens/s of each round]}}, {"ours"|"theirs": peak bytes}"""
    shape = ["--prefill", args.prefill, "--decode", args.decode, "--embed", args.embed, "--repeat", args.repeat, "--threads", args.threads]
    engines = {"ours": [args.gritstone, "bench", "-m", path, *shape, "--json"],
               "theirs": [sys.executable, ROOT / "tests" / "bench" / "llama_cpp_bench.py", "-m", path, *shape]}
    samples = {name: {} for name in engines}
    peaks = {name: 0 for name in engines}
    for round_number in range(args.rounds):
        for name, command in engines.items():
            out, peak = run(command)
            peaks[name] = max(peaks[name], peak)
            for row in json.loads(out)["rows"]:
                samples[name].setdefault(row["test"], []).append(row["tokens_per_s"])
                print(f"{path.name}, round {round_number + 1}, {name}: {row['test']} {row['tokens_per_s']:.1f}", file=sys.stderr, flush=True)
    return samples, peaks


def spread(values):
    return f"{statistics.median(values):.1f} ({min(values):.1f} - {max(values):.1f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gritstone", default=str(ROOT / "build" / "release" / "gritstone"))
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for the synthetic files")
    parser.add_argument("--types", default="q4_k,q8_0", help="of the synthetic OLMoE files")
    parser.add_argument("--smollm2", type=pathlib.Path, help="SmolLM2-135M-Instruct.Q4_1.gguf")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=2, help="samples of each test in a round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--embed", type=int, default=256)
    parser.add_argument("-o", "--output", type=pathlib.Path, default=ROOT / "docs" / "results" / "speed.md")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)

    import llama_cpp
    files, synth_peaks = [], {}
    for kind in filter(None, args.types.split(",")):
        path, peak = synth(args, kind)
        files.append(("olmoe", f"OLMoE-1B-7B, random {kind.upper()}", path))
        if peak is not None:
            synth_peaks[kind] = peak
    if args.smollm2:
        files.append(("smollm2", "SmolLM2-135M Q4_1", args.smollm2))

    missed = []
    speed = ["| model | test | gritstone tokens/s | llama.cpp tokens/s | ratio | wanted |", "| --- | --- | --- | --- | --- | --- |"]
    memory = ["| what | size of the file | peak resident | limit | llama.cpp |", "| --- | --- | --- | --- | --- |"]
    for kind, peak in synth_peaks.items():
        memory.append(f"| model synth --type {kind} | | {peak / GIB:.2f} GiB | 1 GiB | |")
        if peak > GIB:
            missed.append(f"synth {kind} memory")
    for family, name, path in files:
        samples, peaks = measure(args, path)
        for test, theirs in samples["theirs"].items():
            ours = samples["ours"].get(test)
            if not ours:
                raise SystemExit(f"gritstone bench gave no row {test}")
            ratio = statistics.median(ours) / statistics.median(theirs)
            limit = next((v for prefix, v in LIMITS[family].items() if test.startswith(prefix)), None)
            if limit is not None and ratio < limit:
                missed.append(f"{name} {test}")
            speed.append(f"| {name} | {test} | {spread(ours)} | {spread(theirs)} | {ratio:.2f} | {'' if limit is None else f'>= {limit}'} |")
        size = path.stat().st_size
        memory.append(f"| load and run {name} | {size / GIB:.2f} GiB | {peaks['ours'] / GIB:.2f} GiB | {size / GIB + 1:.2f} GiB | {peaks['theirs'] / GIB:.2f} GiB |")
        if peaks["ours"] > size + GIB:
            missed.append(f"{name} memory")
    command = f"tests/bench/compare_llama_speed.py --work DIR --types {args.types} --rounds {args.rounds} --repeat {args.repeat} --threads {args.threads}"
    command += " --smollm2 SmolLM2-135M-Instruct.Q4_1.gguf" if args.smollm2 else ""
    text = "\n".join([
        f"`{command}`, {results_page.processor()}, gritstone {results_page.revision(ROOT)}, llama-cpp-python {llama_cpp.__version__} built with "
        f"GGML_NATIVE, {args.threads} threads, ubatch 512. Median (smallest - largest) of {args.rounds} rounds, the engines taking turns, each with the median of {args.repeat} runs after a warm-up. "
        "Random weights show speed, never quality.\n", *speed, "", *memory, "",
        "MISSED: " + ", ".join(missed) + "." if missed else "All limits met."])
    print(text)
    results_page.update_section(args.output, "Speed and memory beside llama.cpp", f"llama.cpp {results_page.isa()}", f"## {results_page.isa()}\n\n{text}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
