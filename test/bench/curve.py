"""Loss curves of PyTorch: python curve.py FOLDER DTYPE, DTYPE one of fp64, fp32, bf16 (float32 weights under bfloat16 autocast).

Reads FOLDER/curve.json, {model, weights: [{name, shape}], sequence, rates, betas, eps, decay, maxNorm}, the weights one after another
from FOLDER/weights (float32) and from FOLDER/tokens (int32) the tokens of each step. Prints the loss of each step, one a line.
"""

import contextlib
import json
import pathlib
import sys

import numpy
import torch

sys.path.append(str(pathlib.Path(__file__).parent.parent / "step" / "pytorch"))
from transformer import loss_of  # noqa: E402

folder, precision = pathlib.Path(sys.argv[1]), sys.argv[2]
spec = json.loads((folder / "curve.json").read_text())
torch.set_num_threads(1)  # matrices this small lose by sharing
dtype = torch.float64 if precision == "fp64" else torch.float32

flat, weights, at = torch.from_numpy(numpy.fromfile(folder / "weights", numpy.float32)), {}, 0
for entry in spec["weights"]:
    size = numpy.prod(entry["shape"], dtype=int)
    weights[entry["name"]] = flat[at : at + size].view(entry["shape"]).to(dtype, copy=True).requires_grad_()
    at += size
matrices, vectors = ([value for value in weights.values() if (value.dim() > 1) == matrix] for matrix in (True, False))
groups = [{"params": matrices, "weight_decay": spec["decay"]}, {"params": vectors, "weight_decay": 0}]
optimizer = torch.optim.AdamW(groups, betas=spec["betas"], eps=spec["eps"])

steps = numpy.fromfile(folder / "tokens", numpy.int32).reshape(len(spec["rates"]), spec["sequence"]).tolist()
for tokens, rate in zip(steps, spec["rates"]):
    with torch.autocast("cpu", torch.bfloat16) if precision == "bf16" else contextlib.nullcontext():
        loss = loss_of(spec["model"], weights, [{"tokens": tokens, "labels": tokens[1:] + [-1], "starts": [0] * len(tokens)}])
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights.values(), spec["maxNorm"])
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    print(loss.item(), flush=True)
