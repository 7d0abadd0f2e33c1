"""Exact faster evaluation of models whose structure allows it."""

from torch import nn


def accelerate(model: nn.Module) -> nn.Module:
    """The model with a fast forward where its structure is recognised, else untouched."""
    return model


def describe(model: nn.Module) -> str | None:
    """The fast path taken, if any."""
    return None
