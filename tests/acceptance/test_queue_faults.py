"""Jobs that crash or hang: found in time, ended where they must be, and nobody else suffers."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.fault import FaultKind
from jobs.job import JobState
from tests.stack import Stack, tiny
from worker.training.reports import COMPUTE_S

MODELS = '''
import ctypes, os
from torch import nn

class Bad(nn.Module):
    """Trains for some steps and then does what it is asked to."""

    def __init__(self, n_chans, n_outputs, n_times, sfreq, how, after=20):
        super().__init__()
        self.layer, self.how, self.after, self.calls = nn.Linear(n_chans, n_outputs), how, after, 0

    def forward(self, x):
        self.calls += self.training
        if self.calls > self.after:
            if self.how == "abort":
                os.abort()
            if self.how == "gil":
                ctypes.PyDLL(None).pause()  # native code that never gives the interpreter back
        return self.layer(x.mean(-1))
'''


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, tiny_data: Path) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("faults")
    (folder / "code").mkdir()
    (folder / "code" / "my_models.py").write_text(MODELS)
    stack = Stack(folder, tiny_data, settings={"EEGQ_USER_CODE": str(folder / "code")})
    for name in ("reaper-1", "cpu-1", "cpu-2"):
        stack.start(name)
    yield stack
    stack.close()


def bad(how: str, **fields: object) -> dict:
    return {"model": {"name": "my_models:Bad", "params": {"how": how, **fields}}}


def test_a_poison_job_ends_after_three_crashes_and_says_so(stack: Stack) -> None:
    good, poison = stack.submit(tiny(5)), stack.submit(tiny(5, **bad("abort", after=0)))
    job = stack.wait(poison, 90)
    assert (job.state, job.error.kind, len(job.attempts)) == (JobState.FAILED, FaultKind.POISON, 3)
    assert job.error.exit_status == -signal.SIGABRT
    assert stack.wait(good).state is JobState.SUCCEEDED


def test_hangs_are_found_within_the_promise_and_ten_seconds(stack: Stack) -> None:
    """Native code that holds the interpreter's lock, and a stopped process, side by side."""
    stuck, stopped = stack.submit(tiny(200, **bad("gil", after=100))), stack.submit(tiny(2000))
    stack.wait_training(stopped)
    os.kill(stack.trainer(stopped), signal.SIGSTOP)
    since = time.monotonic()
    for job_id in (stuck, stopped):
        job = stack.until(job_id, lambda job: len(job.attempts) > 1 or job.state.final, 90)
        assert job.attempts[0].fault.kind is FaultKind.HANG, job.attempts[0]
        found_s = job.attempts[0].ended_at - stack.store.events(job_id)[-1]["at"]
        assert found_s < COMPUTE_S + 10
        stack.store.cancel(job_id)
    assert time.monotonic() - since < COMPUTE_S + 10 + 10 + 10, "found, then TERM, ten seconds, KILL"
    assert "File" in (stack.runs / stuck / "log.txt").read_text(), "the stacks are in the log"
