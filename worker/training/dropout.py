"""Dropout whose masks are counted, not drawn: equal on every device, and any step can be repeated.

Knows only (seed, layer, step) and an element's position in the full batch.
"""

from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from worker.training import order

LOW32 = 0xFFFFFFFF


def murmur(x: Tensor) -> Tensor:
    """murmur3's 32-bit finalizer in place on int32: products wrap alike on every device, `&` makes a shift logical."""
    x.bitwise_xor_((x >> 16).bitwise_and_(0xFFFF)).mul_(0x85EBCA6B - 2**32)
    x.bitwise_xor_((x >> 13).bitwise_and_(0x7FFFF)).mul_(0xC2B2AE35 - 2**32)
    return x.bitwise_xor_((x >> 16).bitwise_and_(0xFFFF))


class CountedDropout(nn.Module):
    """nn.Dropout with the mask of (seed, layer, step). `counter` is the step, int64 (), on the device of the input.

    It has no parameters and no buffers, so a state_dict with nn.Dropout in its place is the same.
    """

    def __init__(self, p: float, layer_key: int) -> None:
        super().__init__()
        self.p, self._layer_key = p, layer_key & LOW32
        self.counter = torch.zeros((), dtype=torch.int64)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        return x * self.mask(x.numel(), x.device).view(x.shape).to(x.dtype).mul_(1.0 / (1.0 - self.p))

    def mask(self, n: int, device: torch.device) -> Tensor:
        """(n,) bool, true with probability 1 - p."""
        step_key = murmur((self.counter * 0x9E3779B1 + self._layer_key).to(torch.int32))
        drawn = murmur(torch.arange(n, dtype=torch.int32, device=device).bitwise_xor_(step_key))
        return drawn.bitwise_xor_(-(2**31)) >= int(self.p * 2**32) - 2**31  # as unsigned numbers

    def extra_repr(self) -> str:
        return f"p={self.p}"


def count_dropout(model: nn.Module, seed: int) -> int:
    """Replaces every nn.Dropout and attention's dropout in place; how many there were."""
    found = [(name, m) for name, m in model.named_modules() if type(m) is nn.Dropout or drops_attention(m)]
    for layer, (name, module) in enumerate(found):
        layer_key = int(order.key(order.DROPOUT, seed, layer)) & LOW32
        if isinstance(module, nn.Dropout):
            model.set_submodule(name, CountedDropout(module.p, layer_key))
        else:
            module.counted_drop = CountedDropout(float(module.att_drop), layer_key)
            module.forward = MethodType(counted_attention, module)
    return len(found)


def drops_attention(module: nn.Module) -> bool:
    """braindecode's MultiHeadAttention, whose dropout happens inside torch's fused attention, out of reach."""
    return type(module).__name__ == "MultiHeadAttention" and float(getattr(module, "att_drop", 0.0)) > 0


def counted_attention(self: Any, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k' / sqrt(d)) v, weights dropped by counters (Vaswani et al., 2017). x: (B, sequence, d * heads)"""
    if not self.training:
        return type(self).forward(self, x, mask)
    queries, keys, values = (self.rearrange_stack(part(x)) for part in (self.queries, self.keys, self.values))
    scores = queries @ keys.transpose(-2, -1) / self.head_dim**0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
    weights = self.counted_drop(scores.softmax(dim=-1))
    return self.projection(self.rearrange_unstack(weights @ values))


def bind(model: nn.Module, counter: Tensor) -> None:
    """Lets every counted dropout read the step from `counter`."""
    for module in model.modules():
        if isinstance(module, CountedDropout):
            module.counter = counter


def draws_elsewhere(model: nn.Module, x: Tensor) -> bool:
    """Whether training-mode output still depends on torch's generator (functional or attention dropout, DropPath ...).

    Such a model repeats a step on the same kind of device only, so it fails over as a job. x: (B, n_chans, n_times).
    """
    buffers = [b.clone() for b in model.buffers()]
    was_training = model.training
    model.train()
    outputs = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        for seed in (1, 2):
            torch.manual_seed(seed)
            outputs.append(model(x).clone())
            for buffer, before in zip(model.buffers(), buffers, strict=True):
                buffer.copy_(before)
    model.train(was_training)
    return not torch.equal(*outputs)
