#!/usr/bin/env python3
"""Makes the seeds of gguf_fuzz and safetensors_fuzz: small valid files from which mutations reach deep into the readers.

    python3 make_model_seeds.py [corpus folder]
"""

import json
import pathlib
import struct
import sys

corpus = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "corpus")


def text(value):
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def scalar(kind, value):
    return {"u32": struct.pack("<II", 4, value) if kind == "u32" else b"", "f32": struct.pack("<If", 6, value) if kind == "f32" else b"",
            "bool": struct.pack("<IB", 7, value) if kind == "bool" else b"", "text": struct.pack("<I", 8) + text(value) if kind == "text" else b""}[kind]


def strings(values):
    return struct.pack("<IIQ", 9, 8, len(values)) + b"".join(text(v) for v in values)


def ints(values):
    return struct.pack("<IIQ", 9, 5, len(values)) + struct.pack(f"<{len(values)}i", *values)


def gguf(keys, tensors, version=3):
    infos, data = b"", b""
    for name, dims, kind, size in tensors:
        data += b"\0" * (-len(data) % 32)
        infos += text(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims) + struct.pack("<IQ", kind, len(data))
        data += bytes(range(7, 7 + size % 50)) + b"\x11" * (size - size % 50)
    head = struct.pack("<IIQQ", 0x46554747, version, len(tensors), len(keys)) + b"".join(text(k) + v for k, v in keys) + infos
    return head + b"\0" * (-len(head) % 32) + data


def model(arch, width, kind, bytes_of):
    """One layer; `bytes_of(n)` bytes for n elements of `kind`."""
    norms = ["attn_norm", "ffn_norm"] + (["attn_q_norm", "attn_k_norm"] if arch == "olmoe" else [])
    keys = [("general.architecture", scalar("text", arch)), ("general.name", scalar("text", "seed"))]
    keys += [(f"{arch}.{k}", scalar("u32", v)) for k, v in [("block_count", 1), ("embedding_length", width), ("feed_forward_length", width),
                                                            ("attention.head_count", 2), ("attention.head_count_kv", 2), ("context_length", 16),
                                                            ("rope.dimension_count", width // 2)]]
    keys += [(f"{arch}.attention.layer_norm_rms_epsilon", scalar("f32", 1e-5)), (f"{arch}.rope.freq_base", scalar("f32", 1e4))]
    tensors = [("token_embd.weight", (width, 4), kind, bytes_of(4 * width)), ("output_norm.weight", (width,), 0, 4 * width)]
    tensors += [(f"blk.0.{n}.weight", (width,), 0, 4 * width) for n in norms]
    tensors += [(f"blk.0.attn_{n}.weight", (width, width), kind, bytes_of(width * width)) for n in ("q", "k", "v", "output")]
    if arch == "olmoe":
        keys += [("olmoe.expert_count", scalar("u32", 2)), ("olmoe.expert_used_count", scalar("u32", 1)),
                 ("olmoe.expert_weights_norm", scalar("bool", 1)), ("olmoe.attention.clamp_kqv", scalar("f32", 8.0))]
        tensors += [("blk.0.ffn_gate_inp.weight", (width, 2), 0, 8 * width)]
        tensors += [(f"blk.0.ffn_{n}_exps.weight", (width, width, 2), kind, bytes_of(2 * width * width)) for n in ("gate", "up", "down")]
    else:
        tensors += [(f"blk.0.ffn_{n}.weight", (width, width), kind, bytes_of(width * width)) for n in ("gate", "up", "down")]
    keys += [("tokenizer.ggml.model", scalar("text", "gpt2")), ("tokenizer.ggml.pre", scalar("text", "olmo")),
             ("tokenizer.ggml.tokens", strings(["a", "b", "ab", "<|x|>"])), ("tokenizer.ggml.token_type", ints([1, 1, 1, 3])),
             ("tokenizer.ggml.merges", strings(["a b"])), ("tokenizer.ggml.eos_token_id", scalar("u32", 3))]
    return keys, tensors


def safetensors(header, size):
    raw = json.dumps(header).encode()
    return b"s" + struct.pack("<Q", len(raw)) + raw + bytes(size)


def write(folder, name, data):
    (corpus / folder).mkdir(parents=True, exist_ok=True)
    (corpus / folder / name).write_bytes(data)


write("gguf", "llama_f32", gguf(*model("llama", 4, 0, lambda n: 4 * n)))
write("gguf", "llama_f16_v2", gguf(*model("llama", 4, 1, lambda n: 2 * n), version=2))
write("gguf", "olmoe_f32", gguf(*model("olmoe", 4, 0, lambda n: 4 * n)))
write("gguf", "olmoe_q8_0", gguf(*model("olmoe", 32, 8, lambda n: n // 32 * 34)))
write("gguf", "olmoe_q4_0", gguf(*model("olmoe", 32, 2, lambda n: n // 32 * 18)))
keys, tensors = model("llama", 4, 0, lambda n: 4 * n)
write("gguf", "aligned_64", gguf([("general.alignment", scalar("u32", 64))] + keys[:1], []))
write("gguf", "no_tensors", gguf(keys, []))

write("safetensors", "file", safetensors({"__metadata__": {"format": "pt"},
                                          "model.norm.weight": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                                          "model.layers.0.mlp.experts.1.up_proj.weight": {"dtype": "BF16", "shape": [1, 2], "data_offsets": [8, 12]}}, 12))
write("safetensors", "empty", safetensors({}, 0))
write("safetensors", "index", b"i" + json.dumps({"metadata": {"total_size": 1}, "weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors",
                                                 "model.layers.0.mlp.experts.gate_up_proj": "b.safetensors"}}).encode())
olmoe = {"architectures": ["OlmoeForCausalLM"], "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 4,
         "vocab_size": 5, "num_experts": 4, "num_experts_per_tok": 2, "rope_parameters": {"rope_theta": 1e4, "rope_type": "default"},
         "clip_qkv": None, "eos_token_id": [1, 2], "norm_topk_prob": False, "rms_norm_eps": 1e-5}
write("safetensors", "config_olmoe", b"c" + json.dumps(olmoe).encode())
write("safetensors", "config_mistral", b"c" + json.dumps({"model_type": "mistral", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 8,
      "num_key_value_heads": 8, "intermediate_size": 4, "vocab_size": 5, "sliding_window": 4096, "head_dim": 2, "rope_theta": 1e4}).encode())
write("safetensors", "template", b"t" + json.dumps({"chat_template": [{"name": "default", "template": "x"}]}).encode())
