"""Training steps of a Llama in PyTorch, one for each line read: the peer of `pytorch.mjs`, and of `../gpu/run.mjs` with `"device": "cuda"`.

python pytorch.py '{"layers", "width", "heads", "feedForward", "vocabulary", "theta", "normEps", "threads"}', then lines `N`: a step of
N tokens. Prints its version, then of each step the seconds and those of all cores. As PyTorch users write it for a long sequence: f32 weights under bf16 autocast,
`F.scaled_dot_product_attention`, activation checkpointing of every layer, fused AdamW, the loss in f32 over all rows.
"""

import json
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

sizes = json.loads(sys.argv[1])
torch.set_num_threads(sizes["threads"])
torch.manual_seed(1)
device = sizes.get("device", "cpu")
d, h, f, V = sizes["width"], sizes["heads"], sizes["feedForward"], sizes["vocabulary"]
D = d // h


def rotate(x, cos, sin):
    first, second = x.chunk(2, -1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), -1)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = (nn.RMSNorm(d, eps=sizes["normEps"]) for _ in range(2))
        self.qkv, self.out = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
        self.gate_up, self.down = nn.Linear(d, 2 * f, bias=False), nn.Linear(f, d, bias=False)

    def forward(self, x, cos, sin):
        N = len(x)
        q, k, v = self.qkv(self.norm1(x)).view(N, 3, h, D).permute(1, 2, 0, 3)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        o = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]
        x = x + self.out(o.transpose(0, 1).reshape(N, d))
        gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(gate) * up)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(V, d)
        self.layers = nn.ModuleList(Layer() for _ in range(sizes["layers"]))
        self.norm, self.head = nn.RMSNorm(d, eps=sizes["normEps"]), nn.Linear(d, V, bias=False)

    def forward(self, tokens, labels, cos, sin):
        x = self.embedding(tokens)
        for layer in self.layers:
            x = checkpoint(layer, x, cos, sin, use_reentrant=False)
        return F.cross_entropy(self.head(self.norm(x)).float(), labels)


model = Model().to(device)
for parameter in model.parameters():
    if parameter.dim() > 1:
        nn.init.normal_(parameter, std=0.02)
matrices = [parameter for parameter in model.parameters() if parameter.dim() > 1]
vectors = [parameter for parameter in model.parameters() if parameter.dim() == 1]
groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0}]
optimizer = torch.optim.AdamW(groups, lr=3e-4, betas=(0.9, 0.95), fused=True)


def synchronise():
    if device == "cuda":
        torch.cuda.synchronize()


def step(tokens, cos, sin):
    with torch.autocast(device, torch.bfloat16):
        loss = model(tokens[:-1], tokens[1:], cos, sin)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


print(torch.__version__, flush=True)
for line in sys.stdin:
    N = int(line)
    tokens = torch.randint(V, (N + 1,), generator=torch.Generator().manual_seed(1))
    angles = torch.outer(torch.arange(N, dtype=torch.float64), sizes["theta"] ** -(torch.arange(0, D, 2, dtype=torch.float64) / D))
    # In bf16, as autocast leaves q and k: with f32 tables SDPA would get f32 and take twice as long.
    cos, sin = angles.cos().bfloat16().to(device), angles.sin().bfloat16().to(device)
    tokens = tokens.to(device)
    synchronise()
    begin, cpu = time.perf_counter(), time.process_time()
    step(tokens, cos, sin)
    synchronise()
    print(json.dumps({"seconds": time.perf_counter() - begin, "cpu": time.process_time() - cpu}), flush=True)
