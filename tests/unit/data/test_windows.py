import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.data.store import write_tiles
from worker.data.windows import Signals, WindowIndex

ROOT = Path(__file__).resolve().parents[3]
N_CHANS = 5
LENGTHS = (64, 130, 1000)


@pytest.fixture(scope="module")
def recordings() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal((N_CHANS, n), dtype=np.float32) for n in LENGTHS]


@pytest.fixture(scope="module")
def signals(tmp_path_factory, recordings) -> Signals:
    folder: Path = tmp_path_factory.mktemp("signals")
    paths = tuple(folder / f"{i}.f32" for i in range(len(recordings)))
    for path, recording in zip(paths, recordings, strict=True):
        write_tiles(path, recording)
    return Signals(paths, LENGTHS, N_CHANS)


def index(signals: Signals, windows: list[tuple[int, int]], n_times: int = 30, max_shift: int = 0) -> WindowIndex:
    recording = np.array([r for r, _ in windows], np.int32)
    start = np.array([s for _, s in windows], np.int64)
    return WindowIndex(
        signals, recording, start, np.arange(len(windows), dtype=np.float32), recording, start / 100.0,
        ("a", "b", "c"), ("ra", "rb", "rc"), n_times, max_shift, 100.0,
    )  # fmt: skip


def test_a_batch_is_the_windows_of_its_rows(signals, recordings):
    windows = [(0, 0), (1, 100), (2, 0), (2, 970), (2, 63), (2, 64), (2, 65)]
    batch = index(signals, windows).gather([6, 0, 3])
    assert batch.shape == (3, N_CHANS, 30)
    assert batch.dtype == np.float32
    assert batch.flags.c_contiguous
    for window, (recording, start) in zip(batch, [windows[i] for i in (6, 0, 3)], strict=True):
        np.testing.assert_array_equal(window, recordings[recording][:, start : start + 30])


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_any_stretch_of_any_recording_is_copied_exactly(data, signals, recordings):
    recording = data.draw(st.integers(0, len(LENGTHS) - 1))
    size = data.draw(st.integers(1, LENGTHS[recording]))
    start = data.draw(st.integers(0, LENGTHS[recording] - size))
    out = np.empty((N_CHANS, size), np.float32)
    signals.copy(recording, start, out)
    np.testing.assert_array_equal(out, recordings[recording][:, start : start + size])


def test_shifts_choose_the_crop_and_none_takes_the_centre(signals, recordings):
    cropping = index(signals, [(2, 100), (2, 200)], n_times=20, max_shift=15)
    batch = cropping.gather([0, 1], np.array([0, 15]))
    np.testing.assert_array_equal(batch[0], recordings[2][:, 100:120])
    np.testing.assert_array_equal(batch[1], recordings[2][:, 215:235])
    np.testing.assert_array_equal(cropping.gather([0])[0], recordings[2][:, 107:127])


def test_a_shift_out_of_range_is_refused(signals):
    for shift in (-1, 16):
        with pytest.raises(ValueError, match="0 to 15 are possible"):
            index(signals, [(2, 100)], n_times=20, max_shift=15).gather([0], np.array([shift]))


def test_a_given_array_is_filled(signals):
    out = np.empty((2, N_CHANS, 30), np.float32)
    assert index(signals, [(2, 0), (2, 5)]).gather([0, 1], out=out) is out


def test_intervals_are_merged_where_windows_overlap_or_touch(signals):
    windows = [(2, 500), (2, 0), (2, 20), (2, 50), (1, 10), (2, 81)]
    assert index(signals, windows).intervals() == [(1, 10, 40), (2, 0, 80), (2, 81, 111), (2, 500, 530)]


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_every_window_is_found_in_the_slab(data, signals, recordings):
    n_times, max_shift = data.draw(st.integers(1, 40)), data.draw(st.integers(0, 20))
    window = st.sampled_from([0, 1, 2]).flatmap(
        lambda r: st.tuples(st.just(r), st.integers(0, LENGTHS[r] - n_times - max_shift))
    )
    windows = data.draw(st.lists(window, min_size=1, max_size=30))
    some = index(signals, windows, n_times, max_shift)
    slab = some.slab()
    assert slab.signal.shape == (N_CHANS, some.slab_n_times())
    for (recording, start), begin in zip(windows, slab.start, strict=True):
        expected = recordings[recording][:, start : start + n_times + max_shift]
        np.testing.assert_array_equal(slab.signal[:, begin : begin + n_times + max_shift], expected)


def test_a_part_of_an_index_covers_only_its_own_windows(signals):
    part = index(signals, [(2, 0), (2, 500), (1, 0)]).take(np.array([1]))
    assert (len(part), part.intervals(), part.slab_n_times()) == (1, [(2, 500, 530)], 30)
    assert part.target.tolist() == [1.0]


def test_an_empty_index_has_an_empty_slab(signals):
    empty = index(signals, [(2, 0)]).take(np.array([], int))
    assert (empty.intervals(), empty.slab().signal.shape) == ([], (N_CHANS, 0))
    assert empty.gather([]).shape == (0, N_CHANS, 30)


@pytest.mark.parametrize("hard", [300, 4096])
def test_more_recordings_than_open_files_are_allowed(tmp_path, hard):
    """With room up to the hard limit it is raised; without, the oldest maps are closed."""
    code = f"""
import resource, sys
from pathlib import Path
import numpy as np
from worker.data.store import write_tiles
from worker.data.windows import Signals
n = 400
paths = tuple(Path({str(tmp_path)!r}) / str(i) for i in range(n))
for i, path in enumerate(paths):
    write_tiles(path, np.full((2, 70), i, np.float32))
resource.setrlimit(resource.RLIMIT_NOFILE, (280, {hard}))
signals = Signals(paths, (70,) * n, 2)
out = np.empty((2, 10), np.float32)
for i in (*range(n), *range(n)):
    signals.copy(i, 60, out)
    assert (out == i).all()
print(len(signals._maps))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout) == (400 if hard == 4096 else 44)


def test_an_index_pickles_without_its_maps(signals):
    some = index(signals, [(2, 0)])
    some.gather([0])
    copy = pickle.loads(pickle.dumps(some))
    np.testing.assert_array_equal(copy.gather([0]), some.gather([0]))
