"""A dense Llama GGUF as a mixture of experts, in torch and without training: the neurons of every feed-forward network are grouped by what
fires together, and a linear router is fitted by least squares to how much each group adds. Weights of 1, as the dense sum has.

No small trained mixture of experts can be had from PyPI; this one has a language model's states and a router that follows them. A shared part
of blend_signals.py.
"""
import gguf
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers


class SplitModel:
    def __init__(self, path):
        reader = gguf.GGUFReader(path)

        def field(key):
            return reader.fields[key].contents()

        self.layers = field("llama.block_count")
        self.heads, self.kv_heads = field("llama.attention.head_count"), field("llama.attention.head_count_kv")
        self.epsilon, self.theta = field("llama.attention.layer_norm_rms_epsilon"), field("llama.rope.freq_base")
        self.weights = {t.name: torch.tensor(gguf.dequantize(t.data, t.tensor_type), dtype=torch.float32) for t in reader.tensors}
        self.embedding = self.weights["token_embd.weight"]
        self.output = self.weights.get("output.weight", self.embedding)
        self.width = self.embedding.shape[1] // self.heads
        self.experts = []  # per layer: group of each neuron, router [experts, hidden], its bias
        self.used = 0
        self.vocabulary = field("tokenizer.ggml.tokens")
        merges = [tuple(merge.split(" ")) for merge in field("tokenizer.ggml.merges")]
        self.tokenizer = Tokenizer(models.BPE(vocab={text: i for i, text in enumerate(self.vocabulary)}, merges=merges))
        self.tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])

    def encode(self, text):
        return self.tokenizer.encode(text).ids

    def logits(self, hidden):
        return hidden @ self.output.T

    def forward(self, ids, positions, context=None, mask=None, record=None):
        """Hidden states [T, hidden] of `ids` [T] after the last norm.

        context: per layer K before RoPE and V [kv_heads, C, width], and positions [C] of all; mask [T, C + T] is True where a token attends
        (without one: causal, no context). record: a dict that gets lists per layer: "kv", "ffn" (inputs), "router" (logits).
        """
        x = self.embedding[ids]
        if mask is None:
            mask = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()
        for layer in range(self.layers):
            x = x + self._attention(layer, x, positions, context[layer] if context else None, mask, record)
            x = x + self._experts(layer, self._norm(x, layer, "ffn_norm"), record)
        return self._norm(x, None, "output_norm")

    def _weight(self, layer, name):
        return self.weights[f"blk.{layer}.{name}.weight" if layer is not None else f"{name}.weight"]

    def _norm(self, x, layer, name):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon) * self._weight(layer, name)

    def _rope(self, x, positions):  # neighbours are pairs, as llama.cpp's converter leaves them
        frequencies = self.theta ** (-torch.arange(0, self.width, 2).double() / self.width)
        angles = (positions.double()[:, None] * frequencies).float()
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack((a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()), -1).flatten(-2)

    def _attention(self, layer, x, positions, context, mask, record):
        normed = self._norm(x, layer, "attn_norm")

        def project(name, heads):
            return (normed @ self._weight(layer, name).T).view(len(x), heads, self.width).transpose(0, 1)

        q, k, v = project("attn_q", self.heads), project("attn_k", self.kv_heads), project("attn_v", self.kv_heads)
        if record is not None:
            record.setdefault("kv", []).append((k, v))
        places = positions
        if context is not None:
            k, v, places = torch.cat((context[0], k), 1), torch.cat((context[1], v), 1), torch.cat((context[2], positions))
        repeat = self.heads // self.kv_heads
        k, v = self._rope(k, places).repeat_interleave(repeat, 0), v.repeat_interleave(repeat, 0)
        out = F.scaled_dot_product_attention(self._rope(q, positions)[None], k[None], v[None], attn_mask=mask)[0]
        return out.transpose(0, 1).reshape(len(x), -1) @ self._weight(layer, "attn_output").T

    def _neurons(self, layer, x):
        return F.silu(x @ self._weight(layer, "ffn_gate").T) * (x @ self._weight(layer, "ffn_up").T)

    def _experts(self, layer, x, record):
        neurons = self._neurons(layer, x)
        if record is not None:
            record.setdefault("ffn", []).append(x)
        if self.experts:
            group, router, bias = self.experts[layer]
            logits = x @ router.T + bias
            if record is not None:
                record.setdefault("router", []).append(logits)
            chosen = torch.zeros_like(logits).scatter_(1, logits.topk(self.used).indices, 1.0)
            neurons = neurons * chosen[:, group]
        return neurons @ self._weight(layer, "ffn_down").T

    def split(self, sequences, experts, used):
        """Groups the neurons and fits the routers on what these token sequences do."""
        inputs = [[] for _ in range(self.layers)]
        for ids in sequences:
            record = {}
            self.forward(torch.tensor(ids), torch.arange(len(ids)), record=record)
            for layer, x in enumerate(record["ffn"]):
                inputs[layer].append(x)
        splits = []
        for layer, parts in enumerate(inputs):
            x, down = torch.cat(parts), self._weight(layer, "ffn_down")
            neurons = self._neurons(layer, x)
            strength = neurons.abs() * down.norm(dim=0)
            group = balanced_groups(F.normalize((strength - strength.mean(0)).T[:, :4000], dim=-1), experts)
            added = torch.stack([(neurons[:, group == e] @ down[:, group == e].T).pow(2).sum(-1) for e in range(experts)], -1)
            target = added.clamp_min(1e-12).log() / 2  # log of the norm of what an expert adds
            centred = x - x.mean(0)
            gram = centred.T @ centred
            gram += 0.01 * gram.diagonal().mean() * torch.eye(len(gram))
            router = torch.linalg.solve(gram, centred.T @ (target - target.mean(0))).T
            splits.append((group, router, target.mean(0) - router @ x.mean(0)))
        self.experts, self.used = splits, used


def balanced_groups(rows, groups, rounds=12):
    """k-means of normalised rows [n, d] by cosine, n / groups in each: the most certain choose first. Returns the group of each row."""
    centres = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))[:groups]]
    for _ in range(rounds):
        distance = 1 - rows @ F.normalize(centres, dim=-1).T
        best, second = distance.topk(2, largest=False).values.unbind(1)
        wishes = distance.argsort(1).tolist()
        group, room = torch.full((len(rows),), -1), [len(rows) // groups] * groups
        for row in (best - second).argsort().tolist():
            choice = next(g for g in wishes[row] if room[g] > 0)
            group[row] = choice
            room[choice] -= 1
        centres = torch.stack([rows[group == g].mean(0) for g in range(groups)])
    return group
