import pytest

from jobs.spec import FoldSplit, ReleaseSplit, SubjectSplit
from worker.data.errors import DataError
from worker.data.splits import Side, split


def sides(n: int, release: str = "R1", first: int = 0) -> list[Side]:
    """Two recordings a subject."""
    return [Side(f"{release}/s{i}-{run}", f"s{i}", release) for i in range(first, first + n) for run in (1, 2)]


def test_no_subject_is_on_both_sides():
    found = split(SubjectSplit(fraction=0.3), sides(20), seed=1)
    assert not set(found.train_subjects) & set(found.validation_subjects)
    assert len(found.validation_subjects) == 6
    assert len(found.train) + len(found.validation) == 40


def test_the_seed_decides_and_nothing_else():
    rule = SubjectSplit()
    assert split(rule, sides(20), 1) == split(rule, sides(20), 1)
    assert split(rule, sides(20), 1).validation_subjects == split(rule, sides(20)[::-1], 1).validation_subjects
    assert split(rule, sides(20), 1).validation_subjects != split(rule, sides(20), 2).validation_subjects


def test_the_split_of_a_seed_never_changes():
    assert split(SubjectSplit(fraction=0.2), sides(10), seed=0).validation_subjects == ("s0", "s3")


def test_both_sides_have_a_subject_however_small_the_share():
    assert len(split(SubjectSplit(fraction=0.01), sides(2), 0).validation_subjects) == 1
    assert len(split(SubjectSplit(fraction=0.99), sides(2), 0).train_subjects) == 1


def test_a_subject_seen_in_two_releases_is_validated_and_never_trained_on():
    everyone = [*sides(5, "R1"), *sides(5, "R4", first=3)]  # s3 and s4 are in both
    found = split(ReleaseSplit(releases=("R4",)), everyone, 0)
    assert found.train_subjects == ("s0", "s1", "s2")
    assert all(name.startswith("R4/") for name in found.validation)
    assert found.left_out == ("R1/s3-1", "R1/s3-2", "R1/s4-1", "R1/s4-2")


def test_every_subject_is_in_exactly_one_fold():
    folds = [split(FoldSplit(folds=4, fold=k), sides(10), 3).validation_subjects for k in range(4)]
    assert sorted(subject for fold in folds for subject in fold) == sorted(f"s{i}" for i in range(10))


def test_a_release_that_is_not_there_is_named():
    with pytest.raises(DataError, match="no recording of release R9"):
        split(ReleaseSplit(releases=("R9",)), sides(4), 0)


def test_a_side_without_anybody_is_refused():
    with pytest.raises(DataError, match="nobody to train on"):
        split(ReleaseSplit(releases=("R1",)), sides(4), 0)
    with pytest.raises(DataError, match="5 folds of 4 subjects"):
        split(FoldSplit(folds=5), sides(4), 0)
