"""One recording in every format that is read: the same windows, from BIDS folders and from files side by side."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from jobs.datasets import scan
from tests.data_factory import SHARED, job, prepared, small
from worker.data.reading import open_signal, read_microvolts
from worker.data.simulate.bdf import HEADER_BYTES
from worker.data.simulate.defects import write_brainvision

SPAN_UV = 1000


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("formats") / "data"
    small(folder / "demo", subjects=3, tasks=("contrastChangeDetection",))
    return folder


def write_edf(path: Path, eeg: np.ndarray, sfreq: int, ch_names: tuple[str, ...]) -> None:
    """See https://www.edfplus.info/specs/edf.html."""
    n_chans, n_records = len(eeg), eeg.shape[1] // sfreq
    whole = [("0", 8), ("", 80), ("", 80), ("01.01.25", 8), ("00.00.00", 8), (HEADER_BYTES * (n_chans + 1), 8)]
    whole += [("", 44), (n_records, 8), (1, 8), (n_chans, 4)]
    each = [(name, 16) for name in ch_names] + [("", 80)] * n_chans + [("uV", 8)] * n_chans
    for value in (-SPAN_UV, SPAN_UV, -32767, 32767):
        each += [(value, 8)] * n_chans
    each += [("", 80)] * n_chans + [(sfreq, 8)] * n_chans + [("", 32)] * n_chans
    header = "".join(str(value).ljust(width) for value, width in [*whole, *each]).encode("ascii")
    steps = np.rint(eeg * 32767 / SPAN_UV).astype("<i2")
    path.write_bytes(header + steps.reshape(n_chans, n_records, sfreq).transpose(1, 0, 2).tobytes())


def write_set(path: Path, eeg: np.ndarray, sfreq: int, ch_names: tuple[str, ...]) -> None:
    """EEGLAB's file with the signal in it."""
    from scipy.io import savemat

    labels = np.array([(name,) for name in ch_names], dtype=[("labels", object)])
    n_chans, n_times = eeg.shape
    savemat(
        path,
        {"EEG": {"setname": "x", "nbchan": n_chans, "pnts": n_times, "trials": 1, "srate": float(sfreq), "xmin": 0.0,
                 "xmax": (n_times - 1) / sfreq, "ref": "Cz", "data": eeg, "chanlocs": labels, "event": [],
                 "icawinv": [], "icasphere": [], "icaweights": [], "icaact": [], "epoch": []}},
    )  # fmt: skip


WRITERS = {".edf": write_edf, ".vhdr": write_brainvision, ".set": write_set}


def converted(simulated: Path, into: Path, suffix: str) -> Path:
    data = Path(shutil.copytree(simulated, into))
    for path in data.glob("demo/sub-*/eeg/*_eeg.bdf"):
        header = open_signal(path)
        eeg = read_microvolts(header, header.ch_names)
        WRITERS[suffix](path.with_suffix(suffix), eeg, round(header.sfreq), header.ch_names)
        path.unlink()
    return data


@pytest.mark.parametrize("suffix", list(WRITERS))
def test_every_format_gives_the_same_windows(simulated, tmp_path, suffix):
    expected = prepared(simulated, job())
    found = prepared(converted(simulated, tmp_path / "data", suffix), job())
    assert found.preflight.counts == expected.preflight.counts
    np.testing.assert_array_equal(found.train.start, expected.train.start)
    np.testing.assert_array_equal(found.train.target, expected.train.target)
    rows = np.arange(len(found.train))
    np.testing.assert_allclose(found.train.gather(rows), expected.train.gather(rows), atol=SPAN_UV / 32767)


@pytest.mark.parametrize("suffix", list(WRITERS))
def test_half_a_file_is_named_in_every_format(simulated, tmp_path, suffix):
    data = converted(simulated, tmp_path / "data", suffix)
    path = min(data.glob(f"demo/sub-*/eeg/*_eeg{suffix}"))
    signal = path.with_suffix(".eeg") if suffix == ".vhdr" else path
    with signal.open("r+b") as file:
        file.truncate(signal.stat().st_size // 2 + 1)
    report = prepared(data, job(preflight={"max_dropped": 1.0})).preflight
    broken = [row for row in report.recordings if row["status"] == "failed"]
    assert [row["name"] for row in broken] == [f"demo/{path.stem.removesuffix('_eeg')}"]
    assert {finding["check"] for finding in broken[0]["findings"]} & {"truncated", "unreadable"}


def test_files_side_by_side_are_a_subject_each(simulated, tmp_path):
    folder = tmp_path / "data" / "lab"
    folder.mkdir(parents=True)
    originals = sorted(simulated.glob("demo/sub-*/eeg/*_eeg.bdf"))
    for name, path in zip(("anna", "ben", "carla"), originals, strict=True):
        shutil.copy(path, folder / f"{name}.bdf")
        shutil.copy(path.with_name(path.name.replace("_eeg.bdf", "_events.tsv")), folder / f"{name}_events.tsv")
    assert [dataset.name for dataset in scan(tmp_path / "data")] == ["all", "lab"]
    found = prepared(tmp_path / "data", job(dataset="lab", windows={"bids_tasks": []}))
    assert found.train.subjects == ("anna", "ben", "carla")
    assert found.preflight.counts["windows"] == prepared(simulated, job()).preflight.counts["windows"]


@pytest.mark.skipif(not SHARED.exists(), reason="REAL EEG NOT FOUND: set EEGQ_SHARED_DATA")
def test_a_real_recording_is_found_without_bids(tmp_path):
    shutil.copytree(SHARED / "eeglab-sample", tmp_path / "data" / "eeglab-sample")
    rules = {"kind": "events", "mapping": {"stimulus": ["square"], "response": ["rt"]}, "size_s": 1.0}
    spec = job().model_validate({"task": {**rules, "sfreq": None, "channels": "all"}, "dataset": "eeglab-sample"})
    found = prepared(tmp_path / "data", spec)
    assert len(found.train) + len(found.validation) == 74
    assert (found.train.n_chans, found.sfreq) == (32, 128.0)
