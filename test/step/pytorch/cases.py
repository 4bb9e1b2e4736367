"""Runs cases through PyTorch: python cases.py FOLDER.

Reads FOLDER/cases.json, a list of {model, weights: [{name, shape}], run, steps: [sequences of a step], optimizer, rates}, and the
weights of case i from FOLDER/i.weights (float32, one after another). Writes FOLDER/results.json, a list of {losses, norms}, and
FOLDER/i.result (float64): the gradient of the only step or, with an optimizer, the parameters after the last.
run: 'fp64'; 'fp32'; 'autocast' for float32 weights under bfloat16 autocast; 'bf16' for weights, hidden state and all else in bfloat16.
"""

import contextlib
import json
import pathlib
import sys

import numpy
import torch

from transformer import loss_of

folder = pathlib.Path(sys.argv[1])
torch.set_num_threads(1)  # matrices this small lose by sharing


def read_weights(path, names, dtype):
    """The product's tensors as leaves."""
    flat, weights, at = torch.from_numpy(numpy.fromfile(path, numpy.float32)), {}, 0
    for entry in names:
        size = numpy.prod(entry["shape"], dtype=int)
        weights[entry["name"]] = flat[at : at + size].view(entry["shape"]).to(dtype, copy=True).requires_grad_()
        at += size
    return weights


def run(case, path):
    dtype = {"fp64": torch.float64, "fp32": torch.float32, "autocast": torch.float32, "bf16": torch.bfloat16}[case["run"]]
    weights = read_weights(path.with_suffix(".weights"), case["weights"], dtype)
    precision = torch.autocast("cpu", torch.bfloat16) if case["run"] == "autocast" else contextlib.nullcontext()
    options = case.get("optimizer")
    if options:
        matrices, vectors = ([value for value in weights.values() if (value.dim() > 1) == matrix] for matrix in (True, False))
        groups = [{"params": matrices, "weight_decay": options["decay"]}, {"params": vectors, "weight_decay": 0}]
        optimizer = torch.optim.AdamW(groups, betas=(options["beta1"], options["beta2"]), eps=options["eps"])
    losses, norms = [], []
    for step, sequences in enumerate(case["steps"]):
        for value in weights.values():
            value.grad = None
        with precision:
            loss = loss_of(case["model"], weights, sequences)
        loss.backward()
        losses.append(loss.item())
        if options:
            norms.append(torch.nn.utils.clip_grad_norm_(weights.values(), options["maxNorm"]).item())
            for group in optimizer.param_groups:
                group["lr"] = case["rates"][step]
            optimizer.step()
    result = [value.detach() if options else value.grad for value in weights.values()]
    torch.cat([value.flatten() for value in result]).double().numpy().tofile(path.with_suffix(".result"))
    return {"losses": losses, "norms": norms}


cases = json.loads((folder / "cases.json").read_text())
results = [run(case, folder / f"{i}.x") for i, case in enumerate(cases)]
(folder / "results.json").write_text(json.dumps(results))
