#!/usr/bin/env python3
"""Times llama.cpp (through llama-cpp-python's ctypes API) the way `gritstone bench` times us, and prints one JSON document.

Only llama_decode is inside the clock, after one untimed call of the same shape. Run it with the interpreter of the reference environment
(tests/reference/make_venv.sh); compare_llama_speed.py does, in turns with `gritstone bench`.

  pp<N>     one call with N tokens of one sequence on an empty cache, logits of the last token only
  tg<N>     N calls with one token each, behind one token
  embed<N>  mean-pooled embedding of texts of N tokens, as many texts in a call as fit into one ubatch (llama.cpp's best case)
"""
import argparse
import ctypes
import json
import statistics
import time

import llama_cpp as lc


def peak_memory_bytes():
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def make_context(model, n_ctx, threads, ubatch, sequences=1, embeddings=False):
    params = lc.llama_context_default_params()
    params.n_ctx = n_ctx
    params.n_batch = params.n_ubatch = ubatch
    params.n_threads = params.n_threads_batch = threads
    params.n_seq_max = sequences
    params.embeddings = embeddings
    params.pooling_type = lc.LLAMA_POOLING_TYPE_MEAN if embeddings else lc.LLAMA_POOLING_TYPE_NONE
    context = lc.llama_init_from_model(model, params)
    if not context:
        raise SystemExit("llama.cpp could not create a context")
    return context


def fill(batch, sequences, first_position=0, all_outputs=False):
    """Puts token lists, one a sequence, into the batch; outputs for every token or only for each sequence's last."""
    n = 0
    for seq, tokens in enumerate(sequences):
        for i, token in enumerate(tokens):
            batch.token[n] = token
            batch.pos[n] = first_position + i
            batch.n_seq_id[n] = 1
            batch.seq_id[n][0] = seq
            batch.logits[n] = all_outputs or i + 1 == len(tokens)
            n += 1
    batch.n_tokens = n


def random_ids(count, vocab, seed):
    """The ids of `gritstone bench` (pipelines/bench.cc), so that both engines route the same tokens."""
    ids, state = [], seed
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % (1 << 64)
        ids.append((state >> 33) % vocab)
    return ids


def decode(context, batch):
    start = time.perf_counter()
    if lc.llama_decode(context, batch) != 0:
        raise SystemExit("llama_decode failed")
    lc.llama_synchronize(context)
    return time.perf_counter() - start


def clear(context):
    lc.llama_memory_clear(lc.llama_get_memory(context), False)


def measure_prefill(model, vocab, n, args):
    context = make_context(model, n, args.threads, args.ubatch)
    batch = lc.llama_batch_init(n, 0, 1)
    rates = []
    for repeat in range(args.repeat + 1):
        clear(context)
        ids, seconds = random_ids(n, vocab, repeat), 0.0
        for first in range(0, n, args.ubatch):
            fill(batch, [ids[first:first + args.ubatch]], first)
            seconds += decode(context, batch)
        if repeat:
            rates.append(n / seconds)
    lc.llama_batch_free(batch)
    lc.llama_free(context)
    return rates


def measure_decode(model, vocab, n, args):
    context = make_context(model, n + 8, args.threads, args.ubatch)
    batch = lc.llama_batch_init(1, 0, 1)
    rates = []
    for repeat in range(args.repeat + 1):
        clear(context)
        fill(batch, [random_ids(1, vocab, repeat)])
        decode(context, batch)
        seconds = 0.0
        for position, token in enumerate(random_ids(n, vocab, repeat + 1)[:n if repeat else 8]):
            fill(batch, [[token]], position + 1)
            seconds += decode(context, batch)
        if repeat:
            rates.append(n / seconds)
    lc.llama_batch_free(batch)
    lc.llama_free(context)
    return rates


def measure_embed(model, vocab, n, args):
    texts = max(1, args.ubatch // n)
    context = make_context(model, n * texts, args.threads, max(args.ubatch, n), texts, embeddings=True)
    batch = lc.llama_batch_init(n * texts, 0, 1)
    width = lc.llama_model_n_embd(model)
    rates = []
    for repeat in range(args.repeat + 1):
        clear(context)
        fill(batch, [random_ids(n, vocab, repeat + 1000 * t) for t in range(texts)], 0, all_outputs=True)
        seconds = decode(context, batch)
        for t in range(texts):
            row = lc.llama_get_embeddings_seq(context, t)
            if not any(row[i] != 0.0 for i in range(width)):
                raise SystemExit("llama.cpp returned a zero embedding")
        if repeat:
            rates.append(n * texts / seconds)
    lc.llama_batch_free(batch)
    lc.llama_free(context)
    return rates


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("--prefill", type=int, default=512)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--embed", type=int, default=256)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ubatch", type=int, default=512)
    args = parser.parse_args()

    silence = lc.llama_log_callback(lambda level, text, data: None)
    lc.llama_log_set(silence, ctypes.c_void_p(0))
    lc.llama_backend_init()
    params = lc.llama_model_default_params()
    params.n_gpu_layers = 0
    start = time.perf_counter()
    model = lc.llama_model_load_from_file(args.model.encode(), params)
    if not model:
        raise SystemExit(f"llama.cpp could not load {args.model}")
    load_seconds = time.perf_counter() - start
    vocab = lc.llama_vocab_n_tokens(lc.llama_model_get_vocab(model))
    rows = []
    for label, n, measure in (("pp", args.prefill, measure_prefill), ("tg", args.decode, measure_decode), ("embed", args.embed, measure_embed)):
        if n > 0:
            rates = measure(model, vocab, n, args)
            rows.append({"test": f"{label}{n}", "tokens_per_s": statistics.median(rates), "samples": rates})
    lc.llama_model_free(model)
    print(json.dumps({"rows": rows, "load_seconds": load_seconds, "peak_bytes": peak_memory_bytes(),
                      "machine": {"system": lc.llama_print_system_info().decode()}}))


if __name__ == "__main__":
    main()
