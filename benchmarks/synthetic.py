"""Windows of any number without recordings behind them: noise tiled into the store's own file format."""

from pathlib import Path
from typing import Any, cast

import numpy as np

from jobs.spec import HBN_CHANNELS
from worker.data.prepared import Prepared
from worker.data.store import TILE_TIMES
from worker.data.windows import Signals, WindowIndex

N_TIMES = 200
POOL_TILES = 512


def synthetic(folder: Path, n_train: int, n_validation: int, n_chans: int = 129) -> Prepared:
    """Disjoint windows of 129 x 200 at 100 Hz, so that nothing is shared that real windows would not share."""
    train, validation = (index(folder / f"{name}.f32", n, n_chans) for name, n in
                         (("train", n_train), ("validation", n_validation)))  # fmt: skip
    channels = HBN_CHANNELS[:n_chans]
    return Prepared(train, validation, cast(Any, None), "synthetic", {}, channels, 100.0, {})


def index(path: Path, n: int, n_chans: int) -> WindowIndex:
    rng = np.random.default_rng(n)
    n_tiles = -(-n * N_TIMES // TILE_TIMES)
    pool = (rng.standard_normal((POOL_TILES, n_chans, TILE_TIMES)) * 10).astype(np.float32)
    with open(path, "wb") as file:
        for first in range(0, n_tiles, POOL_TILES):
            file.write(pool[: min(POOL_TILES, n_tiles - first)].tobytes())
    subject = np.arange(n, dtype=np.int32) % 100
    return WindowIndex(
        Signals((path,), (n_tiles * TILE_TIMES,), n_chans),
        np.zeros(n, np.int32), np.arange(n, dtype=np.int64) * N_TIMES,
        (1.6 + 0.4 * rng.standard_normal(n)).astype(np.float32), subject, np.arange(n) * 2.0,
        tuple(f"S{i:03}" for i in range(100)), ("synthetic",), N_TIMES, 0, 100.0,
    )  # fmt: skip
