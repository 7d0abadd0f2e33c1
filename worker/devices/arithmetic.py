"""Device tests of single operations in fp32 against float64 on the CPU."""

import torch
from torch import Tensor
from torch.nn import functional

from worker.devices.rig import Rig

FUNCTIONS = {
    "exp": torch.exp, "log": lambda x: torch.log(x.abs() + 1), "tanh": torch.tanh, "sigmoid": torch.sigmoid,
    "elu": functional.elu, "gelu": functional.gelu, "sin": torch.sin, "rsqrt": lambda x: torch.rsqrt(x.abs() + 1),
    "divide": lambda x: x / (x.abs() + 1), "square": lambda x: x * x,
}  # fmt: skip
REDUCTIONS = {
    "sum": lambda x: x.abs().sum(-1), "mean over channels": lambda x: x.abs().mean(1), "var": lambda x: x.var(-1),
    "max": lambda x: x.amax(-1), "norm": lambda x: x.norm(dim=-1), "softmax": lambda x: x.softmax(-1),
    "logsumexp": lambda x: x.logsumexp(-1), "cumsum": lambda x: x.abs().cumsum(-1),
    "whole sum": lambda x: x.abs().sum(),
}  # fmt: skip


def elementwise(rig: Rig) -> str:
    """Activations and arithmetic on a batch of windows."""
    return _worst(rig, FUNCTIONS)


def reductions(rig: Rig) -> str:
    """Sums, means, variances and maxima over every axis that a model reduces."""
    return _worst(rig, REDUCTIONS)


def _worst(rig: Rig, functions: dict) -> str:
    x = rig.normal(min(rig.batch, 16), rig.shapes.n_chans, rig.shapes.n_times)
    there, exact = rig.up(x), x.double()
    errors = {name: rig.close(name, function(there), function(exact)) for name, function in functions.items()}
    name = max(errors, key=lambda n: errors[n])
    return f"{len(errors)} functions, worst {errors[name]:.0e} ({name})"


def matmul(rig: Rig) -> str:
    """Square, and as a last layer and attention multiply."""
    pairs: dict[str, tuple[Tensor, Tensor]] = {
        "square": (rig.normal(512, 512), rig.normal(512, 512)),
        "linear": (rig.normal(rig.batch, 6_400), rig.normal(6_400, 64)),
        "batched": (rig.normal(8, rig.shapes.n_times, 64), rig.normal(8, 64, rig.shapes.n_times)),
    }
    errors = [rig.close(n, rig.up(a) @ rig.up(b), a.double() @ b.double()) for n, (a, b) in pairs.items()]
    return f"{len(errors)} shapes, worst {max(errors):.0e}"


def fft(rig: Rig) -> str:
    """The spectrum of a batch of windows, and back."""
    x = rig.normal(min(rig.batch, 16), rig.shapes.n_chans, rig.shapes.n_times)
    spectrum = torch.fft.rfft(rig.up(x))
    exact = torch.fft.rfft(x.double())
    error = rig.close("spectrum", torch.view_as_real(spectrum), torch.view_as_real(exact))
    rig.close("round trip", torch.fft.irfft(spectrum, n=rig.shapes.n_times), x)
    return f"error {error:.0e}"
