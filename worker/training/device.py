"""Device: where a trainer computes. `standin` is the CPU under a GPU's rules, for drills and tests without a GPU.

Knows how to name and wait for a device, not whether it is healthy (worker/devices does).
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Device:
    """`name` as the user sees it (cpu, cuda:0, mps, standin:0); `kind` tells cuda from rocm."""

    name: str
    kind: str
    torch: torch.device

    @property
    def is_accelerator(self) -> bool:
        """Whether a fault here may be healed on the CPU pool."""
        return self.kind != "cpu"

    def synchronize(self) -> None:
        if self.torch.type == "cuda":
            torch.cuda.synchronize(self.torch)
        elif self.torch.type == "mps":
            torch.mps.synchronize()

    def make_current(self) -> None:
        """A graph is captured on the current device's stream, whatever its tensors say."""
        if self.torch.type == "cuda":
            torch.cuda.set_device(self.torch)

    @property
    def description(self) -> str:
        if self.torch.type == "cuda":
            return torch.cuda.get_device_name(self.torch)
        return self.name


def device_of(name: str) -> Device:
    """Raises ValueError for a name that this build of torch cannot have."""
    if name.startswith("standin"):
        return Device(name if ":" in name else f"{name}:0", "standin", torch.device("cpu"))
    if name.startswith("cuda"):
        if not torch.cuda.is_available():
            raise ValueError(f"{name}: this torch {torch.__version__} sees no GPU")
        kind = "rocm" if torch.version.hip else "cuda"
        return Device(name if ":" in name else f"{name}:0", kind, torch.device(name if ":" in name else f"{name}:0"))
    if name == "mps":
        return Device("mps", "mps", torch.device("mps"))
    if name == "cpu":
        return Device("cpu", "cpu", torch.device("cpu"))
    raise ValueError(f"unknown device {name!r}: cpu, cuda:N, mps or standin")
