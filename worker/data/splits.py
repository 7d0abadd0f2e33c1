"""Who is trained on and who is validated: by subject always, deterministic by seed, kept as an artefact.

Knows no files; only which subject a recording belongs to and which release it is from.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from jobs.spec import FoldSplit, ReleaseSplit, SubjectSplit
from worker.data.errors import DataError
from worker.data.windows import WindowIndex


@dataclass(frozen=True)
class Side:
    """What a split needs to know of a recording."""

    name: str
    subject: str
    release: str


@dataclass(frozen=True)
class Split:
    """The split artefact. Recordings are in neither list where a subject's other release is validated.

    by: `subject`, `release`, `fold`, or `time` where there is but one subject.
    """

    by: str
    seed: int
    train_subjects: tuple[str, ...]
    validation_subjects: tuple[str, ...]
    train: tuple[str, ...]
    validation: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {"schema": 1, **asdict(self)}


def split(rule: SubjectSplit | ReleaseSplit | FoldSplit, sides: Sequence[Side], seed: int, at_least: int = 1) -> Split:
    """`at_least` so many subjects are held out by a share, however small it is. Raises DataError where a side would be
    empty."""
    match rule:
        case SubjectSplit():
            validated = _share(sides, rule.fraction, seed, at_least)
        case FoldSplit():
            validated = _fold(sides, rule, seed)
        case ReleaseSplit():
            validated = _of_releases(sides, rule)
    held = set(rule.releases) if isinstance(rule, ReleaseSplit) else None
    validation = [s for s in sides if s.subject in validated and (held is None or s.release in held)]
    train = [side for side in sides if side.subject not in validated]
    if not train or not validation:
        raise DataError(
            f"the split leaves nobody to {'train on' if not train else 'validate'}",
            remedy="choose another `validation`, or more subjects or releases",
        )
    used = {side.name for side in (*train, *validation)}
    result = Split(
        by=rule.by,
        seed=seed,
        train_subjects=_subjects(train),
        validation_subjects=_subjects(validation),
        train=tuple(side.name for side in train),
        validation=tuple(side.name for side in validation),
        left_out=tuple(side.name for side in sides if side.name not in used),
    )
    assert not set(result.train_subjects) & set(result.validation_subjects), "a subject is on one side only"
    return result


def by_time(index: WindowIndex, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and rows to validate for a single subject: the last windows are validated.

    Windows to train on that overlap a validated one are left out.
    """
    order = np.lexsort((index.start, index.recording))
    n_validated = min(max(1, round(fraction * len(order))), len(order) - 1)
    train, validation = order[:-n_validated], order[-n_validated:]
    recording, start = index.recording[validation[0]], index.start[validation[0]]
    stop = index.start[train] + index.n_times + index.max_shift
    apart = (index.recording[train] != recording) | (stop <= start)
    return train[apart], validation


def time_artefact(index: WindowIndex, seed: int, train: np.ndarray, validation: np.ndarray) -> dict[str, Any]:
    def names(rows: np.ndarray) -> tuple[str, ...]:
        return tuple(index.recordings[i] for i in np.unique(index.recording[rows]))

    return Split("time", seed, index.subjects, index.subjects, names(train), names(validation)).to_dict()


def drawn(subjects: Sequence[str], seed: int) -> list[str]:
    """Subjects in an order that depends on the seed and on their own names, not on who else is there."""
    return sorted(subjects, key=lambda subject: hashlib.sha256(f"{seed}:{subject}".encode()).digest())


def _share(sides: Sequence[Side], fraction: float, seed: int, at_least: int) -> set[str]:
    order = drawn(_subjects(sides), seed)
    return set(order[: min(max(at_least, round(fraction * len(order))), len(order) - 1)])


def _fold(sides: Sequence[Side], rule: FoldSplit, seed: int) -> set[str]:
    order = drawn(_subjects(sides), seed)
    if len(order) < rule.folds:
        raise DataError(f"{rule.folds} folds of {len(order)} subjects", remedy="ask for fewer folds")
    return set(order[rule.fold :: rule.folds])


def _of_releases(sides: Sequence[Side], rule: ReleaseSplit) -> set[str]:
    present = {side.release for side in sides}
    if missing := sorted(set(rule.releases) - present):
        raise DataError(
            f"no recording of release {', '.join(missing)} to validate; there are {', '.join(sorted(present))}",
            remedy="`validation.releases` must be among the dataset's",
        )
    return {side.subject for side in sides if side.release in rule.releases}


def _subjects(sides: Sequence[Side]) -> tuple[str, ...]:
    return tuple(sorted({side.subject for side in sides}))
