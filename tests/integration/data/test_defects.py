"""Every known defect, alone and all together: named in the report, nothing crashes, no window changes in silence."""

import json
import shutil
from functools import partial
from itertools import combinations
from pathlib import Path

import pytest

from tests import data_factory
from tests.data_factory import FEW_CHANNELS, job, row, small
from worker.data.errors import DataError
from worker.data.preflight import PreflightReport
from worker.data.simulate.defects import Defect, damage, plant

DROPPED = {
    Defect.NAN: "not_finite",
    Defect.FLAT_SIGNAL: "flat",
    Defect.WRONG_COUNT: "channels",
    Defect.WRONG_UNIT: "units",
    Defect.TRUNCATED: "truncated",
    Defect.NOT_EEG: "unreadable",
    Defect.MISSING_SIGNAL: "signal_missing",
    Defect.MISSING_EVENTS: "events_missing",
    Defect.NA_ONSETS: "event_onset",
    Defect.DUPLICATE_RECORDING: "duplicate_recording",
    Defect.NO_MATCHING_EVENTS: "no_trials",
}
KEPT = {
    Defect.FLAT_CHANNEL: "flat",
    Defect.SATURATED_CHANNEL: "saturated",
    Defect.MISSING_SIDECAR: "sidecar_missing",
    Defect.EVENTS_PAST_END: "event_outside",
    Defect.NA_DURATIONS: "event_duration",
    Defect.UNSORTED_EVENTS: "event_order",
    Defect.DUPLICATE_EVENTS: "event_duplicate",
}
LENIENT = {"max_dropped": 1.0}

