"""The event files are TensorBoard's: its own reader reads them."""

import math

import pytest

from worker.export.charts import Charts
from worker.export.events import EventFile
from worker.training.reports import TerminalReports


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reader = EventAccumulator(str(folder))
    reader.Reload()
    return {tag: [(event.step, event.value) for event in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def test_scalars_come_back_by_name_and_step(tmp_path):
    file = EventFile(tmp_path)
    for step in (1, 300):
        file.add(step, {"loss/train": step / 8, "π": -0.5})
    assert read(tmp_path) == {"loss/train": [(1, 0.125), (300, 37.5)], "π": [(1, -0.5), (300, -0.5)]}


def test_an_attempt_that_resumed_replaces_what_came_after_its_checkpoint(tmp_path):
    lost, resumed = EventFile(tmp_path), EventFile(tmp_path)
    for step in (1, 2, 3):
        lost.add(step, {"loss": float(step)})
    for step in (2, 3):
        resumed.add(step, {"loss": step * 10.0})
    assert read(tmp_path)["loss"] == [(1, 1.0), (2, 20.0), (3, 30.0)]


def test_an_epoch_that_is_reported_is_drawn(tmp_path):
    charts = Charts(TerminalReports(tmp_path / "metrics.jsonl"), tmp_path / "tensorboard")
    told = {"epoch": 3, "train_loss": 0.5, "val_nrmse": None, "baseline": 1.0, "lr": 1e-3, "step": 12}
    charts.tell("metrics", **told)
    charts.tell("progress", epoch=3)
    drawn = read(tmp_path / "tensorboard")
    assert drawn.keys() == {"loss/train", "nrmse/training_mean", "lr"}, "a score that is not finite is left out"
    assert drawn["lr"] == [(3, pytest.approx(1e-3))]


def test_no_disk_for_charts_is_no_disaster(tmp_path):
    (tmp_path / "tensorboard").write_text("a file where the folder should be")
    charts = Charts(TerminalReports(tmp_path / "metrics.jsonl"), tmp_path / "tensorboard")
    charts.tell("metrics", epoch=1, train_loss=math.pi, val_nrmse=1.0, baseline=1.0, lr=1.0)
    assert "3.14" in (tmp_path / "metrics.jsonl").read_text()
