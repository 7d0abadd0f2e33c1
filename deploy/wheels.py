"""Which torch for which AMD GPU: an index and a requirement. The sources of both lists are in docs/rocm.md.

Knows no machine. Nothing here was run on an AMD GPU: the device tests of the worker decide, not this table.
"""

from __future__ import annotations

from dataclasses import dataclass

PYTORCH_INDEX = "https://download.pytorch.org/whl/rocm7.2"
AMD_INDEX = "https://stable.repo.amd.com/rocm/whl-next/"

# The architectures in PyTorch's own ROCm wheels (PYTORCH_ROCM_ARCH of its release/2.13 branch).
IN_PYTORCHS_WHEEL = frozenset({
    "gfx900", "gfx906", "gfx908", "gfx90a", "gfx942", "gfx950", "gfx1030", "gfx1100", "gfx1101", "gfx1102", "gfx1103",
    "gfx1150", "gfx1151", "gfx1200", "gfx1201",
})  # fmt: skip
# Those that only AMD's index has native code for, as an extra: torch[device-gfx1010].
IN_AMDS_INDEX = frozenset({
    "gfx1010", "gfx1011", "gfx1012", "gfx1031", "gfx1032", "gfx1033", "gfx1034", "gfx1035", "gfx1036", "gfx1152",
    "gfx1153",
})  # fmt: skip


@dataclass(frozen=True)
class Wheel:
    index: str
    requirement: str


def wheel_for(gfx: str) -> Wheel | None:
    """None where no index is known to hold code for this GPU."""
    if gfx in IN_PYTORCHS_WHEEL:
        return Wheel(PYTORCH_INDEX, "torch==2.13.0")
    if gfx in IN_AMDS_INDEX:
        # A range: this index does not have every torch for every GPU.
        return Wheel(AMD_INDEX, f"torch[device-{gfx}]>=2.10,<2.14")
    return None