# As they are planted one after the other; nothing can be told of a file that is no longer there.
NO_FILE = (Defect.NOT_EEG, Defect.MISSING_SIGNAL)
OF_SIGNAL = (Defect.FLAT_CHANNEL, Defect.FLAT_SIGNAL, Defect.SATURATED_CHANNEL, Defect.WRONG_UNIT, Defect.WRONG_COUNT)
OF_EVENTS = (
    Defect.EVENTS_PAST_END, Defect.NA_DURATIONS, Defect.UNSORTED_EVENTS, Defect.DUPLICATE_EVENTS, Defect.NA_ONSETS,
    Defect.NO_MATCHING_EVENTS,
)  # fmt: skip
IN_ORDER = (
    *OF_EVENTS, Defect.MISSING_EVENTS, Defect.MISSING_SIDECAR, Defect.DUPLICATE_RECORDING, *OF_SIGNAL,
    Defect.TRUNCATED, Defect.NAN, *NO_FILE,
)  # fmt: skip
HIDES = {
    **dict.fromkeys(OF_SIGNAL, NO_FILE),
    **dict.fromkeys(OF_EVENTS, (Defect.MISSING_EVENTS,)),
    Defect.FLAT_CHANNEL: (Defect.FLAT_SIGNAL, Defect.SATURATED_CHANNEL, Defect.WRONG_COUNT, *NO_FILE),
    Defect.FLAT_SIGNAL: (Defect.SATURATED_CHANNEL, Defect.WRONG_UNIT, *NO_FILE),
    Defect.SATURATED_CHANNEL: (Defect.WRONG_UNIT, Defect.WRONG_COUNT, *NO_FILE),
    Defect.DUPLICATE_EVENTS: (Defect.NO_MATCHING_EVENTS, Defect.MISSING_EVENTS),
    Defect.DUPLICATE_RECORDING: (*OF_SIGNAL, Defect.TRUNCATED, Defect.NAN, *NO_FILE),
    Defect.TRUNCATED: (Defect.NAN, *NO_FILE),
    Defect.NAN: NO_FILE,
    Defect.NOT_EEG: NO_FILE,
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """Shared, so that a copy of the dataset costs only what was damaged in it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def checked(cache):
    return partial(data_factory.checked, cache_dir=cache)


@pytest.fixture
def prepared(cache):
    return partial(data_factory.prepared, cache_dir=cache)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """24 recordings: one sound, and one for each defect."""
    folder = tmp_path_factory.mktemp("defects") / "data"
    small(folder / "demo", subjects=12, runs=2, trials=5, tasks=("contrastChangeDetection",))
    return folder


@pytest.fixture(scope="module")
def clean_report(sound, cache) -> PreflightReport:
    return data_factory.checked(sound, job(), cache)


def copy(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "data"))


def signal(data: Path, n: int = 5) -> Path:
    return sorted((data / "demo").glob("sub-*/eeg/*_eeg.bdf"))[n]


def windows(report: PreflightReport, without: str = "") -> dict[str, int]:
    return {row["name"]: row["windows"] for row in report.recordings if not (without and row["name"].endswith(without))}


def assert_accounted_for(report: PreflightReport) -> None:
    for one in report.recordings:
        assert one["windows"] == one["trials"] - sum(one["trial_drops"].values())


def test_a_sound_dataset_has_nothing_to_report_but_its_durations(clean_report):
    assert set(clean_report.findings) == {"event_duration"}
    assert clean_report.counts["kept"] == 24


@pytest.mark.parametrize("defect", list(Defect))
def test_a_defect_alone_is_named_and_changes_no_other_recording(sound, clean_report, tmp_path, defect, checked):
    data = copy(sound, tmp_path)
    path = signal(data)
    stem = path.name.removesuffix("_eeg.bdf")
    damage(path, defect)
    report = checked(data, job())
    found = row(report, stem)
    assert (DROPPED | KEPT)[defect] in {finding["check"] for finding in found["findings"]}
    assert found["status"] == ("failed" if defect in DROPPED else "kept")
    assert windows(report, without=stem) == windows(clean_report, without=stem)
    assert_accounted_for(report)
    if defect in KEPT:
        assert found["windows"] == row(clean_report, stem)["windows"]


def test_all_defects_together_are_each_named(sound, clean_report, tmp_path, prepared):
    data = copy(sound, tmp_path)
    planted = plant(data / "demo", list(Defect))
    assert set(planted) == set(Defect) == set(DROPPED | KEPT)
    found = prepared(data, job(preflight=LENIENT))
    report = found.preflight
    for defect, stem in planted.items():
        checks = {finding["check"] for finding in row(report, stem)["findings"]}
        assert (DROPPED | KEPT)[defect] in checks, defect
    assert report.counts["failed"] == len(DROPPED)
    assert_accounted_for(report)
    sound_stems = [row["name"] for row in report.recordings if row["status"] == "kept"]
    assert sum(windows(clean_report)[name] for name in sound_stems) == report.counts["windows"]
    assert len(found.train) + len(found.validation) == report.counts["windows"]


def test_any_two_defects_in_one_recording_are_both_named(tmp_path, checked):
    pairs = [(first, second) for first, second in combinations(IN_ORDER, 2) if second not in HIDES.get(first, ())]
    small(
        tmp_path / "data" / "demo", subjects=len(pairs) // 3 + 2, runs=3, trials=5, tasks=("contrastChangeDetection",)
    )
    stems = {}
    paths = sorted((tmp_path / "data" / "demo").glob("sub-*/eeg/*_eeg.bdf"))[1:]
    for pair, path in zip(pairs, paths, strict=False):
        stems[pair] = path.name.removesuffix("_eeg.bdf")
        for defect in pair:
            damage(path, defect)
    report = checked(tmp_path / "data", job())
    rows = {one["name"].removeprefix("demo/"): one for one in report.recordings}
    for pair, stem in stems.items():
        found = {finding["check"] for finding in rows[stem]["findings"]}
        assert {(DROPPED | KEPT)[defect] for defect in pair} <= found, pair
        assert rows[stem]["status"] == ("failed" if set(pair) & set(DROPPED) else "kept"), pair
    assert_accounted_for(report)


def test_strict_fails_on_the_first_defect_with_recording_event_and_remedy(sound, tmp_path, prepared):
    data = copy(sound, tmp_path)
    damage(signal(data), Defect.NA_ONSETS)
    with pytest.raises(DataError) as caught:
        prepared(data, job(preflight={"strict": True}))
    error = caught.value
    assert error.recording == f"demo/{signal(data).name.removesuffix('_eeg.bdf')}"
    assert error.event == "row 4: right_target at n/a" or error.event == "row 4: left_target at n/a"
    assert "write the onset" in str(error)


def test_more_defects_than_allowed_fail_the_job(sound, tmp_path, prepared):
    data = copy(sound, tmp_path)
    plant(data / "demo", [Defect.NAN, Defect.TRUNCATED, Defect.NOT_EEG])
    assert prepared(data, job(preflight={"max_dropped": 0.125})).preflight.counts["failed"] == 3
    with pytest.raises(DataError, match="3 of 24 recordings fail, more than max_dropped"):
        prepared(data, job(preflight={"max_dropped": 0.12}))


def test_nothing_but_defects_fails_with_the_reasons(sound, tmp_path, prepared):
    data = copy(sound, tmp_path)
    for n in range(24):
        damage(signal(data, n), Defect.NOT_EEG)
    with pytest.raises(DataError, match="no recording is left: 24 x the header is damaged"):
        prepared(data, job(preflight=LENIENT))


def test_a_bad_recording_is_not_read_again_by_the_next_job(sound, tmp_path, checked, prepared):
    data = copy(sound, tmp_path)
    damage(signal(data), Defect.NAN)
    checked(data, job())
    prepared(data, job(), report=lambda phase, detail: pytest.fail("a recording was read again"))


def test_a_repaired_recording_comes_back(sound, tmp_path, checked):
    data = copy(sound, tmp_path)
    path = signal(data)
    whole = path.read_bytes()
    damage(path, Defect.TRUNCATED)
    assert checked(data, job()).counts["failed"] == 1
    path.write_bytes(whole)
    assert checked(data, job()).counts["failed"] == 0


def test_a_recording_shorter_than_a_window_is_dropped(tmp_path, checked):
    data = tmp_path / "data"
    small(data / "demo", subjects=4, rest_s=12)
    short = max((data / "demo").glob("sub-*/eeg/*RestingState_eeg.bdf"))
    small(tmp_path / "other" / "demo", subjects=1, rest_s=3)
    shutil.copy(next((tmp_path / "other").glob("**/*RestingState_eeg.bdf")), short)
    report = checked(data, job("challenge2"))
    assert row(report, short.name.removesuffix("_eeg.bdf"))["findings"][-1]["check"] == "too_short"
    assert report.counts["kept"] == 3


def test_subjects_on_the_start_kits_list_are_left_out_by_name(tmp_path, checked):
    data = tmp_path / "data"
    root = small(data / "demo", subjects=3)
    old = sorted(root.glob("sub-*"))[0].name
    for path in sorted(root.glob(f"{old}/eeg/*")):
        path.rename(path.with_name(path.name.replace(old, "sub-NDARWV769JM7")))
    (root / old).rename(root / "sub-NDARWV769JM7")
    spec = job().model_copy(update={"task": "challenge1"})  # the list belongs to the challenge itself
    report = checked(data, spec)
    assert [r["findings"][0]["check"] for r in report.recordings if r["status"] == "excluded"] == ["listed"]
    assert checked(data, job()).counts["excluded"] == 0


def test_the_report_is_plain_json_and_a_page_with_pictures(sound, tmp_path, prepared):
    data = copy(sound, tmp_path)
    plant(data / "demo", [Defect.NAN, Defect.FLAT_CHANNEL])
    report = prepared(data, job(preflight=LENIENT)).preflight
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["counts"]["failed"] == 1
    page = report.to_html()
    assert page.count("<svg") == 4
    assert "NaN or infinite" in page
    assert f"{len(FEW_CHANNELS)} channels are flat" in page


def test_the_page_shows_names_as_text(tmp_path):
    report = PreflightReport(
        recordings=({"name": "<script>", "status": "failed", "trials": 0, "windows": 0, "findings": []},),
        counts={"recordings": 1, "kept": 0, "failed": 1, "excluded": 0, "subjects": 0, "windows": 0, "trials": 0},
        findings={}, trial_drops={}, target={"name": "y", "n": 0}, channels={},
    )  # fmt: skip
    assert "<script>" not in report.to_html()
