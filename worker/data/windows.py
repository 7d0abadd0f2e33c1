"""WindowIndex: windows as rows of a table over memory-mapped signals; a batch is a gather of rows.

Knows neither how windows were chosen nor where signals come from.

Shapes: B windows of a batch, C channels, T samples of a window.
"""

import resource
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from worker.data.store import TILE_TIMES, open_tiles

SPARE_HANDLES = 256  # left for everything else that the process has open


@dataclass(frozen=True)
class Signals:
    """Stored signals, memory-mapped when first used. Pickles as paths."""

    paths: tuple[Path, ...]
    n_times: tuple[int, ...]
    n_chans: int
    _maps: dict[int, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.paths)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_maps": {}}

    def tiles(self, recording: int) -> np.ndarray:
        """(n_tiles, C, 64) float32, read-only."""
        if recording not in self._maps:
            if len(self._maps) >= _maps_allowed(len(self)):
                del self._maps[next(iter(self._maps))]
            tiles = open_tiles(self.paths[recording], self.n_chans, self.n_times[recording])
            self._maps[recording] = tiles.view(np.ndarray)  # memmap's own indexing costs more than the copy
        return self._maps[recording]

    def copy(self, recording: int, start: int, out_CT: np.ndarray) -> None:
        """Fills `out_CT` with the samples from `start` on."""
        tiles, size = self.tiles(recording), out_CT.shape[1]
        tile, offset = divmod(start, TILE_TIMES)
        head = min(TILE_TIMES - offset, size)
        out_CT[:, :head] = tiles[tile, :, offset : offset + head]
        whole, tail = divmod(size - head, TILE_TIMES)
        if whole:
            middle = out_CT[:, head : head + whole * TILE_TIMES]
            middle.reshape(-1, whole, TILE_TIMES)[...] = tiles[tile + 1 : tile + 1 + whole].swapaxes(0, 1)
        if tail:
            out_CT[:, size - tail :] = tiles[tile + 1 + whole, :, :tail]


@dataclass(frozen=True)
class Slab:
    """The covered stretches of all recordings, one after the other.

    signal: (C, total) float32; start: (n,) int64, where each window begins in it.
    """

    signal: np.ndarray
    start: np.ndarray


@dataclass(frozen=True)
class WindowIndex:
    """n windows of n_chans x n_times, cut from n_times + max_shift samples each.

    recording, subject: (n,) int32 into `recordings` and `subjects`; start: (n,) int64, a sample of the recording;
    target: (n,) float32; onset_s: (n,) float64, the stimulus, or the start of a window of fixed length.
    """

    signals: Signals
    recording: np.ndarray
    start: np.ndarray
    target: np.ndarray
    subject: np.ndarray
    onset_s: np.ndarray
    subjects: tuple[str, ...]
    recordings: tuple[str, ...]
    n_times: int
    max_shift: int
    sfreq: float

    def __len__(self) -> int:
        return len(self.recording)

    @property
    def n_chans(self) -> int:
        return self.signals.n_chans

    @property
    def centre_shift(self) -> int:
        """The shift of the crop that evaluation takes."""
        return self.max_shift // 2

    def gather(
        self, rows: Sequence[int] | np.ndarray, shifts: np.ndarray | None = None, out: np.ndarray | None = None
    ) -> np.ndarray:
        """A batch: (B, C, T) float32 in microvolts, C-contiguous.

        shifts: (B,) in 0..max_shift, where in its window each crop begins; None takes the centre. `out` is filled and
        returned where given. Raises IndexError for a row that is not there, ValueError for a shift out of range.
        """
        rows = np.asarray(rows, np.int64)
        starts = self.start[rows] + self._checked(shifts)
        if out is None:
            out = np.empty((len(rows), self.n_chans, self.n_times), np.float32)
        for window, recording, start in zip(out, self.recording[rows].tolist(), starts.tolist(), strict=True):
            self.signals.copy(recording, start, window)
        return out

    def take(self, rows: np.ndarray) -> "WindowIndex":
        """The index of some of the windows, in the order of `rows`."""
        columns = ("recording", "start", "target", "subject", "onset_s")
        return replace(self, **{name: getattr(self, name)[rows] for name in columns})

    def intervals(self) -> list[tuple[int, int, int]]:
        """What the windows cover: (recording, start, stop), apart from each other and in order."""
        recording, start, stop = self._intervals
        return list(zip(recording.tolist(), start.tolist(), stop.tolist(), strict=True))

    def slab_n_times(self) -> int:
        """Samples a channel that `slab` takes: 4 bytes * n_chans * this."""
        _, start, stop = self._intervals
        return int((stop - start).sum())

    def slab(self, out: np.ndarray | None = None) -> Slab:
        """The covered samples packed into one array, into `out` (C, slab_n_times) where given, e.g. pinned memory."""
        recording, start, stop = self._intervals
        ends = np.cumsum(stop - start)
        begins = ends - (stop - start)
        if out is None:
            out = np.empty((self.n_chans, int(ends[-1]) if len(ends) else 0), np.float32)
        for r, s, begin, end in zip(recording.tolist(), start.tolist(), begins.tolist(), ends.tolist(), strict=True):
            self.signals.copy(r, s, out[:, begin:end])
        which = self._interval_of_window
        return Slab(out, begins[which] + self.start - start[which])

    def _checked(self, shifts: np.ndarray | None) -> np.ndarray | int:
        if shifts is None:
            return self.centre_shift
        shifts = np.asarray(shifts, np.int64)
        if len(shifts) and not 0 <= int(shifts.min()) <= int(shifts.max()) <= self.max_shift:
            raise ValueError(f"shifts reach from {shifts.min()} to {shifts.max()}; 0 to {self.max_shift} are possible")
        return shifts

    @cached_property
    def _intervals(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Merged (recording, start, stop), each (m,)."""
        order = np.lexsort((self.start, self.recording))
        recording, start = self.recording[order], self.start[order]
        stop = start + self.n_times + self.max_shift
        # Windows are all of one length, so a window begins an interval when it starts past the one before it ends.
        first = np.ones(len(order), bool)
        first[1:] = (recording[1:] != recording[:-1]) | (start[1:] > stop[:-1])
        opens = np.flatnonzero(first)
        closes = np.append(opens[1:], len(order)) - 1
        return recording[opens], start[opens], stop[closes] if len(order) else stop

    @cached_property
    def _interval_of_window(self) -> np.ndarray:
        recording, start, _ = self._intervals
        key = start + recording.astype(np.int64) * (1 << 40)
        return np.searchsorted(key, self.start + self.recording.astype(np.int64) * (1 << 40), side="right") - 1


@cache
def _maps_allowed(n: int) -> int:
    """How many of n files may be mapped at once: Python keeps a file handle open for each map.

    Raises the process's soft limit towards its hard one where it is too low for all of them.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = n + SPARE_HANDLES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return n if soft == resource.RLIM_INFINITY else max(1, soft - SPARE_HANDLES)
