"""Which accelerators this build of torch has heard of, whether or not they work. Knows no test."""

from typing import Any

import torch

from worker.devices.memory import describe
from worker.training.device import device_of


def accelerators() -> list[dict[str, Any]]:
    """[{"device", "kind": cuda | rocm | mps, "description"}], in the order they are tried."""
    names = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        names.append("mps")
    devices = [device_of(name) for name in names]
    return [{"device": d.name, "kind": d.kind, "description": describe(d)} for d in devices]


def why_none() -> str:
    """What this build of torch could have used."""
    built_for = f"ROCm {torch.version.hip}" if torch.version.hip else f"CUDA {torch.version.cuda}"
    if torch.version.hip or torch.version.cuda:
        return f"torch {torch.__version__} is built for {built_for} and sees no card"
    return f"torch {torch.__version__} is built for the CPU alone"
