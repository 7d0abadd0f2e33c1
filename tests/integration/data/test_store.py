"""The store: what is killed leaves nothing half-valid, what is shared is built once, what is used is not evicted."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from jobs.datasets import Source
from tests.data_factory import job, prepared, small, sources
from worker.data.builder import Processing, Request, build
from worker.data.building import build_all, peak_bytes
from worker.data.errors import DataError, StorageFull, StorageUnavailable
from worker.data.eviction import evict
from worker.data.prepare import prepare
from worker.data.store import Store

ROOT = Path(__file__).resolve().parents[3]
CHANNELS = ("E1", "E2", "Cz")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("store") / "data"
    small(folder / "demo", subjects=4)
    return folder


@pytest.fixture
def bdf(data) -> Path:
    return min(data.glob("demo/sub-*/eeg/*contrast*.bdf"))


def request(path: Path, identity: str = "ab" * 16, **changes) -> Request:
    return Request(str(path), identity, Processing(channels=CHANNELS, sfreq=100.0), **changes)


def entries(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "signals").iterdir())


def wait_until(predicate, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not predicate():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def test_a_built_entry_is_complete_and_found_again(bdf, tmp_path):
    store = Store(tmp_path)
    key = build(request(bdf), store)
    meta = store.meta(key)
    assert (meta.ch_names, meta.sfreq) == (CHANNELS, 100.0)
    assert store.signal_path(key).stat().st_size == -(-meta.n_times // 64) * 3 * 64 * 4
    assert store.find("ab" * 16) == key
    assert entries(tmp_path) == [key]


def test_a_builder_killed_at_any_moment_leaves_nothing_half_valid(bdf, tmp_path):
    """Killed over and over, later each time; whatever is in place is whole, and the last run finishes the work."""
    whole = Store(tmp_path / "whole")
    expected = whole.signal_path(build(request(bdf), whole)).read_bytes()
    cache = tmp_path / "cache"
    Store(cache)
    unfinished = 0
    for delay_s in np.linspace(0.0, _build_time_s(bdf, tmp_path / "timed"), 8):
        process = _start_building(bdf, cache)
        time.sleep(delay_s)  # not a wait for something: the moment of the kill is what is varied
        process.send_signal(signal.SIGKILL)
        process.communicate()
        found = list((cache / "signals").glob("[!.]*"))
        unfinished += not found
        for path in found:
            assert (path / "signal.f32").read_bytes() == expected
            shutil.rmtree(path)
    assert unfinished > 1
    store = Store(cache)
    assert store.signal_path(build(request(bdf), store)).read_bytes() == expected
    assert len(entries(cache)) == 1


def _start_building(bdf: Path, cache: Path) -> subprocess.Popen:
    """A builder that has begun with its recording."""
    command = [sys.executable, "-m", "worker.data.builder", str(cache)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.stdin.write(request(bdf).to_json() + "\n")
    process.stdin.flush()
    wait_until(lambda: any((cache / "signals").iterdir()))
    return process


def _build_time_s(bdf: Path, cache: Path) -> float:
    Store(cache)
    process = _start_building(bdf, cache)
    started_s = time.monotonic()
    process.stdout.readline()
    process.communicate()
    return time.monotonic() - started_s


def test_two_processes_that_build_the_same_build_once(data, tmp_path):
    """A step that leaves a line for each recording it sees tells how often each was built."""
    steps, log = tmp_path / "steps", tmp_path / "seen"
    steps.mkdir()
    (steps / "my_steps.py").write_text(
        "def noted(x, sfreq, log):\n    with open(log, 'a') as file:\n        print(x.shape, file=file)\n    return x\n"
    )
    spec = job(preprocess=[{"step": "custom", "function": "my_steps:noted", "params": {"log": str(log)}}])
    request = (spec, sources(data, spec), data, tmp_path / "cache", lambda *_: None, 4 << 30, 1, steps)
    with ThreadPoolExecutor(2) as pool:  # each job has a builder process of its own
        first, second = pool.map(lambda arguments: prepare(*arguments), [request, request])
    assert first.digest == second.digest
    assert len(log.read_text().splitlines()) == 4


def test_a_waiting_builder_finds_what_the_other_built(bdf, tmp_path):
    store = Store(tmp_path)
    with store.building("ab" * 16):
        command = [sys.executable, "-m", "worker.data.builder", str(tmp_path)]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process.stdin.write(request(bdf).to_json() + "\n")
        process.stdin.flush()
        key = build(request(bdf, identity="cd" * 16), store)  # the same content under another name
        store.point("ab" * 16, key)
        modified = store.signal_path(key).stat().st_mtime_ns
    answer, _ = process.communicate(timeout=30)
    assert key in answer
    assert store.signal_path(key).stat().st_mtime_ns == modified


def test_a_reader_that_dies_costs_its_recording_and_no_other(data, tmp_path, monkeypatch):
    """The builder of one recording is killed by its own custom step; the others are built by a fresh process."""
    steps = tmp_path / "steps"
    steps.mkdir()
    (steps / "my_steps.py").write_text(
        "import os, signal\n"
        "def fatal(x, sfreq):\n"
        "    if x.shape[1] == SHORTEST:\n"
        "        os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    return x\n"
    )
    lengths = sorted(p.train.signals.n_times[i] for p in [prepared(data, job())] for i in range(4))
    (steps / "my_steps.py").write_text((steps / "my_steps.py").read_text().replace("SHORTEST", str(lengths[0])))
    spec = job(preprocess=[{"step": "custom", "function": "my_steps:fatal"}], preflight={"max_dropped": 0.9})
    found = prepared(data, spec, steps_dir=steps, cache_dir=tmp_path / "cache")
    failed = [row for row in found.preflight.recordings if row["status"] == "failed"]
    assert len(failed) == lengths.count(lengths[0])
    assert "the reader ended with status -11" in failed[0]["findings"][0]["message"]


@pytest.fixture
def builders_run(tmp_path, monkeypatch):
    """Code that every builder process runs before it starts: how a disk or a network folder is made to fail."""

    def install(code: str) -> None:
        (tmp_path / "site").mkdir(exist_ok=True)
        (tmp_path / "site" / "sitecustomize.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))

    return install


def test_a_network_folder_that_does_not_answer_is_waited_for(data, tmp_path, builders_run):
    """EIO while a recording is read is infrastructure: nothing is dropped and nothing is remembered."""
    builders_run(
        "import pathlib, errno\n"
        "whole = pathlib.Path.open\n"
        "def open(self, *args, **kwargs):\n"
        "    if self.suffix == '.bdf':\n"
        "        raise OSError(errno.EIO, 'Input/output error')\n"
        "    return whole(self, *args, **kwargs)\n"
        "pathlib.Path.open = open\n"
    )
    with pytest.raises(StorageUnavailable, match="EIO"):
        prepared(data, job(), cache_dir=tmp_path / "cache")
    assert entries(tmp_path / "cache") == []


def test_a_recording_that_vanishes_after_it_was_listed_is_waited_for(tmp_path):
    Store(tmp_path / "cache")
    with pytest.raises(StorageUnavailable, match="still mounted"):
        list(build_all([request(tmp_path / "gone.bdf")], tmp_path / "cache", [1000], 8 << 30, 1))


def test_a_root_that_is_gone_is_waited_for(tmp_path):
    with pytest.raises(StorageUnavailable, match="is the data folder mounted"):
        prepare(job(), [Source("R1", "gone")], tmp_path, tmp_path / "cache")


FULL_UNTIL_FREED = """
import errno, os, pathlib
whole = os.fsync
def fsync(handle):
    if pathlib.Path({unused!r}).exists():
        raise OSError(errno.ENOSPC, "No space left on device")
    return whole(handle)
