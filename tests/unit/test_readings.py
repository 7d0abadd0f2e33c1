"""Readings from amdgpu's files and nvidia-smi's line, and the kernel's log, as they look on real machines."""

from pathlib import Path

import pytest

from worker.devices import kernel_log, readings
from worker.devices.kernel_log import judge

NODE_CPU = "cpu_cores_count 12\nsimd_count 0\ngfx_target_version 0\ndrm_render_minor 0\n"
NODE_NAVI10 = "cpu_cores_count 0\nsimd_count 72\ngfx_target_version 100100\ndrm_render_minor 128\nunique_id 0\n"
NODE_VEGA = "simd_count 14\ngfx_target_version 90012\ndrm_render_minor 129\n"


@pytest.fixture
def amd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """/sys of a box with an RX 5600 XT and a processor with graphics of its own."""
    for variable in ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(variable, raising=False)
    for number, text in enumerate((NODE_CPU, NODE_NAVI10, NODE_VEGA)):
        write(tmp_path / f"class/kfd/kfd/topology/nodes/{number}/properties", text)
    card = tmp_path / "class/drm/renderD128/device"
    write(card / "mem_info_vram_used", "1073741824\n")
    write(card / "mem_info_vram_total", "6425673728\n")
    write(card / "gpu_busy_percent", "87\n")
    write(card / "hwmon/hwmon3/temp1_input", "64000\n")
    write(card / "hwmon/hwmon3/power1_average", "121000000\n")
    write(tmp_path / "class/drm/renderD129/device/mem_info_vram_used", "5\n")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_an_amd_card_is_read_from_sysfs(amd):
    found = readings.read("cuda:0", amd)
    assert found is not None
    assert found.to_dict() == {
        "memory_used_bytes": 1073741824, "memory_total_bytes": 6425673728, "temperature_c": 64.0, "power_w": 121.0,
        "utilization": 0.87,
    }  # fmt: skip


def test_what_a_card_does_not_tell_is_left_out(amd):
    found = readings.read("cuda:1", amd)
    assert found is not None
    assert found.to_dict() == {"memory_used_bytes": 5}


def test_a_card_that_is_not_there_has_no_readings(amd):
    assert readings.read("cuda:7", amd) is None
    assert readings.read("cpu", amd) is None
    assert readings.read("standin:0", amd) is None


def test_hidden_cards_shift_the_numbers(amd, monkeypatch):
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1")
    found = readings.read("cuda:0", amd)
    assert found is not None
    assert found.memory_used_bytes == 5


def test_the_names_of_the_cards_are_those_of_their_instruction_sets(amd):
    assert readings.gfx_names(amd) == ["gfx1010", "gfx90c"]


def test_a_machine_without_any_gpu_gives_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(readings, "_nvml", lambda which: None)
    assert readings.read("cuda:0", tmp_path) is None
    assert readings.gfx_names(tmp_path) == []


def test_nvidias_tool_is_read():
    found = readings.of_smi("1024, 143771, 41, 76.43, 3, 0\n")
    assert found is not None
    assert (found.memory_used_bytes, found.temperature_c, found.utilization) == (1 << 30, 41.0, 0.03)
    partial = readings.of_smi("1024, 4096, 41, [N/A], [Not Supported], [N/A]")
    assert partial is not None
    assert partial.to_dict() == {
        "memory_used_bytes": 1 << 30, "memory_total_bytes": 4 << 30, "temperature_c": 41.0
    }  # fmt: skip


def test_nvidias_tool_is_asked_where_its_library_is_missing(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\ncase "$1" in --id=2) echo "1, 2, 3, 4, 5, 6";; *) exit 6;; esac\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,2")
    monkeypatch.setattr(readings, "_nvml", lambda which: None)
    found = readings.read("cuda:1", tmp_path / "nothing")
    assert found is not None
    assert found.ecc_errors == 6


BROKEN = [
    "NVRM: Xid (PCI:0000:2b:00): 79, GPU has fallen off the bus.",
    "NVRM: Xid (PCI:0000:9b:00): 94, pid=1234, name=python3, Contained ECC error",
    "NVRM: Xid (PCI:0000:07:00): 119, pid=5432, name=python, Timeout waiting for RPC response from GPU0 GSP!",
    "amdgpu 0000:28:00.0: amdgpu: 1 uncorrectable hardware errors detected in umc block",
]
CRASHED = [
    "NVRM: Xid (PCI:0000:cb:00): 31, pid=99, name=python, Ch 00000008, intr 00000000. MMU Fault",
    "[drm:amdgpu_job_timedout [amdgpu]] *ERROR* ring gfx_0.0.0 timeout, signaled seq=502589, emitted seq=502591",
    "amdgpu 0000:0a:00.0: amdgpu: GPU reset begin!",
    "amdgpu 0000:03:00.0: amdgpu: [gfxhub] page fault (src_id:0 ring:169 vmid:0 pasid:0)",
    "NVRM: Xid (PCI:0000:00:06): 43, pid=2710, name=python3, channel 0x0000000a",
]
MEANINGLESS = [
    "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.159.04",
    "[drm] PCIE GART of 512M enabled.",
    "amdgpu 0000:28:00.0: amdgpu: ring gfx uses VM inv eng 0 on hub 0",
    "amdgpu 0000:28:00.0: Ring gfx_0.0.0 reset failed",
    "sched: RT throttling activated",
]


@pytest.mark.parametrize("line", BROKEN)
def test_a_line_that_means_broken_hardware(line):
    assert [hint.broken for hint in judge([line])] == [True]


@pytest.mark.parametrize("line", CRASHED)
def test_a_line_that_means_a_crash(line):
    assert [hint.broken for hint in judge([line])] == [False]


def test_lines_that_mean_nothing_are_left_out():
    assert judge(MEANINGLESS) == []


def test_the_worst_line_comes_first():
    hints = judge([*CRASHED, *BROKEN])
    assert hints[0].xid == 79
    assert "fallen off the bus" in str(hints[0])


def test_the_kernels_ring_is_read_from_its_own_file(tmp_path, monkeypatch):
    ring = tmp_path / "kmsg"
    ring.write_text("")
    now_us = kernel_log.time.clock_gettime(kernel_log.time.CLOCK_BOOTTIME) * 1e6
    records = [
        f"4,1,{now_us - 9e6:.0f},-;NVRM: Xid (PCI:0000:2b:00): 31, too old",
        f"4,2,{now_us:.0f},-;NVRM: Xid (PCI:0000:2b:00): 79, GPU has fallen off the bus.\n SUBSYSTEM=pci",
        f"6,3,{now_us:.0f},-;usb 1-1: new device",
    ]
    monkeypatch.setattr(kernel_log, "_next", lambda fd, left=iter(records): next(left, None))
    found = kernel_log._kmsg(kernel_log.time.time() - 5, ring)
    assert found is not None
    assert [line for line in found if kernel_log.ABOUT_GPUS.search(line)] == [
        "NVRM: Xid (PCI:0000:2b:00): 79, GPU has fallen off the bus."
    ]


def test_a_log_that_may_not_be_read_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(kernel_log, "KMSG", tmp_path / "missing")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert kernel_log._kmsg(0.0, tmp_path / "missing") is None
    assert kernel_log._journal(0.0) is None
