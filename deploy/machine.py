"""Machine: the GPUs, group ids and cores of the box this runs on, read from sysfs, /dev and /etc/group.

Knows no wheel and no setting. Every path hangs below one root, so that a test can bring its own machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KFD_NODES = "sys/class/kfd/kfd/topology/nodes"


@dataclass(frozen=True)
class AmdGpu:
    """`index` is its place among the GPUs, as ROCR_VISIBLE_DEVICES counts; `simds` tells a card from the CPU's own."""

    index: int
    gfx: str
    simds: int


@dataclass(frozen=True)
class Machine:
    amd: tuple[AmdGpu, ...]
    nvidia: bool
    video_gid: int | None
    render_gid: int | None

    @property
    def strongest(self) -> AmdGpu | None:
        return max(self.amd, key=lambda gpu: gpu.simds, default=None)


def look(root: Path = Path("/")) -> Machine:
    """An AMD GPU counts where the driver gave it a node and /dev/kfd is there to reach it."""
    amd = tuple(amd_gpus(root)) if (root / "dev/kfd").exists() else ()
    groups = group_ids(root)
    return Machine(
        amd=amd,
        nvidia=(root / "dev/nvidiactl").exists() or (root / "proc/driver/nvidia/version").exists(),
        video_gid=owner_group(root, "dev/dri/card*", groups.get("video")),
        render_gid=owner_group(root, "dev/kfd", groups.get("render")),
    )


def amd_gpus(root: Path) -> Iterator[AmdGpu]:
    nodes = sorted((root / KFD_NODES).glob("*/properties"), key=lambda path: int(path.parent.name))
    found = [node for node in map(properties, nodes) if node.get("gfx_target_version", 0) > 0]
    for index, node in enumerate(found):
        yield AmdGpu(index, gfx_name(node["gfx_target_version"]), node.get("simd_count", 0))


def properties(path: Path) -> dict[str, int]:
    """The lines `name number` of a node; a node without GPU has gfx_target_version 0."""
    pairs = (line.split() for line in path.read_text().splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def gfx_name(target_version: int) -> str:
    """100100 is gfx1010, 90010 is gfx90a: decimal major, minor and stepping, the last two printed in hex."""
    major, rest = divmod(target_version, 10_000)
    minor, stepping = divmod(rest, 100)
    return f"gfx{major}{minor:x}{stepping:x}"


def owner_group(root: Path, pattern: str, named: int | None) -> int | None:
    """The group that owns the device node, for that is what the kernel checks; the group's name is the fallback.

    Root's own group opens nothing to others, so it does not count.
    """
    for node in sorted(root.glob(pattern)):
        if gid := os.stat(node).st_gid:
            return gid
    return named


def group_ids(root: Path) -> dict[str, int]:
    path = root / "etc/group"
    rows = (line.split(":") for line in path.read_text().splitlines()) if path.exists() else ()
    return {row[0]: int(row[2]) for row in rows if len(row) >= 3 and row[2].isdecimal()}
