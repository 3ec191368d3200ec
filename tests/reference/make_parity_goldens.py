#!/usr/bin/env python3
"""Makes tests/golden/parity: tiny random checkpoints in Hugging Face's format, and what transformers computes for them in f32.

For each configuration: a directory (config.json, tokenizer.json, safetensors) and NAME.expected.safetensors beside it with the tensors
CASE.ids, CASE.hidden.N, CASE.hidden.norm, CASE.router.N, CASE.topk.N and CASE.logits for the cases causal, bidirectional and single (one
token). tests/model/parity_test.cc compares our engine with them in every test run; compare_forward.py does so with transformers live.

Random weights show that the arithmetic is the same, nothing about quality. They are scaled so that attention and routing are far from
uniform, and a seed is only accepted if every routing decision has a clear margin.
"""
import argparse
import json
import pathlib
import shutil
import tempfile

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import hf_reference as reference

VOCAB = 320           # a few more rows than the tokenizer has tokens, as OLMoE's 50304 against 50280
MIN_MARGIN = 2e-4     # of router probabilities; f32 differences between implementations are about 1e-6
TOLERANCE = 2e-5      # transformers in f32 against the f64 computation

MOE = dict(vocab_size=VOCAB, hidden_size=64, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
           num_experts=8, num_experts_per_tok=2, max_position_embeddings=512, bos_token_id=None, eos_token_id=0, pad_token_id=1)
DENSE = dict(vocab_size=VOCAB, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
             max_position_embeddings=512, bos_token_id=0, eos_token_id=0, pad_token_id=1)

# name: (class, config changes, dtype on disk, RoPE base, key of the RoPE base: old = top-level rope_theta, shard bytes or None)
CONFIGS = {
    "olmoe_plain_bf16": ("olmoe", {}, torch.bfloat16, 10000.0, "new", None),
    "olmoe_grouped_norm_sharded": ("olmoe", dict(num_key_value_heads=2, num_experts_per_tok=3, norm_topk_prob=True, num_hidden_layers=3,
                                                 intermediate_size=16), torch.bfloat16, 10000.0, "new", 100_000),
    "olmoe_clip_tied_f32": ("olmoe", dict(clip_qkv=0.75, tie_word_embeddings=True, hidden_size=48, num_attention_heads=3,
                                          num_key_value_heads=3, intermediate_size=16), torch.float32, 50000.0, "new", None),
    "olmoe_old_rope_f16": ("olmoe", dict(rms_norm_eps=1e-6, num_experts_per_tok=3), torch.float16, 500000.0, "old", None),
    "llama_tied_new_rope": ("llama", dict(tie_word_embeddings=True, hidden_size=72, num_attention_heads=3, num_key_value_heads=1, head_dim=32),
                            torch.bfloat16,
                            100000.0, "new", None),
    "mistral_old_rope": ("mistral", dict(sliding_window=None, hidden_size=80, head_dim=16), torch.bfloat16, 1000000.0, "old", None),
}


