"""The part of submission.py that is the same in every submission; what is particular to a model is written below it.

This text travels in the zip, so it needs torch and the standard library only, and nothing that torch 2.2 lacks.
"""

import math  # noqa: F401 - for what is written below
import operator  # noqa: F401
from pathlib import Path

import torch
from torch import nn

aten = torch.ops.aten
FOLDERS = (Path(__file__).resolve().parent, "/app/input/res", "/app/input", "/app/output", ".")
SMALLEST_MICROVOLTS = 1e-2


class Network(nn.Module):
    """(B, 129, 200) float32 as the challenge gives it -> (B, 1). It always computes as in evaluation mode."""

    any_batch = True

    def __init__(self, tensors):
        super().__init__()
        self.net = nn.Module()
        for name, tensor in tensors.items():
            hold(self.net, name, tensor)

    def forward(self, x):
        w = dict(self.net.named_buffers())
        x = self.prepare(microvolts(x.float()))
        if self.any_batch:
            y = self.compute(x, w)
        else:
            y = torch.cat([self.compute(window, w).reshape(1, 1) for window in x.split(1)])
        return self.finish(y.reshape(len(x), 1))

    def prepare(self, x):
        return x

    def compute(self, x, w):
        raise NotImplementedError

    def finish(self, y):
        return y


class Constant(nn.Module):
    """The same number for every window."""

    value: torch.Tensor

    def __init__(self, tensors):
        super().__init__()
        self.register_buffer("value", tensors["value"])

    def forward(self, x):
        return self.value.expand(len(x), 1).clone()


def hold(module, name, tensor):
    """Keeps the tensor under its dotted name, so that state_dict() has the names of the trained model."""
    *path, leaf = name.split(".")
    for part in path:
        if part not in module._modules:
            module.add_module(part, nn.Module())
        module = module._modules[part]
    module.register_buffer(leaf, tensor)


def microvolts(x):
    """Volts or microvolts in, microvolts out. A window's mean |EEG| is some 10 microvolts, or 0.00001 volts."""
    in_volts = x.abs().mean(dim=(1, 2), keepdim=True) < SMALLEST_MICROVOLTS
    return torch.where(in_volts, x * 1e6, x)


def load(network, name, device):
    """The network with the weights of that file, on the device."""
    for folder in FOLDERS:
        path = Path(folder) / name
        if path.is_file():
            tensors = torch.load(path, map_location="cpu", weights_only=True)
            return network(tensors).to(device).eval()
    raise FileNotFoundError(f"{name} is in none of {', '.join(map(str, FOLDERS))}")
