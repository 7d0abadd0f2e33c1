"""`eegq demo` as a person sees it, with everything real but the GPU; and Ctrl-C in the middle of it."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.processes import alive, descendants

pytestmark = pytest.mark.timeout(600)


class Demo:
    """A demo in a folder of its own; `said` grows, and `family` is every process that was ever seen below it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said, self.family = folder, "", set[int]()
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "eegq", "demo"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, env={**os.environ, "COLUMNS": "160"}, start_new_session=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def saw(self, text: str) -> bool:
        self.family |= descendants(self.process.pid)
        return text in self.said or self.process.poll() is not None

    def wait_for(self, text: str, timeout_s: float = 300) -> None:
        wait_until(lambda: self.saw(text), timeout_s, what=text)
        assert text in self.said, self.said

    def end(self) -> int:
        status = self.process.wait(60)
        self._reader.join(10)
        return status

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path)
    yield demo
    demo.process.kill()
    demo.process.wait()


def test_the_demo_trains_a_job_and_saves_another_whose_gpu_trainer_is_killed(demo: Demo) -> None:
    demo.wait_for("everything is stopped", timeout_s=500)
    assert demo.end() == 0
    said = demo.said
    model = float(re.search(r"SCCNet, epoch \d+ +([\d.]+)", said)[1])  # type: ignore[index]
    mean = float(re.search(r"training mean +([\d.]+)", said)[1])  # type: ignore[index]
    assert model < mean
    assert "weights.pt" in said
    assert re.search(r"1 +gpu +standin:0 +\d+ +requeued +the trainer died \(SIGKILL\)", said), said
    assert re.search(r"2 +cpu +cpu +\d+ +✔ succeeded", said), said
    assert re.search(r"curl -s -H .* --json '\{\"task\": \"challenge1\", \"dataset\": \"demo\"\}'", said)
    assert [pid for pid in demo.family if alive(pid)] == []


def test_ctrl_c_while_a_job_trains_leaves_no_process(demo: Demo) -> None:
    demo.wait_for("epoch 1:")
    demo.process.send_signal(signal.SIGINT)
    assert demo.end() == 130
    assert len(demo.family) >= 8
    wait_until(lambda: not any(map(alive, demo.family)), 5, what="no process is left")
