#!/usr/bin/env python3
"""The peer of cuda_bench: Hugging Face transformers on the same GPU, OLMoE-1B-7B's shape with random bf16 weights.

Decoding at batch 1 (a static cache; with and without torch.compile's CUDA graphs) and prefill of 4,096 tokens (each prompt after 50 ms of
rest, as when they come one by one, and one after another, which makes the GPU lower its clock), for every implementation of
the experts that this version of transformers has. Prints Markdown rows; the fastest row of each kind is the one to compare with.
"""
import argparse
import time

import torch
import transformers
from transformers import OlmoeConfig, OlmoeForCausalLM, StaticCache


def median(values):
    return sorted(values)[len(values) // 2]


def build(experts, attention):
    config = OlmoeConfig(vocab_size=50304, hidden_size=2048, intermediate_size=1024, num_hidden_layers=16, num_attention_heads=16,
                         num_key_value_heads=16, num_experts=64, num_experts_per_tok=8, max_position_embeddings=4096)
    config._attn_implementation = attention
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = OlmoeForCausalLM(config)
    model.eval()
    if experts:
        model.set_experts_implementation(experts)
    return model


@torch.no_grad()
def prefill_ms(model, tokens, rounds, rest):
    times = []
    for i in range(rounds + 1):
        ids = torch.randint(100, 50000, (1, tokens), device="cuda")
        torch.cuda.synchronize()
        time.sleep(rest)
        start = time.perf_counter()
        model(ids, use_cache=True, logits_to_keep=1)
        torch.cuda.synchronize()
        if i:
            times.append(1e3 * (time.perf_counter() - start))
    return median(times)


@torch.no_grad()
def decode_ms(model, context, steps, step):
    cache = StaticCache(config=model.config, max_cache_len=context + steps + 16)
    ids = torch.randint(100, 50000, (1, context), device="cuda")
    token = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1:].argmax(-1)
    times = []
    for i in range(steps):
        position = torch.tensor([context + i], device="cuda")
        torch.cuda.synchronize()
        start = time.perf_counter()
        token = step(token, position, cache)
        torch.cuda.synchronize()
        times.append(1e3 * (time.perf_counter() - start))
    return median(times[steps // 3:])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experts", default="grouped_mm,batched_mm,eager")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true", help="also decode through torch.compile(mode='reduce-overhead')")
    args = parser.parse_args()
    print(f"| transformers {transformers.__version__}, torch {torch.__version__}, {torch.cuda.get_device_name()} | measured |\n| --- | --- |")
    model = None
    for experts in args.experts.split(","):
        try:
            if model is None:
                model = build(experts, "sdpa")
            else:
                model.set_experts_implementation(experts)

            def step(token, position, cache):
                out = model(token, past_key_values=cache, use_cache=True, cache_position=position)
                return out.logits[:, -1:].argmax(-1)

            for rest, when in ((0.05, "after a rest"), (0, "one after another")):
                print(f"| prefill 4096, {when}, sdpa, {experts} | {prefill_ms(model, 4096, args.rounds, rest):.1f} ms |", flush=True)
            print(f"| decode, batch 1, sdpa, {experts} | {decode_ms(model, 64, 30, step):.2f} ms |", flush=True)
            if args.compile and experts != "eager":
                compiled = torch.compile(step, mode="reduce-overhead", fullgraph=False)
                print(f"| decode, batch 1, sdpa, {experts}, compiled | {decode_ms(model, 64, 30, compiled):.2f} ms |", flush=True)
        except Exception as error:  # an implementation that this version or GPU lacks is reported, not fatal
            print(f"| {experts} | failed: {type(error).__name__}: {str(error).splitlines()[0][:150]} |", flush=True)


if __name__ == "__main__":
    main()
