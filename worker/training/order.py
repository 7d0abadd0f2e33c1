"""Counter-based randomness: who is in step k, how it is cropped and what dropout draws, from (seed, k) alone.

Knows no state: any step can be drawn on any machine in any order. The mixer is splitmix64 (Steele et al., 2014).
"""

from typing import Any

import numpy as np

U64 = np.uint64
ORDER, CROP, DROPOUT, AUGMENT, SPLIT = range(1, 6)  # streams: the same seed never gives two of them the same numbers


def mix(x: Any) -> Any:
    """splitmix64's finalizer, elementwise on uint64."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> U64(30))) * U64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> U64(27))) * U64(0x94D049BB133111EB)
        return x ^ (x >> U64(31))


def key(stream: int, seed: int, *counters: int) -> np.uint64:
    """One 64-bit key from a stream, the job's seed and any counters."""
    with np.errstate(over="ignore"):
        value = mix(U64(stream) * U64(0x9E3779B97F4A7C15) + U64(seed))
        for counter in counters:
            value = mix(value + U64(0x9E3779B97F4A7C15) + U64(counter))
    return U64(value)


def draws(stream: int, seed: int, counter: int, n: int) -> np.ndarray:
    """n uint64 numbers of a stream at a counter."""
    with np.errstate(over="ignore"):
        return mix(key(stream, seed, counter) + np.arange(1, n + 1, dtype=U64) * U64(0x9E3779B97F4A7C15))


def permutation(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order of n windows in an epoch (int64)."""
    return np.argsort(draws(ORDER, seed, epoch, n), kind="stable")


def shifts(n: int, max_shift: int, seed: int, k: int) -> np.ndarray:
    """First samples of the random crops of step k, each in 0..max_shift (int64)."""
    return (draws(CROP, seed, k, n) % U64(max_shift + 1)).astype(np.int64)


class Schedule:
    """Which rows step k takes: epochs of `steps_per_epoch` full batches; what is left over waits for another epoch."""

    def __init__(self, n_windows: int, batch_size: int, seed: int) -> None:
        if n_windows < 1:
            raise ValueError("no windows to train on")
        self.batch_size = min(batch_size, n_windows)
        self.steps_per_epoch = n_windows // self.batch_size
        self._n, self._seed = n_windows, seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def epoch(self, k: int) -> int:
        return k // self.steps_per_epoch

    def rows(self, k: int) -> np.ndarray:
        """Rows of the WindowIndex in step k (batch_size,) int64."""
        epoch, i = divmod(k, self.steps_per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, permutation(self._n, self._seed, epoch)
        return self._order[i * self.batch_size : (i + 1) * self.batch_size]
