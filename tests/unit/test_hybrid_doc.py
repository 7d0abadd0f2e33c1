"""The table of docs/hybrid.md is jobs/failover.py and jobs/device.py, in words."""

import re
from pathlib import Path

import pytest

from jobs.device import DeviceHealth, Health, after_fault
from jobs.failover import Decision, Fail, HandOff, Requeue, decide
from jobs.fault import Fault, FaultKind, Scope
from jobs.job import Pool
from jobs.spec import Failover

PAGE = (Path(__file__).parents[2] / "docs/hybrid.md").read_text()
ROWS = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w ]+) \| ([\w ]+) \| ([\w -]+) \|$", PAGE, re.MULTILINE)
BLAMED = {Scope.BATCH, Scope.DEVICE}


def test_every_kind_of_fault_has_a_row() -> None:
    assert sorted(row[0] for row in ROWS) == sorted(FaultKind)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_row_says_what_the_code_does(row: tuple[str, ...]) -> None:
    kind, scope, on_gpu, on_cpu, device = row
    fault = Fault(FaultKind(kind), "made up")
    assert fault.scope == scope
    assert on_gpu == in_words(answer(fault, Pool.GPU), Pool.GPU)
    assert on_cpu == in_words(answer(fault, Pool.CPU), Pool.CPU)
    assert device == fate(fault)


def answer(fault: Fault, pool: Pool) -> Decision:
    return decide(fault, pool=pool, policy=Failover.BATCH_AND_JOB, batches_moved=0)


def in_words(decision: Decision, pool: Pool) -> str:
    match decision:
        case HandOff():
            return "the batch moves"
        case Requeue(to):
            return "same pool" if to is pool else "the job moves"
        case Fail():
            return "the job ends"


def fate(fault: Fault) -> str:
    if fault.scope not in BLAMED:
        return "not blamed" if fault.kind is FaultKind.HOST_MEMORY else "-"
    device = DeviceHealth("cuda:0")
    for times in ("", "", " at the third in a row"):
        device = after_fault(device, fault, now=0.0)
        if device.health is not Health.HEALTHY:
            return device.health + times
    return "not blamed"
