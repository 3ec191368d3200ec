#!/usr/bin/env python3
"""Times llama.cpp's saved prompt states: the first token of a prompt whose beginning was saved, restored from memory and from a cold file.

Run by compare_llama_restore.py with the interpreter of the reference environment. Prints one JSON document of milliseconds per round:
none (the whole prompt computed), ram (llama_state_seq_set_data) and disk (llama_state_seq_load_file), each followed by the live tokens.
"""
import argparse
import ctypes
import json
import os
import time

import llama_cpp as lc

from llama_cpp_bench import clear, fill, make_context, random_ids


def evict(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def compute(context, batch, ids, first, ubatch):
    for begin in range(0, len(ids), ubatch):
        fill(batch, [ids[begin:begin + ubatch]], first + begin)
        if lc.llama_decode(context, batch) != 0:
            raise SystemExit("llama_decode failed")
    lc.llama_synchronize(context)
    lc.llama_get_logits_ith(context, -1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("--saved", type=int, required=True, help="tokens in front, whose states are saved")
    parser.add_argument("--live", type=int, required=True, help="tokens behind them")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ubatch", type=int, default=512)
    parser.add_argument("--file", required=True, help="where the saved state goes")
    args = parser.parse_args()
    silence = lc.llama_log_callback(lambda level, text, data: None)
    lc.llama_log_set(silence, ctypes.c_void_p(0))
    lc.llama_backend_init()
    params = lc.llama_model_default_params()
    params.n_gpu_layers = 0
    model = lc.llama_model_load_from_file(args.model.encode(), params)
    if not model:
        raise SystemExit(f"llama.cpp could not load {args.model}")
    vocab = lc.llama_vocab_n_tokens(lc.llama_model_get_vocab(model))
    context = make_context(model, args.saved + args.live + 8, args.threads, args.ubatch)
    batch = lc.llama_batch_init(args.ubatch, 0, 1)
    saved = random_ids(args.saved, vocab, 1)
    saved_array = (lc.llama_token * args.saved)(*saved)
    compute(context, batch, saved, 0, args.ubatch)
    size = lc.llama_state_seq_get_size(context, 0)
    buffer = (ctypes.c_uint8 * size)()
    if lc.llama_state_seq_get_data(context, buffer, size, 0) == 0:
        raise SystemExit("llama_state_seq_get_data failed")
    if lc.llama_state_seq_save_file(context, args.file.encode(), 0, saved_array, args.saved) == 0:
        raise SystemExit("llama_state_seq_save_file failed")
    times = {"none": [], "ram": [], "disk": []}
    for number in range(args.rounds):
        live = random_ids(args.live, vocab, 100 + number)
        for name in times:
            clear(context)
            if name == "disk":
                evict(args.file)
            start = time.perf_counter()
            first = args.saved
            if name == "none":
                compute(context, batch, saved, 0, args.ubatch)
            elif name == "ram":
                if lc.llama_state_seq_set_data(context, buffer, size, 0) == 0:
                    raise SystemExit("llama_state_seq_set_data failed")
            else:
                out, count = (lc.llama_token * args.saved)(), ctypes.c_size_t(0)
                if lc.llama_state_seq_load_file(context, args.file.encode(), 0, out, args.saved, ctypes.byref(count)) == 0:
                    raise SystemExit("llama_state_seq_load_file failed")
            compute(context, batch, live, first, args.ubatch)
            times[name].append(1e3 * (time.perf_counter() - start))
    print(json.dumps({"ms": times, "state_bytes": size, "file_bytes": os.path.getsize(args.file)}))


if __name__ == "__main__":
    main()
