"""Copies of what may be spoilt, kept before and put back after. Knows no step.

Shadow is for every step: on a GPU a launch costs more than the bytes, so the tensors of one kind are laid out in one
block, a copy and a choice a step, however many they are. They stay the tensors they were; only their memory moves. A
tensor that the model gives other memory later (`p.data = ...`) leaves its block and is then looked after by itself.
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
        blocks = _blocks([t for t in tensors if t.numel()])
        self._live = [live for live, _ in blocks]
        self._before = [live.clone() for live in self._live]
        self._twins = [
            (t, t.data_ptr(), _same_place(t, live, before))
            for (live, tensors), before in zip(blocks, self._before, strict=True)
            for t in tensors
        ]

    def keep(self) -> None:
        for live, before in zip(self._live, self._before, strict=True):
            before.copy_(live)
        for t, twin in self._gone():
            twin.copy_(t.data)

    def put_back(self) -> None:
        for live, before in zip(self._live, self._before, strict=True):
            live.copy_(before)
        for t, twin in self._gone():
            t.data.copy_(twin)

    def put_back_unless(self, go: Tensor) -> None:
        """The same where `go` () is false, decided on the device."""
        pairs = [*zip(self._live, self._before, strict=True), *((t.data, twin) for t, twin in self._gone())]
        for live, before in pairs:
            torch.where(go.to(live.device), live, before, out=live)

    def _gone(self) -> list[tuple[Tensor, Tensor]]:
        """Tensors that have left their block, each with its place in the copy."""
        return [(t, twin) for t, place, twin in self._twins if t.data_ptr() != place]


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


def _blocks(tensors: Sequence[Tensor]) -> list[tuple[Tensor, list[Tensor]]]:
    """Memory that holds all of `tensors`, with those in it: a block for those of one kind, and as it is what shares
    its memory."""
    owners = Counter(t.untyped_storage().data_ptr() for t in tensors)
    kinds: dict[tuple[torch.device, torch.dtype], list[Tensor]] = {}
    shared = []
    for t in tensors:
        storage = t.untyped_storage()
        if owners[storage.data_ptr()] == 1 and storage.nbytes() == t.numel() * t.element_size():
            kinds.setdefault((t.device, t.dtype), []).append(t)
        else:
            shared.append((t.data, [t]))
    return [(_in_one_block(alike), alike) for alike in kinds.values()] + shared


def _in_one_block(alike: Sequence[Tensor]) -> Tensor:
    step = ALIGNED_BYTES // alike[0].element_size()
    sizes = [-(-t.numel() // step) * step for t in alike]
    block = torch.zeros(sum(sizes), dtype=alike[0].dtype, device=alike[0].device)
    for t, part in zip(alike, block.split(sizes), strict=True):
        moved = part[: t.numel()].view(t.shape)
        moved.copy_(t)
        t.data = moved
    return block


def _same_place(t: Tensor, live: Tensor, before: Tensor) -> Tensor:
    """Where `before`, a copy of the memory `live`, holds what `t` holds of that."""
    first = t.storage_offset() - live.storage_offset()
    return before if before.shape == t.shape else before[first : first + t.numel()].view(t.shape)
