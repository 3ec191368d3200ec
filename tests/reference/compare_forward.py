#!/usr/bin/env python3
"""`gritstone model forward --compute f32` against Hugging Face transformers, live, over every golden checkpoint.

Other token ids than the stored goldens have, and longer inputs. Each checkpoint is run as the Hugging Face directory that it is and, where
--gguf is given, as an f32 GGUF that `gritstone model quantize` makes from it. Prints a Markdown table; exit status 1 if a tensor differs by
more than 1e-4 of its largest magnitude or a router decision differs.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors import safe_open

import hf_reference as reference
import results_page

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOLERANCE = 1e-4
# Where the reference's own choice is closer than f32 rounding, either answer is right: such tokens are counted, not compared.
TIE = 1e-5


def our_forward(binary, model, ids, attention, output):
    command = [binary, "model", "forward", "-m", str(model), "--ids", ",".join(map(str, ids)), "--attention", attention, "--compute", "f32",
               "--kv-type", "f32", "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\nended with {done.returncode}: {done.stderr.strip()}")
    with safe_open(output, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def compare(ours, theirs, top_k):
    """(worst error, its tensor, routing decisions that differ, decisions too close to call)"""
    worst, where, differ, ties = 0.0, "", 0, 0
    for name, want in theirs.items():
        if name.startswith("topk."):
            probabilities = theirs["router" + name[4:]]
            ranked = torch.sort(probabilities, dim=-1, descending=True).values
            gaps = ranked[:, :top_k] - ranked[:, 1:top_k + 1]
            close = gaps.min(dim=-1).values < TIE
            got = torch.topk(ours["router" + name[4:]], top_k, dim=-1).indices
            differ += int(((got != want).any(dim=-1) & ~close).sum())
            ties += int(close.sum())
            continue
        error = reference.relative_error(ours[name], want) if name in ours else float("inf")
        if error > worst:
            worst, where = error, name
    return worst, where, differ, ties


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gritstone", default=str(ROOT / "build" / "release" / "gritstone"))
    parser.add_argument("--goldens", type=pathlib.Path, default=ROOT / "tests" / "golden" / "parity")
    parser.add_argument("--lengths", default="1,2,33,200")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--gguf", action="store_true", help="also through an f32 GGUF written by `model quantize`")
    parser.add_argument("-o", "--output", type=pathlib.Path, default=ROOT / "docs" / "results" / "parity.md")
    args = parser.parse_args()

    generator = torch.Generator().manual_seed(args.seed)
    failed = False
    lines = ["| checkpoint | as | attention | tokens | worst error | in | routing differs | too close to call |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    with tempfile.TemporaryDirectory() as scratch:
        for directory in sorted(p for p in args.goldens.iterdir() if p.is_dir()):
            model = reference.load(directory)
            top_k = getattr(model.config, "num_experts_per_tok", 0)
            forms = {"directory": directory}
            if args.gguf:
                forms["gguf"] = pathlib.Path(scratch) / f"{directory.name}.gguf"
                subprocess.run([args.gritstone, "model", "quantize", "-m", str(directory), "--type", "f32", "-o", str(forms["gguf"])], check=True,
                               capture_output=True)
            inputs = [torch.randint(0, model.config.vocab_size, (int(n),), generator=generator).tolist() for n in args.lengths.split(",")]
            for attention in ("causal", "bidirectional"):
                theirs = [reference.forward(model, ids, attention) for ids in inputs]
                for form, path in forms.items():
                    results = [compare(our_forward(args.gritstone, path, ids, attention, pathlib.Path(scratch) / "out.safetensors"), want, top_k)
                               for ids, want in zip(inputs, theirs)]
                    worst, where = max((r[0], r[1]) for r in results)
                    differ, ties = sum(r[2] for r in results), sum(r[3] for r in results)
                    failed |= worst > TOLERANCE or differ > 0
                    routing = f"{differ} | {ties}" if top_k else " | "
                    lines.append(f"| {directory.name} | {form} | {attention} | {args.lengths} | {worst:.1e} | {where} | {routing} |")
                    print(lines[-1], file=sys.stderr, flush=True)
    verdict = f"A difference ABOVE {TOLERANCE:.0e}." if failed else f"All within {TOLERANCE:.0e} of each tensor's largest magnitude, every clear routing decision equal."
    import transformers
    body = [f"## Hugging Face transformers {transformers.__version__}\n",
            f"`tests/reference/compare_forward.py{' --gguf' if args.gguf else ''}`, {results_page.processor()}, gritstone {results_page.revision(ROOT)}. "
            "Every hidden state, router probability and logit; tiny random checkpoints.\n", *lines, "", verdict]
    text = "\n".join(body)
    print(text)
    results_page.update_section(args.output, "Parity with other engines", "transformers", text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
