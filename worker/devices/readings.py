"""Memory, temperature, power and load of a GPU, from NVIDIA's library or tool, or amdgpu's files. Imports no torch.

Tolerant: what a machine does not tell is None, and a machine that tells nothing gives None.
"""

import os
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SYS = Path("/sys")
SMI_FIELDS = "memory.used,memory.total,temperature.gpu,power.draw,utilization.gpu,ecc.errors.uncorrected.volatile.total"
MIB = 1 << 20


@dataclass(frozen=True)
class Readings:
    """`utilization` is a share, 0 to 1; `ecc_errors` are uncorrected ones since the driver was loaded."""

    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    utilization: float | None = None
    ecc_errors: int | None = None

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


def read(device: str, sys_root: Path = SYS) -> Readings | None:
    """Of cuda:N, which is AMD's card N where there is a KFD; None for other devices and silent machines."""
    if not device.startswith("cuda"):
        return None
    index = int(device.partition(":")[2] or 0)
    cards = amd_cards(sys_root)
    if cards:
        visible = _visible(("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"), index)
        position = int(visible) if visible.isdigit() else index
        return _amd(cards[position]) if position < len(cards) else None
    which = _visible(("CUDA_VISIBLE_DEVICES",), index)
    return _nvml(which) or _smi(which)


def amd_cards(sys_root: Path = SYS) -> list[Path]:
    """The cards' device folders in the order of ROCm's nodes."""
    found = []
    nodes = (sys_root / "class/kfd/kfd/topology/nodes").glob("*/properties")
    for path in sorted(nodes, key=lambda p: int(p.parent.name)):
        properties = _properties(path)
        if properties.get("simd_count", 0) > 0:
            card = sys_root / f"class/drm/renderD{properties.get('drm_render_minor', 0)}/device"
            if card.exists():
                found.append(card)
    return found


def gfx_names(sys_root: Path = SYS) -> list[str]:
    """gfx1010 and the like, one a card, from ROCm's nodes: no runtime is asked."""
    nodes = sorted((sys_root / "class/kfd/kfd/topology/nodes").glob("*/properties"), key=lambda p: int(p.parent.name))
    versions = [_properties(path).get("gfx_target_version", 0) for path in nodes]
    return [f"gfx{v // 10000}{v // 100 % 100:x}{v % 100:x}" for v in versions if v]


def _properties(path: Path) -> dict[str, int]:
    try:
        pairs = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _visible(variables: tuple[str, ...], index: int) -> str:
    """The card behind the process's number: an index or a UUID."""
    for variable in variables:
        if names := [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]:
            return names[index] if index < len(names) else str(index)
    return str(index)


def _amd(card: Path) -> Readings:
    sensors = next(iter(sorted((card / "hwmon").glob("hwmon*"))), card)
    power = _number(sensors / "power1_average") or _number(sensors / "power1_input")
    temperature, busy = _number(sensors / "temp1_input"), _number(card / "gpu_busy_percent")
    return Readings(
        _number(card / "mem_info_vram_used"),
        _number(card / "mem_info_vram_total"),
        temperature / 1000 if temperature is not None else None,  # millidegrees
        power / 1e6 if power is not None else None,  # microwatts
        busy / 100 if busy is not None else None,
    )


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _nvml(which: str) -> Readings | None:
    try:
        import pynvml as nvml
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
        handle = (
            nvml.nvmlDeviceGetHandleByIndex(int(which)) if which.isdigit() else nvml.nvmlDeviceGetHandleByUUID(which)
        )
    except nvml.NVMLError:
        return None

    def ask(question: Any, *arguments: Any) -> Any:
        try:
            return question(handle, *arguments)
        except nvml.NVMLError:
            return None

    memory, power = ask(nvml.nvmlDeviceGetMemoryInfo), ask(nvml.nvmlDeviceGetPowerUsage)
    load = ask(nvml.nvmlDeviceGetUtilizationRates)
    return Readings(
        memory.used if memory else None,
        memory.total if memory else None,
        ask(nvml.nvmlDeviceGetTemperature, nvml.NVML_TEMPERATURE_GPU),
        power / 1000 if power is not None else None,  # milliwatts
        load.gpu / 100 if load else None,
        ask(nvml.nvmlDeviceGetTotalEccErrors, nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC),
    )


def _smi(which: str) -> Readings | None:
    command = ["nvidia-smi", f"--id={which}", f"--query-gpu={SMI_FIELDS}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return of_smi(done.stdout) if done.returncode == 0 else None


def of_smi(line: str) -> Readings | None:
    """From nvidia-smi's answer to SMI_FIELDS; what it does not know it calls [N/A]."""
    values = [_float(part) for part in line.strip().split(",")]
    if len(values) != 6:
        return None
    used, total, temperature, power, load, ecc = values
    return Readings(
        int(used * MIB) if used is not None else None,
        int(total * MIB) if total is not None else None,
        temperature,
        power,
        load / 100 if load is not None else None,
        int(ecc) if ecc is not None else None,
    )


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
