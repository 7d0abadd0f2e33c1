"""What an exception outside the steps means, while loading, scoring or saving."""

import pytest

from jobs.fault import FaultKind
from worker.training.__main__ import fault_of
from worker.training.errors import SpecCannotRun


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered"), FaultKind.CONTEXT_LOST),
        (RuntimeError("HIP error: unspecified launch failure"), FaultKind.CONTEXT_LOST),
        (RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"), FaultKind.OUT_OF_MEMORY),
        (RuntimeError("the size of tensor a must match"), FaultKind.INTERNAL),
        (SpecCannotRun("CUDA error: is only quoted here"), FaultKind.SPEC),
    ],
)
def test_a_device_that_fails_between_the_steps_is_told_from_a_bug(error, kind):
    assert fault_of(error, "cuda:0").kind is kind


def test_on_the_cpu_nothing_is_a_devices_fault():
    assert fault_of(RuntimeError("CUDA error: an illegal memory access"), "cpu").kind is FaultKind.INTERNAL
