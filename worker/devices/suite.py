"""The device tests in order, quick and full. Says each test's name before it starts, so that a death names its test.

Must run in a process of its own: a broken device takes the process with it. Knows no store and no breaker.
"""

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from jobs.fault import FaultKind
from worker.devices import arithmetic, memory, network
from worker.devices.capabilities import CAPABILITIES, ON_A_CPU
from worker.devices.classify import classify, first_line
from worker.devices.errors import DeviceTestError
from worker.devices.rig import Rig
from worker.devices.shapes import Shapes
from worker.training.device import Device, device_of

Test = Callable[[Rig], str]
Say = Callable[[dict[str, Any]], None]

QUICK: dict[str, Test] = {
    "enumerate": memory.enumerate_device,
    "memory": memory.allocate,
    "copies": memory.copies,
    "elementwise": arithmetic.elementwise,
    "reductions": arithmetic.reductions,
    "matmul": arithmetic.matmul,
    "gather": memory.gather,
    "counter_masks": memory.counter_masks,
    "batch_norm": network.batch_norm,
    "convolution": network.convolution,
}
FULL: dict[str, Test] = {
    **QUICK,
    "fft": arithmetic.fft,
    "streams": memory.streams,
    "repeats": network.repeats,
    "training": network.training,
    "much_memory": memory.allocate_much,
    "out_of_memory": memory.out_of_memory,
    "soak": network.soak,
}
TESTS = {"quick": QUICK, "full": FULL}


def run(name: str, level: str, shapes: Shapes, say: Say) -> bool:
    """Whether every test passed; one row a test. Stops at the first that failed by more than its numbers."""
    device = device_of(name)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it deterministic products are refused
    torch.set_num_threads(1)  # the references need no more, and the other cores belong to jobs
    plain_fp32()
    rig = Rig(device, shapes)
    with _chosen(device):
        passed = True
        for test, function in TESTS[level].items():
            row = _run_one("test", test, function, rig, say)
            passed = passed and row["ok"]
            if "fault" in row:
                return False
        if passed and level == "full":
            _try_more(rig, say)
    return passed


def _try_more(rig: Rig, say: Say) -> None:
    """What a device lacks is said and not held against it. Last, because it may end the process."""
    if rig.device.torch.type == "cpu":
        capabilities = ON_A_CPU
    else:
        say({"measure": "convolution_ms", "value": round(network.step_ms(rig), 3)})
        capabilities = CAPABILITIES
    for name, function in capabilities.items():
        _run_one("capability", name, function, rig, say)


def _run_one(key: str, name: str, function: Test, rig: Rig, say: Say) -> dict[str, Any]:
    say({key: name})
    started = time.monotonic()
    try:
        row: dict[str, Any] = {"ok": True, "detail": function(rig)}
        rig.device.synchronize()  # a kernel's failure surfaces here at the latest, under its own test's name
    except DeviceTestError as error:
        row = {"ok": False, "detail": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever a device raises is this test's result
        row = {"ok": False, "detail": f"{type(error).__name__}: {first_line(str(error))}", **_fault(error)}
    row = {key: name, **row, "seconds": round(time.monotonic() - started, 3)}
    say(row)
    return row


def _fault(error: Exception) -> dict[str, str]:
    fault = classify(type(error).__name__, str(error), code=getattr(error, "error_code", None))
    return {"fault": fault.kind.value if fault else FaultKind.KERNEL_FAILED.value}


def plain_fp32() -> None:
    """As the tests' limits suppose: no TF32, no search for faster algorithms."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False


def _chosen(device: Device) -> AbstractContextManager:
    return torch.cuda.device(device.torch) if device.torch.type == "cuda" else nullcontext()