os.fsync = fsync
"""


def test_a_full_disk_is_freed_of_what_no_job_uses(data, tmp_path, builders_run):
    cache = tmp_path / "cache"
    older = prepared(data, job("challenge2"), cache_dir=cache)
    unused = older.train.signals.paths[0].parent
    builders_run(FULL_UNTIL_FREED.format(unused=str(unused)))
    with pytest.raises(StorageFull, match="ENOSPC"):
        prepared(data, job(), cache_dir=cache)
    older.lease.close()
    assert len(prepared(data, job(), cache_dir=cache).train)
    assert not unused.exists()


def test_the_store_is_kept_within_its_limit_but_for_what_is_in_use(data, tmp_path):
    cache = tmp_path / "cache"
    older = prepared(data, job("challenge2"), cache_dir=cache)
    older.lease.close()
    found = prepared(data, job(), cache_dir=cache, cache_limit_bytes=1)
    assert {path.parent.name for path in found.train.signals.paths} == set(entries(cache))


def test_a_recording_that_does_not_fit_the_memory_budget_is_refused_by_name(data, tmp_path):
    with pytest.raises(DataError, match=r"needs .* GiB of memory, and 0.1 are allowed"):
        prepared(data, job(), cache_dir=tmp_path / "cache", memory_budget_bytes=100 << 20)


def test_a_full_day_at_500_hz_needs_more_memory_than_a_night_at_100():
    assert peak_bytes(".bdf", 10**9) > peak_bytes(".bdf", 10**8) > 10**8


def test_unused_entries_are_evicted_oldest_first_down_to_the_limit(data, tmp_path):
    cache = tmp_path / "cache"
    found = prepared(data, job(), cache_dir=cache)
    keys = [path.parent.name for path in found.train.signals.paths]
    for age, key in enumerate(keys):
        os.utime(cache / "signals" / key, (1000 + age, 1000 + age))
    found.lease.close()
    size = (cache / "signals" / keys[0] / "signal.f32").stat().st_size
    result = evict(cache, limit_bytes=3 * size)
    assert result.kept_bytes <= 3 * size
    assert set(entries(cache)) < set(keys)
    assert keys[0] not in entries(cache)
    assert keys[-1] in entries(cache)


def test_entries_in_use_are_not_evicted(data, tmp_path):
    cache = tmp_path / "cache"
    found = prepared(data, job(), cache_dir=cache)
    assert evict(cache, 0).entries == 0
    assert len(found.train.gather([0])) == 1
    found.lease.close()
    assert evict(cache, 0).kept_bytes == 0
    assert entries(cache) == []


def test_a_lease_ends_with_its_process(data, tmp_path):
    cache = tmp_path / "cache"
    spec = job()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_prepare_and_die, args=(spec, sources(data, spec), data, cache))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert len(list((cache / "leases").iterdir())) == 1
    assert evict(cache, 0).kept_bytes == 0
    assert list((cache / "leases").iterdir()) == []


def _prepare_and_die(spec, sources, data_dir, cache_dir):
    prepare(spec, sources, data_dir, cache_dir, workers=1)
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_was_evicted_is_built_again(data, tmp_path):
    cache = tmp_path / "cache"
    first = prepared(data, job(), cache_dir=cache)
    before = first.train.gather([0, 1])
    first.lease.close()
    evict(cache, 0)
    second = prepared(data, job(), cache_dir=cache)
    assert second.digest == first.digest
    np.testing.assert_array_equal(second.train.gather([0, 1]), before)
    np.testing.assert_array_equal(first.train.gather([0, 1]), before)  # open maps outlive their file


def test_leftovers_of_killed_builders_are_removed(data, tmp_path):
    cache = tmp_path / "cache"
    Store(cache)
    (cache / "signals" / (".building-" + "ab" * 16)).mkdir()
    evict(cache, 10**12)
    assert entries(cache) == []


def test_a_damaged_entry_fails_with_a_remedy(data, tmp_path):
    found = prepared(data, job(), cache_dir=tmp_path / "cache")
    path = found.train.signals.paths[int(found.train.recording[0])]
    with path.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(DataError, match="remove the cache folder"):
        found.train.gather([0])
