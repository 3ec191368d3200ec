"""Hugging Face transformers as a reference: one forward pass in f32 with everything that `gritstone model forward` writes.

Also a second, independent forward pass in f64 (`manual_forward`), so that a golden is never just what one library happened to do: the
generator refuses to write a golden on which the two disagree, which also proves that transformers applied the bidirectional mask.
"""
import torch
import torch.nn.functional as F


def load(directory):
    """The checkpoint with f32 weights and the plainest code paths of transformers."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(directory)
    extra = {"experts_implementation": "eager"} if config.model_type == "olmoe" else {}
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager", **extra)
    model.eval()
    return model


@torch.no_grad()
def forward(model, ids, attention):
    """Tensors by `model forward`'s names, f32 [tokens, width]; plus topk.N, i32 [tokens, k] in order of falling probability."""
    layers = model.model.layers
    hidden, router = [None] * (len(layers) + 1), {}
    hooks = []

    def keep_output(slot):
        def hook(module, args, output):
            hidden[slot] = (output[0] if isinstance(output, tuple) else output)[0].clone()
        return hook

    def keep_router(layer):
        def hook(module, args, output):
            router[layer] = output[0].clone()
        return hook

    hooks.append(model.model.embed_tokens.register_forward_hook(keep_output(0)))
    for i, layer in enumerate(layers):
        hooks.append(layer.register_forward_hook(keep_output(i + 1)))
        if model.config.model_type == "olmoe":
            hooks.append(layer.mlp.gate.register_forward_hook(keep_router(i)))
    normed = {}
    hooks.append(model.model.norm.register_forward_hook(lambda module, args, output: normed.update(value=output[0].clone())))
    mask = None
    if attention == "bidirectional":
        mask = torch.zeros(1, 1, len(ids), len(ids))
    try:
        logits = model(torch.tensor([ids]), attention_mask=mask, use_cache=False).logits[0]
    finally:
        for hook in hooks:
            hook.remove()

    out = {f"hidden.{i}": h for i, h in enumerate(hidden)}
    out["hidden.norm"] = normed["value"]
    out["logits"] = logits
    for layer, scores in router.items():
        probabilities = torch.softmax(scores.float(), dim=-1)
        out[f"router.{layer}"] = probabilities
        out[f"topk.{layer}"] = torch.topk(probabilities, model.config.num_experts_per_tok, dim=-1).indices.int()
    return {name: tensor.contiguous() for name, tensor in out.items()}


def _rms(x, weight, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def _rotate(x, theta):
    """x [tokens, heads, dim]; element i is paired with i + dim/2."""
    tokens, _, dim = x.shape
    half = dim // 2
    angle = torch.arange(tokens, dtype=x.dtype)[:, None] * theta ** (-torch.arange(half, dtype=x.dtype) / half)
    cos, sin = angle.cos()[:, None, :], angle.sin()[:, None, :]
    low, high = x[..., :half], x[..., half:]
    return torch.cat([low * cos - high * sin, high * cos + low * sin], dim=-1)


@torch.no_grad()
def manual_forward(model, ids, attention):
    """The same tensors (without topk) from the model's weights, computed in f64 by code that shares nothing with transformers'."""
    c, w = model.config, {name: tensor.double() for name, tensor in model.state_dict().items()}
    n, heads, kv_heads = len(ids), c.num_attention_heads, c.num_key_value_heads
    head_dim = getattr(c, "head_dim", None) or c.hidden_size // heads
    theta = c.rope_parameters["rope_theta"]
    clip = getattr(c, "clip_qkv", None)
    visible = torch.ones(n, n, dtype=torch.bool) if attention == "bidirectional" else torch.ones(n, n, dtype=torch.bool).tril()
    x = w["model.embed_tokens.weight"][torch.tensor(ids)]
    out = {"hidden.0": x}
    for layer in range(c.num_hidden_layers):
        p = f"model.layers.{layer}."
        h = _rms(x, w[p + "input_layernorm.weight"], c.rms_norm_eps)
        q, k, v = (h @ w[p + f"self_attn.{name}_proj.weight"].T for name in "qkv")
        if c.model_type == "olmoe":
            q = _rms(q, w[p + "self_attn.q_norm.weight"], c.rms_norm_eps)
            k = _rms(k, w[p + "self_attn.k_norm.weight"], c.rms_norm_eps)
        if clip is not None:
            q, k, v = (t.clamp(-clip, clip) for t in (q, k, v))
        q = _rotate(q.view(n, heads, head_dim), theta)
        k = _rotate(k.view(n, kv_heads, head_dim), theta)
        v = v.view(n, kv_heads, head_dim)
        mixed = []
        for head in range(heads):
            group = head * kv_heads // heads
            scores = (q[:, head] @ k[:, group].T / head_dim**0.5).masked_fill(~visible, float("-inf"))
            mixed.append(torch.softmax(scores, dim=-1) @ v[:, group])
        x = x + torch.cat(mixed, dim=-1) @ w[p + "self_attn.o_proj.weight"].T
        h = _rms(x, w[p + "post_attention_layernorm.weight"], c.rms_norm_eps)
        if c.model_type == "olmoe":
            probabilities = torch.softmax(h @ w[p + "mlp.gate.weight"].T, dim=-1)
            out[f"router.{layer}"] = probabilities
            ffn = torch.zeros_like(h)
            for t in range(n):
                weights, experts = torch.topk(probabilities[t], c.num_experts_per_tok)
                if c.norm_topk_prob:
                    weights = weights / weights.sum()
                for weight, e in zip(weights, experts):
                    gate, up = (w[p + "mlp.experts.gate_up_proj"][e] @ h[t]).chunk(2)
                    ffn[t] += weight * (w[p + "mlp.experts.down_proj"][e] @ (F.silu(gate) * up))
        else:
            gate, up = (h @ w[p + f"mlp.{name}_proj.weight"].T for name in ("gate", "up"))
            ffn = (F.silu(gate) * up) @ w[p + "mlp.down_proj.weight"].T
        x = x + ffn
        out[f"hidden.{layer + 1}"] = x
    out["hidden.norm"] = _rms(x, w["model.norm.weight"], c.rms_norm_eps)
    out["logits"] = out["hidden.norm"] @ w.get("lm_head.weight", w["model.embed_tokens.weight"]).T
    return out


def relative_error(got, want):
    """max |got - want| / max |want|: the measure of every parity claim here."""
    got, want = torch.as_tensor(got).double(), torch.as_tensor(want).double()
    if got.shape != want.shape:
        return float("inf")
    return float((got - want).abs().max() / want.abs().max())


def routing_margin(probabilities, k):
    """Smallest gap, over the tokens, between the k-th and the next probability: below f32 noise the chosen experts would be a coin toss."""
    ranked = torch.sort(probabilities.double(), dim=-1, descending=True).values
    return float((ranked[:, k - 1] - ranked[:, k]).min())
