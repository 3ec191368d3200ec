#!/usr/bin/env python3
"""Which tokens of the passages should `blend` compute again? Compares signals on a mixture of experts.

  tests/bench/blend_signals.py MODEL.gguf RUN.jsonl [--limit 60] [--every 3] [--fraction 0.15] [--experts 16] [--used 12]

MODEL is a dense Llama GGUF, split into experts (split_moe.py); RUN a file of `gritstone eval qa --run`, whose questions and passages are
taken. For each question the passages are computed alone and, as reference, the whole prompt at once, and 24 tokens are written greedily. Then
each signal picks a share of the passages' tokens, these are computed again in their place, and the reference's tokens are scored behind
the blended states: the Kullback-Leibler divergence per token tells what the choice was worth. Prints a Markdown table with paired bootstrap
intervals. Run it with the interpreter of the reference environment (tests/reference/make_venv.sh).
"""
import argparse
import json
import pathlib
import sys

import torch

from split_moe import SplitModel

ANSWER_TOKENS = 24
IN_USE = "K and V of layer 1 (in use)"


def read_rows(path, limit, every):
    with open(path, encoding="utf-8") as file:
        rows = [json.loads(line) for line in file][1:]
    rows = [row for row in rows if row["config"] == rows[0]["config"] and row["passages"]]
    for row in rows:
        row["texts"] = [pathlib.Path(p["path"]).read_bytes()[p["start"]:p["end"]].decode() for p in row["passages"]]
    return rows[::every][:limit]


def prompt(model, row):
    """Token ids, and of each the passage it belongs to or -1."""
    start, end = model.vocabulary.index("<|im_start|>"), model.vocabulary.index("<|im_end|>")
    pieces = [([start] + model.encode("user\nAnswer the question from the passages.\n\n"), -1)]
    for number, text in enumerate(row["texts"]):
        pieces += [(model.encode(f"[{number + 1}] "), -1), (model.encode(text), number), (model.encode("\n\n"), -1)]
    question = model.encode("Question: " + row["question"])
    pieces.append((question + [end] + model.encode("\n") + [start] + model.encode("assistant\n"), -1))
    return (torch.tensor([token for ids, _ in pieces for token in ids]), torch.tensor([owner for ids, owner in pieces for _ in ids]))


def reference(model, ids):
    """The whole prompt at once: what it recorded, the greedy answer, log-probabilities [answer + 1, vocabulary] of each next token."""
    end = model.vocabulary.index("<|im_end|>")
    record, answer = {}, []
    rows = [model.logits(model.forward(ids, torch.arange(len(ids)), record=record)[-1])]
    states = record["kv"]
    while len(answer) < ANSWER_TOKENS - 1 and int(rows[-1].argmax()) != end:
        answer.append(int(rows[-1].argmax()))
        at, one = torch.arange(len(ids) + len(answer)), {}
        hidden = model.forward(torch.tensor(answer[-1:]), at[-1:], [(k, v, at[:-1]) for k, v in states], torch.ones(1, len(at), dtype=torch.bool), one)
        states = [(torch.cat((k, new_k), 1), torch.cat((v, new_v), 1)) for (k, v), (new_k, new_v) in zip(states, one["kv"])]
        rows.append(model.logits(hidden)[0])
    return record, torch.tensor(answer, dtype=torch.long), torch.stack(rows).log_softmax(-1)


def passages_alone(model, ids, owner, like):
    """K and V, and router logits, of every passage computed by itself behind the first token; zero elsewhere."""
    kv = [(torch.zeros_like(k), torch.zeros_like(v)) for k, v in like["kv"]]
    router = [torch.zeros_like(logits) for logits in like["router"]]
    for number in range(int(owner.max()) + 1):
        at = (owner == number).nonzero()[:, 0]
        record = {}
        model.forward(torch.cat((ids[:1], ids[at])), torch.arange(len(at) + 1), record=record)
        for layer, (k, v) in enumerate(record["kv"]):
            kv[layer][0][:, at], kv[layer][1][:, at] = k[:, 1:], v[:, 1:]
            router[layer][at] = record["router"][layer][1:]
    return kv, router


