"""Who is wrong, a device or the CPU, by how far each is from float64."""

import pytest

from jobs.audit import Finding, settle
from jobs.spec import Precision

INF = float("inf")


@pytest.mark.parametrize(
    ("device", "cpu", "precision", "finding"),
    [
        (5e-7, 5e-7, Precision.FP32, Finding.AGREES),
        (1e-2, 5e-7, Precision.FP32, Finding.DEVICE_WRONG),
        (float("nan"), 5e-7, Precision.FP32, Finding.DEVICE_WRONG),
        (INF, 5e-7, Precision.TF32, Finding.DEVICE_WRONG),
        (5e-7, 0.5, Precision.FP32, Finding.CPU_WRONG),
        (0.5, 0.5, Precision.FP32, Finding.UNSETTLED),
        (8e-4, 5e-7, Precision.TF32, Finding.AGREES),
        (6e-3, 5e-7, Precision.BF16, Finding.AGREES),
        (0.2, 5e-7, Precision.BF16, Finding.DEVICE_WRONG),
    ],
)
def test_who_disagrees_with_float64_is_wrong(device, cpu, precision, finding):
    assert settle(device, cpu, precision) is finding


def test_a_gradient_that_nearly_cancels_excuses_a_device_as_it_excuses_the_cpu():
    assert settle(4e-4, 5e-5, Precision.FP32) is Finding.AGREES
    assert settle(4e-4, 5e-7, Precision.FP32) is Finding.DEVICE_WRONG
