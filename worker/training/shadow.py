"""Copies of what may be spoilt, kept before and put back after. Knows no step.

Shadow is for every step: on a GPU a launch costs more than the bytes, so the tensors of one kind are laid out in one
block, a copy and a choice a step, however many they are. They stay the tensors they were; only their memory moves.
Snapshot is for now and then, and leaves them where they are.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

ALIGNED_BYTES = 64


class Shadow:
    @torch.no_grad()
    def __init__(self, tensors: Iterable[Tensor]) -> None:
        self._live = _blocks([t for t in tensors if t.numel()])
        self._before = [block.clone() for block in self._live]

    def keep(self) -> None:
        for live, before in zip(self._live, self._before, strict=True):
            before.copy_(live)

    def put_back(self) -> None:
        for live, before in zip(self._live, self._before, strict=True):
            live.copy_(before)

    def put_back_unless(self, go: Tensor) -> None:
        """The same where `go` () is false, decided on the device."""
        for live, before in zip(self._live, self._before, strict=True):
            torch.where(go.to(live.device), live, before, out=live)


class Snapshot:
    @torch.no_grad()
    def __init__(self, tensors: Iterable[Tensor]) -> None:
        kinds: dict[torch.dtype, list[Tensor]] = {}
        for t in tensors:
            kinds.setdefault(t.dtype, []).append(t.detach())
        self._live = list(kinds.values())
        self._before = [[t.clone() for t in alike] for alike in self._live]

    def keep(self) -> None:
        for live, before in zip(self._live, self._before, strict=True):
            torch._foreach_copy_(before, live)

    def put_back(self) -> None:
        for live, before in zip(self._live, self._before, strict=True):
            torch._foreach_copy_(live, before)


def _blocks(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Memory that holds all of `tensors`: a block for those of one kind, and as it is what shares its memory."""
    owners = Counter(t.untyped_storage().data_ptr() for t in tensors)
    kinds: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    shared = []
    for t in tensors:
        storage = t.untyped_storage()
        if owners[storage.data_ptr()] == 1 and storage.nbytes() == t.numel() * t.element_size():
            kinds.setdefault((t.device, t.dtype), []).append(t)
        else:
            shared.append(t.data)
    return [_in_one_block(alike) for alike in kinds.values()] + shared


def _in_one_block(alike: Sequence[Tensor]) -> Tensor:
    step = ALIGNED_BYTES // alike[0].element_size()
    sizes = [-(-t.numel() // step) * step for t in alike]
    block = torch.zeros(sum(sizes), dtype=alike[0].dtype, device=alike[0].device)
    for t, part in zip(alike, block.split(sizes), strict=True):
        moved = part[: t.numel()].view(t.shape)
        moved.copy_(t)
        t.data = moved
    return block
