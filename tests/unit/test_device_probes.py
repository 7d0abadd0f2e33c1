"""Small probes at the edges: is the context dead, did the kernel kill for memory, what does NVIDIA's library say."""

import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from jobs.fault import FaultKind
from worker.devices import readings, sticky
from worker.trainer import oom_kills
from worker.training.device import device_of
from worker.training.errors import JobFault
from worker.training.recovery import Recovery


def device(does: Any) -> Any:
    """The CPU, whose `synchronize` does what a test says."""
    return SimpleNamespace(synchronize=does, torch=torch.device("cpu"))


def raises(error: Exception) -> Any:
    def does() -> None:
        raise error

    return does


@pytest.mark.parametrize(
    ("does", "dead"),
    [
        (lambda: None, False),
        (raises(RuntimeError("CUDA error: an illegal memory access was encountered")), True),
        (raises(torch.OutOfMemoryError("CUDA out of memory.")), False),
        (lambda: time.sleep(30), True),
    ],
    ids=["works", "raises", "is full", "hangs"],
)
def test_a_context_is_dead_if_it_fails_or_hangs_but_not_if_it_is_full(monkeypatch, does, dead):
    monkeypatch.setattr(sticky, "PROBE_S", 0.3)
    assert sticky.is_sticky(device(does)) is dead


def test_a_full_host_fails_the_step_on_the_cpu_as_the_hosts_fault(tmp_path):
    recovery = Recovery(SimpleNamespace(device=device_of("cpu")), tmp_path, None)  # type: ignore[arg-type]
    text = "[enforce fail at alloc_cpu.cpp:75] err == 0. DefaultCPUAllocator: can't allocate memory"
    with pytest.raises(JobFault) as caught:
        recovery.fault_of(RuntimeError(text), 3)
    assert caught.value.fault.kind is FaultKind.HOST_MEMORY


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_kills_for_memory_are_counted_in_the_own_group(tmp_path):
    write(tmp_path / "proc/self/cgroup", "0::/system.slice/eegq.service\n")
    write(
        tmp_path / "sys/fs/cgroup/system.slice/eegq.service/memory.events",
        "low 0\noom 3\noom_kill 2\noom_group_kill 0\n",
    )
    write(tmp_path / "sys/fs/cgroup/memory.events", "oom_kill 9\n")
    assert oom_kills(tmp_path) == 2


def test_in_a_container_the_mounted_group_is_the_own(tmp_path):
    write(tmp_path / "proc/self/cgroup", "0::/\n")
    write(tmp_path / "sys/fs/cgroup/memory.events", "oom_kill 9\n")
    assert oom_kills(tmp_path) == 9


def test_outside_of_groups_the_machine_counts(tmp_path):
    write(tmp_path / "proc/self/cgroup", "0::/\n")
    write(tmp_path / "proc/vmstat", "nr_free_pages 7\noom_kill 4\n")
    assert oom_kills(tmp_path) == 4
    assert oom_kills(tmp_path / "nothing") == 0


def test_nvidias_library_is_read_as_far_as_it_answers(tmp_path, monkeypatch):
    class NVMLError(Exception):
        pass

    def missing(*_: Any) -> None:
        raise NVMLError("not supported")

    library = SimpleNamespace(
        NVMLError=NVMLError, NVML_TEMPERATURE_GPU=0, NVML_MEMORY_ERROR_TYPE_UNCORRECTED=1, NVML_VOLATILE_ECC=0,
        nvmlInit=lambda: None, nvmlDeviceGetHandleByIndex=lambda i: i, nvmlDeviceGetHandleByUUID=lambda u: u,
        nvmlDeviceGetMemoryInfo=lambda h: SimpleNamespace(used=10, total=40),
        nvmlDeviceGetPowerUsage=lambda h: 76_430, nvmlDeviceGetTemperature=lambda h, which: 41,
        nvmlDeviceGetUtilizationRates=missing, nvmlDeviceGetTotalEccErrors=missing,
    )  # fmt: skip
    monkeypatch.setitem(sys.modules, "pynvml", library)  # type: ignore[arg-type]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = readings.read("cuda:0", tmp_path)
    assert found is not None
    assert found.to_dict() == {
        "memory_used_bytes": 10, "memory_total_bytes": 40, "temperature_c": 41, "power_w": 76.43,
    }  # fmt: skip