def make_tokenizer(path):
    """A byte-level BPE in OLMo's form: NFC, byte-level pre-tokeniser, no BOS; two special tokens, a role written as ordinary text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True)
    tokenizer.decoder = decoders.ByteLevel(add_prefix_space=True, trim_offsets=True)
    special = [AddedToken("<|endoftext|>", special=True), AddedToken("<|padding|>", special=True)]
    trainer = trainers.BpeTrainer(vocab_size=VOCAB - 8, show_progress=False, special_tokens=special,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(["the stone wall of the old mill stands near the river and the road to the town"] * 4, trainer)
    tokenizer.save(str(path))


def make_model(kind, changes, theta, seed):
    from transformers import (LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, OlmoeConfig, OlmoeForCausalLM)

    config_class, model_class, base = {"olmoe": (OlmoeConfig, OlmoeForCausalLM, MOE), "llama": (LlamaConfig, LlamaForCausalLM, DENSE),
                                       "mistral": (MistralConfig, MistralForCausalLM, DENSE)}[kind]
    config = config_class(**{**base, **changes}, rope_parameters={"rope_type": "default", "rope_theta": theta})
    model = model_class(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            if name.endswith("norm.weight"):
                values = 1.0 + 0.2 * values
            elif "embed_tokens" in name or "lm_head" in name:
                values = 0.5 * values
            elif name.endswith("mlp.gate.weight"):
                values = 0.3 * values
            else:
                values = values * (1.6 / parameter.shape[-1] ** 0.5)  # keeps each block's output near its input's size
            parameter.copy_(values)
    return model


def write_checkpoint(model, directory, dtype, rope_key, shard_bytes):
    if shard_bytes:
        model.to(dtype).save_pretrained(directory, max_shard_size=shard_bytes)
    else:
        model.to(dtype).save_pretrained(directory)
    (directory / "generation_config.json").unlink(missing_ok=True)
    make_tokenizer(directory / "tokenizer.json")
    path = directory / "config.json"
    config = json.loads(path.read_text())
    if rope_key == "old":  # as transformers 4 wrote it, and as the published OLMoE checkpoints have it
        config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
        config["torch_dtype"] = config.pop("dtype")
        config["rope_scaling"] = None
    path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def cases(seed):
    generator = torch.Generator().manual_seed(1000 + seed)
    ids = torch.randint(2, VOCAB, (27,), generator=generator).tolist()
    ids[11] = ids[4]  # a repeated token: only position and context tell its two rows apart
    return {"causal": ("causal", ids), "bidirectional": ("bidirectional", ids), "single": ("causal", ids[:1])}


def expected_outputs(directory, seed):
    """None if a routing decision of this seed is too close to call."""
    model = reference.load(directory)
    tensors = {}
    for case, (attention, ids) in cases(seed).items():
        got = reference.forward(model, ids, attention)
        for name, want in reference.manual_forward(model, ids, attention).items():
            error = reference.relative_error(got[name], want)
            if error > TOLERANCE:
                raise SystemExit(f"{directory.name}, {case}: transformers and the f64 computation differ by {error:.1e} in {name}")
            if name.startswith("router.") and reference.routing_margin(want, model.config.num_experts_per_tok) < MIN_MARGIN:
                return None
        tensors[f"{case}.ids"] = torch.tensor(ids, dtype=torch.int32)
        tensors.update({f"{case}.{name}": value for name, value in got.items()})
    if torch.allclose(tensors["causal.hidden.1"][0], tensors["bidirectional.hidden.1"][0], rtol=0.05):
        raise SystemExit(f"{directory.name}: the mask makes no difference, so it would not be tested")
    return tensors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = pathlib.Path(__file__).resolve().parent.parent / "golden" / "parity"
    parser.add_argument("-o", "--output", type=pathlib.Path, default=default)
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    total = 0
    for number, (name, (kind, changes, dtype, theta, rope_key, shard_bytes)) in enumerate(CONFIGS.items()):
        for seed in range(100 * number, 100 * number + 100):
            with tempfile.TemporaryDirectory() as scratch:
                directory = pathlib.Path(scratch) / name
                directory.mkdir()
                write_checkpoint(make_model(kind, changes, theta, seed), directory, dtype, rope_key, shard_bytes)
                tensors = expected_outputs(directory, seed)
                if tensors is None:
                    continue
                shutil.rmtree(args.output / name, ignore_errors=True)
                shutil.copytree(directory, args.output / name)
            break
        else:
            raise SystemExit(f"{name}: no seed with clear routing")
        save_file(tensors, args.output / f"{name}.expected.safetensors")
        files = list((args.output / name).iterdir()) + [args.output / f"{name}.expected.safetensors"]
        for file in files:
            file.chmod(0o644)
        size = sum(f.stat().st_size for f in files)
        total += size
        with safe_open(args.output / f"{name}.expected.safetensors", "pt") as f:
            peak = f.get_tensor("causal.logits").abs().max().item()
        print(f"{name}: seed {seed}, {len(files)} files, {size / 1000:.0f} kB, largest logit {peak:.1f}")
    print(f"{total / 1e6:.2f} MB")
    if total > 3e6:
        raise SystemExit("more than 3 MB")


if __name__ == "__main__":
    main()
