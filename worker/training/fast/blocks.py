"""Blocks of other models that hold the shared front, and where each keeps its modules.

Knows braindecode's layouts; the mathematics is in spatial_first.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from worker.training.fast import structure
from worker.training.fast.front import Front


def accelerate_blocks(model: Any) -> bool:
    """Swap the forward of every block of the model that holds the shared front; say whether there was one."""
    name = type(model).__name__
    if name not in _BLOCKS:
        return False
    find, forward, front_of = _BLOCKS[name]
    blocks = find(model)
    if not all(front_of(block).is_plain(model.n_chans) for block in blocks):
        return False
    for block in blocks:
        block.fast_window = (model.n_chans, model.n_times)
        block.fast_pool = front_of(block).fused_pool(model.n_times)
        structure.swap_forward(block, forward, f"spatial-first {name}")
    return True


# A Sequential that begins with convolution, BatchNorm, spatial convolution, BatchNorm, activation and perhaps a pool.


def _front_of_sequence(block: Any) -> Front:
    pool = block[5] if len(block) > 5 else None
    return Front([block[0]], [block[1]], block[2], block[3], block[4], pool)


def _sequence_forward(self: Any, x: Tensor) -> Tensor:
    """(B, 1, n_chans, n_times) -> what the Sequential makes of it."""
    if not structure.is_image(x, self.fast_window, self[0].weight):
        return structure.original_forward(self, x)
    h = _front_of_sequence(self).evaluate(x[:, 0], self.fast_pool)
    for module in list(self)[6:]:
        h = module(h)
    return h


# ATCNet's block: images (time, channels).


def _front_of_atcnet(block: Any) -> Front:
    return Front([block.conv1], [block.bn1], block.conv2, block.bn2, block.activation2, block.pool2, time_axis=0)


def _atcnet_forward(self: Any, x: Tensor) -> Tensor:
    """(B, 1, n_times, n_chans) -> (B, F, V, 1)."""
    if not structure.is_image(x.transpose(2, 3), self.fast_window, self.conv1.weight):
        return structure.original_forward(self, x)
    h = self.drop2(_front_of_atcnet(self).evaluate(x[:, 0].transpose(1, 2), self.fast_pool))
    return self.drop3(self.pool3(self.activation3(self.bn3(self.conv3(h)))))


# AttentionBaseNet's feature extractor: takes windows.


def _front_of_extractor(block: Any) -> Front:
    return Front(
        [block.temporal_conv], [block.intermediate_bn], block.spatial_conv, block.bn, block.nonlinearity, block.pool
    )


def _extractor_forward(self: Any, x: Tensor) -> Tensor:
    """(B, n_chans, n_times) -> (B, F, 1, V)."""
    if not structure.is_window(x, self.fast_window, self.temporal_conv.weight):
        return structure.original_forward(self, x)
    return self.dropout(_front_of_extractor(self).evaluate(x, self.fast_pool))


# TCFormer: temporal filters of several lengths side by side, each padded by a module of its own.


def _front_of_tcformer(block: Any) -> Front:
    pads, convs, bns = zip(*block.temporal_convs, strict=True)
    spatial, bn, activation = block.channel_dw_conv
    if any(pad.value != 0 or pad.padding[2:] != (0, 0) for pad in pads) or any(
        conv.padding != (0, 0) for conv in convs
    ):
        raise ValueError("another padding")
    return Front(convs, bns, spatial, bn, activation, block.pool1, pads=[pad.padding[:2] for pad in pads])


def _tcformer_forward(self: Any, x: Tensor) -> Tensor:
    """(B, n_chans, n_times) -> (B, d_model, n_tokens)."""
    if not structure.is_window(x, self.fast_window, self.temporal_convs[0][1].weight):
        return structure.original_forward(self, x)
    h = self.drop1(_front_of_tcformer(self).evaluate(x, self.fast_pool))
    if self.use_channel_reduction:
        h = self.channel_reduction(h)
    h = self.temporal_conv_2(h)
    if self.use_group_attn:
        h = h + self.group_attn(h)
    return self.drop2(self.pool2(h))[:, :, 0]


def _inception_branches(model: nn.Module) -> list[nn.Module]:
    return list(model.inception_block.branches)  # type: ignore[union-attr, arg-type]


_BLOCKS: dict[str, Any] = {
    "CTNet": (lambda model: [model.cnn.eegnet_module], _sequence_forward, _front_of_sequence),
    "MSVTNet": (lambda model: [branch[0] for branch in model.mstsconv], _sequence_forward, _front_of_sequence),
    "EEGITNet": (_inception_branches, _sequence_forward, _front_of_sequence),
    "ATCNet": (lambda model: [model.conv_block], _atcnet_forward, _front_of_atcnet),
    "AttentionBaseNet": (lambda model: [model.input_block], _extractor_forward, _front_of_extractor),
    "TCFormer": (lambda model: [model.conv_block], _tcformer_forward, _front_of_tcformer),
}
