from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from jobs import spec
from worker.data.errors import DataError, StepFailed
from worker.data.preprocess import Signal, apply, resample, source_digest, sources_of

STEPS = TypeAdapter(tuple[spec.PreprocessStep, ...])
NAMES = ("E1", "E2", "E3", "Cz")


@pytest.fixture
def signal() -> Signal:
    """10 s at 100 Hz of 2 Hz and 30 Hz with an offset; Cz is zero."""
    time_s = np.arange(1000) / 100
    wave = 20 * np.sin(2 * np.pi * 2 * time_s) + 10 * np.sin(2 * np.pi * 30 * time_s) + 5
    return Signal(np.array([wave, 2 * wave, 3 * wave, 0 * wave], np.float32), 100.0, NAMES)


def after(signal: Signal, *steps: dict, steps_dir: Path | None = None) -> Signal:
    return apply(signal, STEPS.validate_python(steps), steps_dir)


def amplitude(x: np.ndarray, sfreq: float, hz: float) -> float:
    return float(2 * np.abs(np.fft.rfft(x))[round(hz * len(x) / sfreq)] / len(x))


def test_a_filter_keeps_its_band(signal):
    found = after(signal, {"step": "filter", "l_freq": 0.5, "h_freq": 15}).x[0]
    assert amplitude(found, 100, 2) == pytest.approx(20, rel=0.05)
    assert amplitude(found, 100, 30) < 0.1


def test_average_reference_leaves_no_mean(signal):
    assert np.abs(after(signal, {"step": "rereference"}).x.mean(axis=0)).max() < 1e-4


def test_reference_to_channels_zeroes_their_mean(signal):
    found = after(signal, {"step": "rereference", "channels": ["E1", "E2"]}).x
    assert np.abs(found[:2].mean(axis=0)).max() < 1e-4


def test_clip_limits_both_sides(signal):
    found = after(signal, {"step": "clip", "limit_uv": 12}).x
    assert (found.min(), found.max()) == (-12, 12)


def test_zscore_by_channel_and_by_recording(signal):
    each = after(signal, {"step": "zscore", "by": "channel"}).x
    np.testing.assert_allclose(each[:3].std(axis=1), 1, rtol=1e-4)
    whole = after(signal, {"step": "zscore", "by": "recording"}).x
    assert whole.std() == pytest.approx(1, rel=1e-4)
    assert whole[2].std() > whole[0].std()


def test_zscore_leaves_a_flat_channel_at_zero(signal):
    assert (after(signal, {"step": "zscore"}).x[3] == 0).all()


def test_pick_takes_channels_in_order(signal):
    found = after(signal, {"step": "pick", "channels": ["Cz", "E2"]})
    assert found.ch_names == ("Cz", "E2")
    np.testing.assert_array_equal(found.x[1], signal.x[1])


def test_resample_keeps_time_and_content(signal):
    found = after(signal, {"step": "resample", "sfreq": 80})
    assert (found.sfreq, found.x.shape) == (80, (4, 800))
    assert amplitude(found.x[0], 80, 2) == pytest.approx(20, rel=0.02)
    assert resample(signal, 100.0) is signal


def test_the_order_of_steps_counts(signal):
    pick, reference = {"step": "pick", "channels": ["E1", "Cz"]}, {"step": "rereference"}
    assert not np.allclose(after(signal, pick, reference).x, after(signal, reference, pick).x)


def test_a_custom_step_is_called_with_the_signal_its_rate_and_its_parameters(signal, tmp_path):
    (tmp_path / "unit_steps.py").write_text("def scaled(x, sfreq, by):\n    return x * by + sfreq\n")
    found = after(signal, {"step": "custom", "function": "unit_steps:scaled", "params": {"by": 2}}, steps_dir=tmp_path)
    np.testing.assert_allclose(found.x, signal.x * 2 + 100)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return 1 / 0", "ZeroDivisionError"),
        ("return x[:, ::2]", r"returned shape \(4, 500\) for \(4, 1000\)"),
        ("return x * float('nan')", "NaN or infinity"),
        ("return 'no signal'", "ValueError"),
    ],
)
def test_a_custom_step_that_fails_is_named(signal, tmp_path, body, message):
    name = f"bad_{abs(hash(body))}"
    (tmp_path / f"{name}.py").write_text(f"def fn(x, sfreq):\n    {body}\n")
    with pytest.raises(StepFailed, match=message) as caught:
        after(signal, {"step": "custom", "function": f"{name}:fn"}, steps_dir=tmp_path)
    if "ZeroDivisionError" in message:
        assert f'{name}.py", line 2' in caught.value.details


def test_the_source_of_custom_steps_is_part_of_the_key(tmp_path):
    steps = STEPS.validate_python([{"step": "custom", "function": "my_steps:fn"}])
    (tmp_path / "my_steps.py").write_text("from my_parts import gain")
    (tmp_path / "my_parts.py").write_text("gain = 1")
    before = source_digest(sources_of(steps, tmp_path))
    (tmp_path / "my_parts.py").write_text("gain = 2")
    assert source_digest(sources_of(steps, tmp_path)) != before
    assert set(sources_of(steps, tmp_path)) == {"my_steps.py", "my_parts.py"}
    assert sources_of((), tmp_path) == {}


def test_custom_steps_need_a_mounted_folder_and_the_file(tmp_path):
    steps = STEPS.validate_python([{"step": "custom", "function": "my_steps:fn"}])
    with pytest.raises(DataError, match="off here"):
        sources_of(steps, None)
    with pytest.raises(DataError, match=r"no my_steps\.py"):
        sources_of(steps, tmp_path)


def test_a_step_on_a_channel_that_is_not_there_is_a_data_error(signal):
    with pytest.raises(DataError, match="no channel E9"):
        after(signal, {"step": "pick", "channels": ["E9"]})
