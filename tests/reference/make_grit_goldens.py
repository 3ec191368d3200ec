#!/usr/bin/env python3
"""Makes tests/golden/parity/NAME.grit.safetensors: what transformers gives behind the states of bidirectional passes (GRIT's caching).

As GRIT's published evaluation does it: each text is run on its own with an all-visible mask, the caches are put one behind the other as
they are (both rotated from position 0), and the prompt follows causally at the positions behind their joint length.
Tensors: doc.ids, query.ids, live.ids, and for the cases doc and doc-query CASE.hidden.norm and CASE.logits of the live tokens.
"""
import argparse
import pathlib

import torch
from safetensors.torch import save_file
from transformers import DynamicCache

import hf_reference as reference

CONFIGS = ("olmoe_plain_bf16", "olmoe_grouped_norm_sharded", "mistral_old_rope")


@torch.no_grad()
def embedding_pass(model, ids):
    cache = DynamicCache()
    model.model(torch.tensor([ids]), attention_mask=torch.zeros(1, 1, len(ids), len(ids)), past_key_values=cache, use_cache=True)
    return [(layer.keys, layer.values) for layer in cache.layers]


@torch.no_grad()
def continue_behind(model, passes, ids):
    cache = DynamicCache()
    for layer in range(model.config.num_hidden_layers):
        keys, values = (torch.cat([p[layer][kind] for p in passes], dim=2) for kind in (0, 1))
        cache.update(keys, values, layer)
    before, n = cache.get_seq_length(), len(ids)
    mask = torch.cat([torch.zeros(n, before), torch.full((n, n), float("-inf")).triu(1)], dim=1)[None, None]
    positions = torch.arange(before, before + n)[None]
    out = model.model(torch.tensor([ids]), attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True)
    hidden = out.last_hidden_state
    return hidden[0].contiguous(), model.lm_head(hidden)[0].contiguous()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=pathlib.Path, nargs="?",
                        default=pathlib.Path(__file__).resolve().parent.parent / "golden" / "parity")
    directory = parser.parse_args().directory
    for number, name in enumerate(CONFIGS):
        model = reference.load(directory / name)
        generator = torch.Generator().manual_seed(7 + number)
        ids = {kind: torch.randint(2, model.config.vocab_size, (count,), generator=generator).tolist()
               for kind, count in (("doc", 21), ("query", 9), ("live", 12))}
        doc, query = embedding_pass(model, ids["doc"]), embedding_pass(model, ids["query"])
        tensors = {f"{kind}.ids": torch.tensor(values, dtype=torch.int32) for kind, values in ids.items()}
        for case, passes in (("doc", [doc]), ("doc-query", [doc, query])):
            tensors[f"{case}.hidden.norm"], tensors[f"{case}.logits"] = continue_behind(model, passes, ids["live"])
        if torch.allclose(tensors["doc.logits"], tensors["doc-query.logits"], rtol=0.05):
            raise SystemExit(f"{name}: the question's states make no difference, so they would not be tested")
        save_file(tensors, directory / f"{name}.grit.safetensors")
        print(f"{name}: largest logit {tensors['doc.logits'].abs().max():.1f}")


if __name__ == "__main__":
    main()