def signals(model, owner, fresh, kv, router):
    """Per signal one number a token; the largest are computed again."""
    tokens, layers = len(owner), range(model.layers)

    def deviation(layer):  # as model/kv_codec.h's span_deviations
        total = torch.zeros(tokens)
        for number in range(int(owner.max()) + 1):
            at = (owner == number).nonzero()[:, 0]
            for kind in (0, 1):
                new = fresh["kv"][layer][kind][:, at]
                total[at] += (new - kv[layer][kind][:, at]).pow(2).sum((0, 2)) / new.pow(2).sum((0, 2)).mean()
        return total

    def disagreement(layer):  # of the routers' distributions
        return (fresh["router"][layer].softmax(-1) - router[layer].softmax(-1)).abs().sum(-1)

    def changed(layer):  # experts that one has chosen and the other has not; equal ones in order of disagreement
        chosen = [torch.zeros_like(x).scatter_(1, x.topk(model.used).indices, 1.0) for x in (fresh["router"][layer], router[layer])]
        return (chosen[0] - chosen[1]).abs().sum(-1) + 1e-3 * disagreement(layer)

    place = torch.zeros(tokens)
    for number in range(int(owner.max()) + 1):
        at = (owner == number).nonzero()[:, 0]
        place[at] = -torch.arange(len(at)).float()
    return {
        IN_USE: deviation(1),
        "K and V of all layers": sum(map(deviation, layers)),
        "router of layer 0": disagreement(0),
        "routers of layers 0 and 1": disagreement(0) + disagreement(1),
        "experts changed in layers 0 and 1": changed(0) + changed(1),
        "routers of all layers": sum(map(disagreement, layers)),
        "the first tokens of each passage": place,
        "random tokens": torch.rand(tokens, generator=torch.Generator().manual_seed(tokens)),
    }


def divergence(model, ids, owner, kv, answer, expected, again):
    """KL of the reference to the blend, [answer + 1]: the tokens `again` of the passages are computed in their place."""
    live = owner < 0
    live[again] = True
    kept, live = (~live).nonzero()[:, 0], live.nonzero()[:, 0]
    places = torch.cat((live, len(ids) + torch.arange(len(answer))))
    mask = torch.cat((kept, places))[None] <= places[:, None]
    hidden = model.forward(torch.cat((ids[live], answer)), places, [(k[:, kept], v[:, kept], kept) for k, v in kv], mask)
    got = model.logits(hidden[-len(expected):]).log_softmax(-1)
    return (expected.exp() * (expected - got)).sum(-1)


def interval(differences):
    picks = torch.randint(len(differences), (10000, len(differences)), generator=torch.Generator().manual_seed(1))
    means = differences[picks].mean(1)
    return f"{differences.mean():+.3f} [{means.quantile(0.025):+.3f}, {means.quantile(0.975):+.3f}]"


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("run")
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--every", type=int, default=3, help="takes every n-th question")
    parser.add_argument("--fraction", type=float, default=0.15)
    parser.add_argument("--experts", type=int, default=16)
    parser.add_argument("--used", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = read_rows(args.run, args.limit, args.every)
    model = SplitModel(args.model)
    documents = sorted({passage["path"] for row in rows for passage in row["passages"]})
    model.split([model.encode(pathlib.Path(path).read_text(encoding="utf-8"))[:512] for path in documents[:24]], args.experts, args.used)

    found, tokens = {}, []
    for number, row in enumerate(rows):
        ids, owner = prompt(model, row)
        fresh, answer, expected = reference(model, ids)
        kv, router = passages_alone(model, ids, owner, fresh)
        inside = (owner >= 0).nonzero()[:, 0]
        count = round(args.fraction * len(inside))
        choices = {name: inside[value[inside].argsort(descending=True, stable=True)[:count]]
                   for name, value in signals(model, owner, fresh, kv, router).items()}
        choices["none (`chunks`)"] = inside[:0]
        if number == 0:  # all of them again is the whole prompt again
            assert divergence(model, ids, owner, kv, answer, expected, inside).max() < 1e-3
        for name, again in choices.items():
            found.setdefault(name, []).append(divergence(model, ids, owner, kv, answer, expected, again))
        tokens.append(len(inside))
        print(f"{number + 1} of {len(rows)} questions", file=sys.stderr, flush=True)

    mean = {name: torch.stack([kl.mean() for kl in values]) for name, values in found.items()}
    print(f"{len(rows)} questions, {sum(tokens) / len(rows):.0f} passage tokens each, {args.fraction:.0%} computed again; "
          f"{args.experts} experts, {args.used} used.\n")
    print("| tokens picked by | KL mean, nats | KL p99 | beside the one in use |\n| --- | --- | --- | --- |")
    for name in sorted(mean, key=lambda name: float(mean[name].mean())):
        beside = "" if name == IN_USE else interval(mean[name] - mean[IN_USE])
        print(f"| {name} | {mean[name].mean():.3f} | {torch.cat(found[name]).quantile(0.99):.2f} | {beside} |")


if __name__ == "__main__":
    main()
