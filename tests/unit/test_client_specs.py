"""Spec files: settings by path, seeds and groups, differences; and the comparison made of them."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from eegq import specs
from eegq.comparison import compare
from eegq.errors import UsageError
from eegq.resources import Job

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.json"))


@pytest.mark.parametrize(
    ("setting", "spec"),
    [
        ("training.lr=1e-4", {"training": {"lr": 1e-4}}),
        ("model=EEGNet", {"model": "EEGNet"}),
        ("training.deterministic=true", {"training": {"deterministic": True}}),
        ("training.gradient_clip=null", {"training": {"gradient_clip": None}}),
        ('tags=["a", "b"]', {"tags": ["a", "b"]}),
        ("metadata.note=a=b", {"metadata": {"note": "a=b"}}),
    ],
)
def test_a_setting_reaches_its_field(setting: str, spec: dict[str, Any]) -> None:
    assert specs.with_settings({}, [setting]) == spec


def test_a_setting_below_a_name_keeps_the_name() -> None:
    spec = specs.with_settings({"model": "EEGNeX"}, ["model.params.activation=elu", "dataset.subjects=3"])
    assert spec == {"model": {"name": "EEGNeX", "params": {"activation": "elu"}}, "dataset": {"subjects": 3}}


def test_settings_leave_the_spec_they_were_given_alone() -> None:
    spec = {"training": {"lr": 1}}
    specs.with_settings(spec, ["training.lr=2"])
    assert spec == {"training": {"lr": 1}}


@pytest.mark.parametrize("setting", ["lr", "=3", "seed.x=1"])
def test_a_setting_that_makes_no_sense_is_refused(setting: str) -> None:
    with pytest.raises(UsageError, match="--set"):
        specs.with_settings({"seed": 1}, [setting])


def test_seeds_make_one_job_each_all_in_the_group() -> None:
    made = list(specs.with_seeds({"tags": ["x"]}, "1-3,7", "low-lr"))
    assert [spec["seed"] for spec in made] == [1, 2, 3, 7]
    assert {tuple(spec["tags"]) for spec in made} == {("x", "group:low-lr")}
    assert list(specs.with_seeds({"seed": 9}, None, None)) == [{"seed": 9}]


@pytest.mark.parametrize("seeds", ["a", "1-", "-3", "1-b"])
def test_seeds_that_are_none_are_refused(seeds: str) -> None:
    with pytest.raises(UsageError, match="1-5"):
        specs.parse_seeds(seeds)


def test_a_spec_is_read_from_a_file_or_from_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "spec.json"
    file.write_text('{"seed": 3}')
    monkeypatch.setattr("sys.stdin", io.StringIO('{"seed": 4}'))
    assert [specs.read(str(file)), specs.read("-"), specs.read(None)] == [{"seed": 3}, {"seed": 4}, {}]


@pytest.mark.parametrize("content", ["{", "[]", None])
def test_a_spec_file_that_is_none_is_refused_by_name(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "spec.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError, match=r"spec\.json"):
        specs.read(str(file))


def test_a_wrong_field_is_named_by_its_pointer() -> None:
    with pytest.raises(UsageError, match="/training/lr"):
        specs.resolved({"training": {"lr": -1}})


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_is_a_valid_spec(path: Path) -> None:
    specs.resolved(json.loads(path.read_text()))


def scored(seed: int, value: float | None, lr: float = 1e-3) -> Job:
    best = {"value": value, "baseline": 1.0} if value is not None else None
    spec = specs.resolved({"seed": seed, "training": {"lr": lr}, "tags": [f"run{seed}"]})
    return Job.model_validate({"id": f"job_{seed}", "status": "succeeded", "spec": spec, "best": best})


def test_a_group_shows_mean_and_spread_over_its_seeds() -> None:
    [row] = compare({"a": [scored(1, 0.9), scored(2, 1.1), scored(3, None)]})
    assert (row["jobs"], row["scored"]) == (3, 2)
    assert row["mean"] == pytest.approx(1.0)
    assert row["spread"] == pytest.approx(0.1414, abs=1e-4)
    assert (row["min"], row["max"], row["baseline"], row["spec"]) == (0.9, 1.1, 1.0, {})


def test_groups_show_the_fields_in_which_they_differ_and_nothing_else() -> None:
    rows = compare({"low": [scored(1, 0.9, lr=1e-4)], "high": [scored(1, 1.0, lr=1e-2)]})
    assert [row["spec"] for row in rows] == [{"training.lr": 1e-4}, {"training.lr": 1e-2}]


def test_a_group_of_several_specs_is_taken_apart() -> None:
    rows = compare({"a": [scored(1, 0.9, lr=1e-4), scored(1, 1.0, lr=1e-2), scored(2, 1.1, lr=1e-2)]})
    assert [(row["jobs"], row["spec"]["training.lr"]) for row in rows] == [(1, 1e-4), (2, 1e-2)]


def test_one_job_has_no_spread() -> None:
    [row] = compare({"a": [scored(1, 0.9)]})
    assert row["spread"] is None


def test_an_alert_is_an_address_or_a_format_and_an_address() -> None:
    spec = specs.with_alerts({}, ["https://a.org/x?text=1", "text=https://ntfy.sh/topic"])
    assert spec["alerts"] == [
        {"url": "https://a.org/x?text=1", "format": "json"}, {"url": "https://ntfy.sh/topic", "format": "text"},
    ]  # fmt: skip
    with pytest.raises(UsageError, match="write it as"):
        specs.with_alerts({}, ["xml=https://a.org"])


def test_an_alert_makes_no_difference_to_a_comparison() -> None:
    assert specs.differences([{"seed": 1}, specs.with_alerts({"seed": 1}, ["https://a.org"])]) == []
