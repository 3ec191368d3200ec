#!/usr/bin/env python3
"""`gritstone model forward --device cuda` beside Hugging Face transformers in bf16 on the same GPU.

Random OLMoE and Llama checkpoints, wide enough for the tensor-core paths. For every hidden state and the logits, both are compared with
transformers in f32; ours must not be further from it than 1.5 times what transformers' own bf16 is (root mean square). Routing near a tie
may go either way in bf16, so a token whose routing differs from f32's in either one is left out and counted. Exit status 1 on a difference.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors import safe_open

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RATIO = 1.5


def build(kind):
    import transformers

    torch.manual_seed(11)
    common = dict(vocab_size=320, num_hidden_layers=4, max_position_embeddings=2048, bos_token_id=None, eos_token_id=0, pad_token_id=1)
    if kind == "olmoe":
        config = transformers.OlmoeConfig(hidden_size=512, intermediate_size=256, num_attention_heads=4, num_key_value_heads=4, num_experts=16,
                                          num_experts_per_tok=4, **common)
        model = transformers.OlmoeForCausalLM(config)
    else:
        config = transformers.LlamaConfig(hidden_size=576, intermediate_size=1536, num_attention_heads=9, num_key_value_heads=3, **common)
        model = transformers.LlamaForCausalLM(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, parameter.shape[-1] ** -0.5)
    return model.to(torch.bfloat16)


def load(directory, dtype):
    """From the file, not by a cast: a cast rounds RoPE's frequencies too."""
    import transformers

    return transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=dtype).eval()


@torch.no_grad()
def states(model, ids):
    """Hidden states after every layer, router logits where there are any, and logits."""
    out = model(torch.tensor([ids], device=model.device), output_hidden_states=True, use_cache=False,
                **({"output_router_logits": True} if hasattr(model.config, "num_experts") else {}))
    hidden = [h[0].float().cpu() for h in out.hidden_states]
    found = {f"hidden.{i}": h for i, h in enumerate(hidden[:-1])}  # transformers' last entry is after the final norm
    found["hidden.norm"] = hidden[-1]
    found["logits"] = out.logits[0].float().cpu()
    routers = [r.float().cpu() for r in (getattr(out, "router_logits", None) or ())]
    return found, [torch.softmax(r, dim=-1) for r in routers]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gritstone", default=str(ROOT / "build" / "cuda" / "gritstone"))
    parser.add_argument("--device", default="cuda", help="of ours; cpu rehearses the comparison")
    args = parser.parse_args()
    theirs_device = "cuda" if torch.cuda.is_available() else "cpu"
    failed = False
    print("| model | tokens | state | ours from f32 | transformers bf16 from f32 | ratio | tokens left out |\n| --- | --- | --- | --- | --- | --- | --- |")
    for kind in ("olmoe", "llama"):
        with tempfile.TemporaryDirectory() as scratch:
            directory = pathlib.Path(scratch) / kind
            build(kind).save_pretrained(directory)
            tokenizer = ROOT / "tests" / "golden" / "parity" / "olmoe_plain_bf16" / "tokenizer.json"
            (directory / "tokenizer.json").write_bytes(tokenizer.read_bytes())
            models = {dtype: load(directory, dtype).to(theirs_device) for dtype in (torch.bfloat16, torch.float32)}
            for count in (5, 300, 1200):
                ids = torch.randint(2, 300, (count,), generator=torch.Generator().manual_seed(count)).tolist()
                bf16, bf16_routers = states(models[torch.bfloat16], ids)
                f32, f32_routers = states(models[torch.float32], ids)
                output = pathlib.Path(scratch) / "out.safetensors"
                subprocess.run([args.gritstone, "model", "forward", "-m", str(directory), "--ids", ",".join(map(str, ids)), "--device", args.device, "--compute", "fast", "--kv-type", "bf16",
                                "-o", str(output)], check=True)
                with safe_open(output, "pt") as file:
                    ours = {name: file.get_tensor(name) for name in file.keys()}
                keep = torch.ones(count, dtype=torch.bool)
                used = getattr(models[torch.float32].config, "num_experts_per_tok", 0) or 0
                for layer, want in enumerate(f32_routers):
                    choice = want.topk(used).indices.sort().values
                    for other in (bf16_routers[layer], ours[f"router.{layer}"]):
                        keep &= (other.topk(used).indices.sort().values == choice).all(-1)
                for name in f32:
                    if name == "hidden.0" or name not in ours:
                        continue
                    want = f32[name][keep].double()
                    scale = want.square().mean().sqrt()
                    mine = float((ours[name][keep].double() - want).square().mean().sqrt() / scale)
                    theirs = float((bf16[name][keep].double() - want).square().mean().sqrt() / scale)
                    failed |= not mine <= RATIO * theirs
                    print(f"| {kind} | {count} | {name} | {mine:.2e} | {theirs:.2e} | {mine / theirs:.2f} | {count - int(keep.sum())} |", flush=True)
    print("\nA state of ours is FURTHER from f32." if failed else f"\nEvery state within {RATIO} times the distance of transformers' own bf16.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
