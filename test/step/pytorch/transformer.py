"""The family of models in PyTorch, written out: what `F.` has is used, nothing is computed by hand that it has.

Weights come by the names and shapes of the product; N tokens of a sequence, h query heads, g key/value heads, D head size.
Under `torch.autocast` products and attention take bfloat16 and everything else what PyTorch decides. Rotary tables and the loss
are made in the dtype of the weights, in float32 at least.
"""

import math

import torch
import torch.nn.functional as F


def loss_of(model, weights, sequences):
    """Mean cross-entropy over every label >= 0 of all sequences together."""
    valid = sum(label >= 0 for sequence in sequences for label in sequence["labels"])
    total = 0
    for sequence in sequences:
        tokens, labels, starts = (torch.tensor(sequence[name]) for name in ("tokens", "labels", "starts"))
        scores = logits(model, weights, tokens, starts).to(at_least_float32(weights["embedding/table"].dtype))
        total = total + F.cross_entropy(scores, labels, ignore_index=-1, reduction="sum")
    return total / valid


def at_least_float32(dtype):
    return torch.promote_types(dtype, torch.float32)


def logits(model, weights, tokens, starts):
    positions = torch.arange(len(tokens)) - starts
    x = F.embedding(tokens, weights["embedding/table"])
    if model["positions"]["kind"] == "learned":
        x = x + F.embedding(positions, weights["positions/table"])
    for layer in range(model["layers"]):
        named = {name.split("/")[1]: value for name, value in weights.items() if name.startswith(f"layer {layer}/")}
        x = x + attention(model, named, norm(model, named, "norm1", x), positions, starts)
        x = x + feed_forward(model, named, norm(model, named, "norm2", x))
    head = {name.split("/")[1]: value for name, value in weights.items() if name.startswith("head/")}
    return F.linear(norm(model, head, "norm", x), weights["embedding/table"] if model["tied"] else head["matrix"])


def norm(model, w, name, x):
    if model["norm"] == "rms":
        return F.rms_norm(x, x.shape[-1:], w[name], model["normEps"])
    return F.layer_norm(x, x.shape[-1:], w[name], w[name + "Bias"], model["normEps"])


def attention(model, w, x, positions, starts):
    N, h, g, D = len(x), model["heads"], model["kvHeads"], model["headSize"]
    q, k, v = F.linear(x, w["qkv"], w.get("qkvBias")).view(N, h + 2 * g, D).transpose(0, 1).split([h, g, g])
    if model["positions"]["kind"] == "rotary":
        cos, sin = rotary_tables(model["positions"], D, positions, at_least_float32(w["qkv"].dtype))
        q, k = ((each * cos + torch.cat((-each[..., D // 2 :], each[..., : D // 2]), -1) * sin).to(v.dtype) for each in (q, k))
    k, v = (each.repeat_interleave(h // g, 0) for each in (k, v))
    at = torch.arange(N)
    packed = bool(starts.any())
    mask = (at[None, :] <= at[:, None]) & (at[None, :] >= starts[:, None]) if packed else None
    o = F.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=mask, is_causal=not packed)[0]
    return F.linear(o.transpose(0, 1).reshape(N, h * D), w["out"], w.get("outBias"))


def feed_forward(model, w, x):
    if model["activation"] == "swiglu":
        gate, up = F.linear(x, w["gateUp"], w.get("gateUpBias")).chunk(2, -1)
        inner = F.silu(gate) * up
    else:
        inner = F.gelu(F.linear(x, w["up"], w.get("upBias")), approximate="tanh")
    return F.linear(inner, w["down"], w.get("downBias"))


def rotary_tables(positions, D, at, dtype):
    """cos and sin (N, D), angles in float64; scalings as in `transformers.modeling_rope_utils`."""
    theta, scaling = positions["theta"], positions.get("scaling") or {"kind": None}
    pairs = torch.arange(0, D, 2, dtype=torch.float64)
    inv_freq, magnitude = theta ** -(pairs / D), 1
    factor = scaling.get("factor")
    if scaling["kind"] == "linear":
        inv_freq = inv_freq / factor
    elif scaling["kind"] == "llama3":
        wavelength = 2 * math.pi / inv_freq
        low, high, old = scaling["lowFrequency"], scaling["highFrequency"], scaling["original"]
        smooth = (old / wavelength - low) / (high - low)
        medium = (1 - smooth) * inv_freq / factor + smooth * inv_freq
        scaled = torch.where(wavelength > old / low, inv_freq / factor, inv_freq)
        inv_freq = torch.where((wavelength >= old / high) & (wavelength <= old / low), medium, scaled)
    elif scaling["kind"] == "yarn":

        def correction(rotations):
            return D * math.log(scaling["original"] / (rotations * 2 * math.pi)) / (2 * math.log(theta))

        low, high = max(math.floor(correction(scaling["betaFast"])), 0), min(math.ceil(correction(scaling["betaSlow"])), D - 1)
        ramp = ((torch.arange(D // 2, dtype=torch.float64) - low) / (high - low or 0.001)).clamp(0, 1)
        inv_freq = inv_freq / factor * ramp + inv_freq * (1 - ramp)
        magnitude = scaling["magnitude"]
    angles = torch.outer(at.double(), inv_freq).repeat(1, 2)
    return (angles.cos() * magnitude).to(dtype), (angles.sin() * magnitude).to(dtype)
