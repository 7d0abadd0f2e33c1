from pathlib import Path

import pytest

from jobs import spec
from jobs.datasets import Source, scan, select
from jobs.errors import UnknownDataset


def bids_root(path: Path) -> Path:
    (path / "sub-A" / "eeg").mkdir(parents=True)
    (path / "dataset_description.json").write_text("{}")
    return path


def names(data_dir: Path) -> list[str]:
    return [dataset.name for dataset in scan(data_dir)]


@pytest.mark.parametrize(
    ("folder", "release"),
    [
        ("ds005505", "R1"),
        ("ds005505-bdf", "R1"),
        ("ds005505-bdf-mini", "R1"),
        ("ds005512-bdf", "R8"),
        ("ds005514", "R9"),
        ("ds005516-bdf", "R11"),
        ("EEG2025r1mini", "R1"),
        ("EEG2025r11", "R11"),
        ("R1_mini_L100_bdf", "R1"),
        ("R10_L100", "R10"),
        ("ds005513", "ds005513"),
        ("our-lab-data", "our-lab-data"),
        ("error1", "error1"),
    ],
)
def test_a_release_is_known_from_its_folder(tmp_path, folder, release):
    bids_root(tmp_path / folder)
    assert scan(tmp_path)[0].sources == (Source(release, folder),)


def test_a_folder_of_several_roots_is_a_dataset_of_all_of_them(tmp_path):
    bids_root(tmp_path / "HBN" / "ds005505-bdf")
    bids_root(tmp_path / "HBN" / "ds005506-bdf")
    bids_root(tmp_path / "Demo Set")
    assert names(tmp_path) == ["all", "demo-set", "ds005505-bdf", "ds005506-bdf", "hbn"]
    hbn = next(dataset for dataset in scan(tmp_path) if dataset.name == "hbn")
    assert hbn.sources == (Source("R1", "HBN/ds005505-bdf"), Source("R2", "HBN/ds005506-bdf"))


def test_a_root_is_not_searched_for_further_roots(tmp_path):
    bids_root(bids_root(tmp_path / "study") / "derivatives" / "clean")
    assert names(tmp_path) == ["all", "study"]


def test_roots_deeper_than_four_folders_are_not_found(tmp_path):
    bids_root(tmp_path / "a" / "b" / "c" / "four")
    bids_root(tmp_path / "a" / "b" / "c" / "d" / "five")
    assert names(tmp_path) == ["all", "four"]


def test_equal_folder_names_get_different_names(tmp_path):
    bids_root(tmp_path / "x" / "bids")
    bids_root(tmp_path / "y" / "bids")
    bids_root(tmp_path / "all")
    found = names(tmp_path)
    assert len(set(found)) == len(found) == 4
    assert {"x-bids", "y-bids"} < set(found)
    everything = next(dataset for dataset in scan(tmp_path) if dataset.name == "all")
    assert len(everything.sources) == 3


def test_the_data_folder_may_be_a_root_itself(tmp_path):
    bids_root(tmp_path / "study")
    assert scan(tmp_path / "study")[1].sources == (Source("study", "."),)


def test_every_name_may_stand_in_a_spec(tmp_path):
    for folder in ("ds005505-bdf", "Ünïcode & spaces", "_x_", "L" * 100):
        bids_root(tmp_path / folder)
    for name in names(tmp_path):
        spec.Dataset(name=name)


def test_an_empty_folder_holds_no_dataset(tmp_path):
    assert scan(tmp_path) == ()


def test_a_missing_folder_does_not_look_empty(tmp_path):
    with pytest.raises(FileNotFoundError):
        scan(tmp_path / "gone")


def test_select_takes_the_releases_asked_for(tmp_path):
    for number in (5505, 5506, 5507):
        bids_root(tmp_path / f"ds00{number}")
    datasets = scan(tmp_path)
    wanted = spec.Dataset(name="all", releases=("R1", "R3"))
    assert [source.release for source in select(datasets, wanted)] == ["R1", "R3"]


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    bids_root(tmp_path / "ds005505")
    with pytest.raises(UnknownDataset, match="known: all, ds005505"):
        select(scan(tmp_path), spec.Dataset(name="demo"))
    with pytest.raises(UnknownDataset, match="no release R4; known: R1"):
        select(scan(tmp_path), spec.Dataset(name="all", releases=("R4",)))
