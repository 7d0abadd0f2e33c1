import mne
import numpy as np
import pytest

from jobs.spec import HBN_CHANNELS
from tests.data_factory import FEW_CHANNELS, job, prepared, real_metadata, small
from worker.data.simulate import simulate
from worker.data.simulate.bdf import write_bdf
from worker.data.simulate.defects import Defect, plant


def files(root):
    return {path.relative_to(root): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    first, second = files(small(tmp_path / "a")), files(small(tmp_path / "b"))
    assert first == second
    assert files(small(tmp_path / "c", seed=1)).values() != first.values()


def test_a_larger_dataset_begins_with_the_same_subjects(tmp_path):
    few, more = files(small(tmp_path / "few", subjects=2)), files(small(tmp_path / "more", subjects=3))
    signals = [path for path in few if path.suffix == ".bdf"]
    assert len(signals) == 4
    assert all(more[path] == few[path] for path in signals)


def test_a_recording_has_the_layout_of_hbn(tmp_path):
    simulate(tmp_path / "demo", subjects=1, runs=1, trials=2, rest_s=5)
    raw = mne.io.read_raw_bdf(next((tmp_path / "demo").glob("sub-*/eeg/*RestingState_eeg.bdf")), verbose="error")
    assert (tuple(raw.ch_names), raw.info["sfreq"], raw.n_times) == (HBN_CHANNELS, 100.0, 500)
    volts = raw.get_data()
    assert (volts[-1] == 0).all()  # Cz is the reference
    assert 1e-6 < np.median(volts[:-1].std(axis=1)) < 1e-4
    names = {path.name.split("_", 1)[1] for path in next((tmp_path / "demo").glob("sub-*/eeg")).iterdir()}
    assert {"task-RestingState_events.tsv", "task-contrastChangeDetection_run-1_channels.tsv"} < names


def test_written_microvolts_are_read_back_to_a_nanovolt(tmp_path):
    signal = np.array([np.linspace(-7999, 7999, 200), np.zeros(200)], np.float32)
    write_bdf(tmp_path / "x.bdf", signal, 100, ("E1", "Cz"))
    read = mne.io.read_raw_bdf(tmp_path / "x.bdf", verbose="error").get_data() * 1e6
    assert np.abs(read - signal).max() < 1.1e-3
    assert (read[1] == 0).all()


def test_the_spectrum_falls_and_has_alpha(tmp_path):
    simulate(tmp_path / "demo", subjects=1, tasks=("RestingState",), rest_s=120)
    raw = mne.io.read_raw_bdf(next((tmp_path / "demo").glob("sub-*/eeg/*.bdf")), verbose="error")
    power = np.abs(np.fft.rfft(raw.get_data() * 1e6, axis=1)).mean(axis=0)
    frequency = np.fft.rfftfreq(raw.n_times, 0.01)

    def at(low: float, high: float) -> float:
        return power[(frequency >= low) & (frequency < high)].mean()

    assert at(1, 3) > 2 * at(30, 45)
    assert at(9.7, 10.3) > 1.5 * at(13, 16)


def _ridge_nrmse(train_x, train_y, x, y) -> float:
    mean, sd = train_x.mean(axis=0), train_x.std(axis=0) + 1e-6
    train_x, x = (train_x - mean) / sd, (x - mean) / sd
    weights = np.linalg.solve(train_x.T @ train_x + 100 * np.eye(x.shape[1]), train_x.T @ (train_y - train_y.mean()))
    return float(np.sqrt(np.mean((x @ weights + train_y.mean() - y) ** 2)) / y.std())


def _waves(index) -> np.ndarray:
    x = index.gather(np.arange(len(index)))
    return x.reshape(len(x), index.n_chans, 10, -1).mean(axis=-1).reshape(len(x), -1)


def _alpha(index) -> np.ndarray:
    spectrum = np.abs(np.fft.rfft(index.gather(np.arange(len(index))), axis=-1))
    return np.log(spectrum[:, :, 18:23].mean(axis=-1) + 1)


@pytest.mark.parametrize(("task", "features"), [("challenge1", _waves), ("challenge2", _alpha)])
def test_a_linear_model_finds_the_trace_and_nothing_without_it(tmp_path, task, features):
    score = {}
    for effect in (0.0, 1.0):
        data = tmp_path / f"effect{effect}" / "data"
        small(data / "demo", subjects=24, trials=12, rest_s=20, effect=effect, ch_names=[f"E{i}" for i in range(12)])
        spec = job(task, windows={"channels": "all"}, validation={"by": "subject", "fraction": 0.34})
        found = prepared(data, spec, workers=2)
        train, validation = found.train, found.validation
        score[effect] = _ridge_nrmse(features(train), train.target, features(validation), validation.target)
    assert score[1.0] < 0.85
    assert score[0.0] > 0.95


def test_real_events_and_traits_carry_simulated_signals(tmp_path):
    root = real_metadata("R1", tmp_path)
    made = simulate(tmp_path / "data" / "R1", subjects=3, events_from=root, ch_names=FEW_CHANNELS)
    assert made.subjects == 3
    for path in (tmp_path / "data" / "R1").glob("sub-*/eeg/*contrast*_events.tsv"):
        real = (root / path.relative_to(tmp_path / "data" / "R1")).read_text().splitlines()
        simulated = path.read_text().splitlines()
        assert [line.split("\t")[0] for line in simulated] == [line.split("\t")[0] for line in real]
        assert [line.split("\t")[3] for line in simulated] == [line.split("\t")[3] for line in real]
    found = prepared(tmp_path / "data", job(dataset="r1"))
    assert found.preflight.counts["windows"] == len(found.train) + len(found.validation) > 50


def test_too_few_recordings_for_the_defects_are_refused(tmp_path):
    with pytest.raises(ValueError, match="need more"):
        plant(small(tmp_path / "demo", subjects=2), [Defect.NAN, Defect.TRUNCATED])
