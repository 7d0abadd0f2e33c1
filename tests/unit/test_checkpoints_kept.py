"""Which checkpoints lie on the disk: never fewer than the job may resume from."""

from pathlib import Path

import pytest
import torch

from worker.training import checkpoint
from worker.training.errors import CheckpointDamaged

STATE = {"w": torch.ones(3)}


def written(folder: Path, *steps: int) -> checkpoint.Writer:
    writer = checkpoint.Writer(folder)
    for step in steps:
        writer.start(step, STATE, {"step": step})
        writer.wait()
    return writer


def kept(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def test_nothing_goes_before_it_is_confirmed_that_the_job_resumes_later(tmp_path: Path) -> None:
    written(tmp_path, 1, 2, 3)
    assert kept(tmp_path) == [1, 2, 3]


def test_behind_the_confirmed_one_a_single_older_one_stays(tmp_path: Path) -> None:
    writer = written(tmp_path, 1, 2, 3)
    writer.confirm(3)
    writer.start(4, STATE, {"step": 4})
    writer.wait()
    assert kept(tmp_path) == [2, 3, 4]


def test_the_writer_knows_when_nobody_confirms(tmp_path: Path) -> None:
    writer = written(tmp_path, 1, 2, 3)
    assert not writer.behind
    writer.start(4, STATE, {"step": 4})
    writer.wait()
    assert writer.behind
    writer.confirm(2)
    assert not writer.behind


def test_a_checkpoint_that_is_there_is_never_taken_away_to_be_written_again(tmp_path: Path) -> None:
    written(tmp_path, 1)
    inode = (tmp_path / "1").stat().st_ino
    written(tmp_path, 1)
    assert (tmp_path / "1").stat().st_ino == inode


def test_behind_a_damaged_one_the_older_one_is_read(tmp_path: Path) -> None:
    written(tmp_path, 1, 2)
    (tmp_path / "2" / "state.safetensors").write_bytes(b"torn")
    assert checkpoint.read_or_older(tmp_path / "2")[1]["step"] == 1
    (tmp_path / "1" / "state.json").unlink()
    with pytest.raises(CheckpointDamaged):
        checkpoint.read_or_older(tmp_path / "2")
