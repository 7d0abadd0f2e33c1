"""The record against reboot loops: what a card was doing when the machine went down."""

import subprocess
import sys
from pathlib import Path

import pytest

from worker.devices.bootrecord import BootRecords


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "boot"


def before_the_crash(folder: Path) -> BootRecords:
    return BootRecords(folder, boot="first boot")


def after_the_crash(folder: Path) -> BootRecords:
    return BootRecords(folder, boot="second boot")


def test_a_boot_that_ended_inside_a_test_is_found(folder):
    before_the_crash(folder).begin("cuda:0", "its device tests")
    (record,) = after_the_crash(folder).crashes("cuda:0")
    assert str(record) == "the machine went down during its device tests"
    assert not record.reported


def test_a_test_that_ended_leaves_nothing(folder):
    with before_the_crash(folder).during("cuda:0", "its device tests"):
        assert list(folder.iterdir())
    assert list(folder.iterdir()) == []


def test_a_test_that_raised_leaves_nothing(folder):
    with pytest.raises(ValueError), before_the_crash(folder).during("cuda:0", "its device tests"):
        raise ValueError
    assert after_the_crash(folder).crashes() == []


def test_a_record_of_this_boot_is_no_crash(folder):
    records = before_the_crash(folder)
    guard = records.begin("cuda:0", "job job_a")
    assert records.crashes() == []
    records.end(guard)


def test_a_process_that_died_alone_did_not_take_the_machine_with_it(folder):
    code = (
        "import os, sys; from pathlib import Path; from worker.devices.bootrecord import BootRecords;"
        "BootRecords(Path(sys.argv[1]), 'first boot').begin('cuda:0', 'job'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert len(list(folder.iterdir())) == 1
    assert before_the_crash(folder).crashes() == []  # seen within the same boot: removed
    assert after_the_crash(folder).crashes() == []


def test_a_record_in_use_is_not_taken_for_a_dead_processs(folder):
    records = before_the_crash(folder)
    guard = records.begin("cuda:0", "job job_a")
    before_the_crash(folder).crashes()
    assert len(after_the_crash(folder).crashes()) == 1
    records.end(guard)


def test_a_record_cut_short_by_the_crash_still_names_its_device(folder):
    folder.mkdir()
    (folder / "cuda-1.77.5.json").write_text('{"device": "cu')
    (record,) = after_the_crash(folder).crashes()
    assert record.device == "cuda:1"


def test_a_reported_crash_stays_until_a_person_clears_the_device(folder):
    before_the_crash(folder).begin("cuda:0", "job job_a")
    records = after_the_crash(folder)
    records.report("cuda:0")
    assert [r.reported for r in BootRecords(folder, "third boot").crashes("cuda:0")] == [True]
    records.forget("cuda:0")
    assert BootRecords(folder, "third boot").crashes() == []


def test_one_card_does_not_answer_for_another(folder):
    before_the_crash(folder).begin("cuda:1", "job job_a")
    assert after_the_crash(folder).crashes("cuda:0") == []
    after_the_crash(folder).forget("cuda:0")
    assert len(after_the_crash(folder).crashes("cuda:1")) == 1


@pytest.mark.parametrize("device", ["cpu", "standin:0"])
def test_only_real_accelerators_are_recorded(folder, device):
    assert before_the_crash(folder).begin(device, "job") is None
    assert not folder.exists()


def test_a_system_without_boot_ids_records_nothing(folder):
    assert BootRecords(folder, boot="").begin("cuda:0", "job") is None
