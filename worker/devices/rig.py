"""A device under test, with data and a measure of error. Data is drawn on the CPU, so every device sees the same.

The reference is float64 on the CPU: another code path than the one under test, also when that is the CPU's own.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from worker.devices.errors import WrongNumbers
from worker.devices.shapes import Shapes
from worker.training.device import Device

CPU_BATCH = 4  # a CPU needs seconds for what a GPU does in milliseconds
FP32 = 1e-5  # relative L2 error allowed of one operation in fp32


@dataclass(frozen=True)
class Rig:
    """`shapes` are the job's; `batch` is what this device is tested with."""

    device: Device
    shapes: Shapes

    @property
    def batch(self) -> int:
        on_cpu = self.device.torch.type == "cpu"
        return min(self.shapes.batch, CPU_BATCH) if on_cpu else self.shapes.batch

    @property
    def on_cuda(self) -> bool:
        """NVIDIA's and AMD's alike: torch calls both cuda."""
        return self.device.torch.type == "cuda"

    @cached_property
    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(20240229)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal float32 on the CPU."""
        return torch.randn(shape, generator=self._generator)

    def integers(self, high: int, *shape: int) -> Tensor:
        """int64 in 0..high-1 on the CPU."""
        return torch.randint(0, high, shape, generator=self._generator)

    def up(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device.torch)

    def leaf(self, tensor: Tensor) -> Tensor:
        """A copy on the device that gathers a gradient."""
        return tensor.to(self.device.torch, copy=True).requires_grad_()

    def close(self, what: str, got: Tensor, want: Tensor, limit: float = FP32) -> float:
        """The relative L2 error of `got` (any device) against `want` (CPU). Raises WrongNumbers above the limit."""
        return judge(what, relative_error(got, want), limit)

    def equal(self, what: str, got: Tensor, want: Tensor) -> None:
        """Raises WrongNumbers unless equal bit for bit."""
        there = got.cpu()
        if not torch.equal(there, want.cpu()):
            raise WrongNumbers(f"{what}: {int((there != want.cpu()).sum())} of {want.numel()} values differ")


def relative_error(got: Tensor, want: Tensor) -> float:
    """||got - want|| / ||want|| in float64 on the CPU."""
    want = want.detach().double().cpu()
    difference = got.detach().cpu().double() - want
    return float(difference.norm() / want.norm().clamp_min(1e-30))


def judge(what: str, error: float, limit: float) -> float:
    """Raises WrongNumbers where the error is above the limit or not a number."""
    if not error <= limit:
        raise WrongNumbers(f"{what}: relative error {error:.1e}, allowed {limit:.0e}")
    return error
