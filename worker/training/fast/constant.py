"""A tensor that is no parameter and no buffer, but goes where the batch is.

Knows nothing of what it holds.
"""

from __future__ import annotations

from torch import Tensor


class Constant:
    """Kept in float64 and handed out on the batch's device in its precision; the last such copy is kept.

    A buffer would show in the model's buffers, whose names are braindecode's and stay so.
    """

    def __init__(self, exact: Tensor) -> None:
        self._exact = exact.double()
        self._last = self._exact

    def like(self, x: Tensor) -> Tensor:
        if self._last.device != x.device or self._last.dtype != x.dtype:
            self._last = self._exact.to(x)
        return self._last
