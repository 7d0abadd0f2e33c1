"""Fit: how much memory a batch needs of its device, and which batch would do. Knows no fault and no step."""

import re
from dataclasses import dataclass

import torch

UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
TRIED = re.compile(r"[Tt]ried to allocate ([\d.]+) ([KMG]iB)")
MARGIN = 0.9  # what failed is the first allocation too many, perhaps not the last
GB = 1e9


@dataclass(frozen=True)
class Memory:
    """Bytes: `at_rest` is held between steps, `peak` was held when an allocation failed, `has` is all one may use."""

    at_rest: int
    peak: int
    has: int


def memory_of(device: torch.device) -> Memory | None:
    """After the failed step was undone. None for a device that does not say."""
    if device.type != "cuda":
        return None
    free = torch.cuda.mem_get_info(device)[0]
    held = torch.cuda.memory_reserved(device)
    return Memory(torch.cuda.memory_allocated(device), torch.cuda.max_memory_allocated(device), free + held)


def advice(message: str, batch: int, memory: Memory | None) -> str:
    """What to do about a batch of `batch` windows that never fits. `message` is the allocator's."""
    tried = tried_bytes(message)
    if memory is None:
        return f"a batch of {batch} needs {tried / GB:.1f} GB more than there is: try a smaller training.batch_size"
    needs = memory.peak + tried
    share = (memory.has - memory.at_rest) / max(1, needs - memory.at_rest)
    smaller = max(2, int(batch * min(1.0, share) * MARGIN) // 8 * 8)
    needed = f"a batch of {batch} needs {needs / GB:.1f} GB, {memory.has / GB:.1f} GB can be had"
    return f"{needed}: try training.batch_size {smaller}"


def tried_bytes(message: str) -> int:
    """0 where the message does not say."""
    found = TRIED.search(message)
    return int(float(found[1]) * UNITS[found[2]]) if found else 0
