"""The events of one recording, as a table: onsets, labels and the other columns of events.tsv.

Knows nothing of trials; keeps what is wrong in place (an `n/a` onset is NaN) for the checks to find.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MISSING = frozenset({"", "n/a", "N/A", "nan", "NaN", "NA"})
LABEL_COLUMNS = ("value", "trial_type")


@dataclass(frozen=True)
class Events:
    """Rows in the order of the file. onset_s: (n,) float64, NaN where the file has no number."""

    onset_s: np.ndarray
    label: np.ndarray
    columns: dict[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: np.ndarray) -> "Events":
        columns = {name: tuple(values[row] for row in rows) for name, values in self.columns.items()}
        return Events(self.onset_s[rows], self.label[rows], columns)

    def sorted(self) -> "Events":
        """By onset, equal onsets in the order of the file, rows without an onset left out."""
        order = np.argsort(self.onset_s, kind="stable")
        return self.take(order[np.isfinite(self.onset_s[order])])

    def rows_of(self, labels: Sequence[str]) -> np.ndarray:
        return np.flatnonzero(np.isin(self.label, list(labels)))


def read_events(path: Path, wanted: Sequence[str] = ()) -> Events:
    """Reads an events.tsv. The label column is the one of `value` and `trial_type` that holds a wanted label.

    Raises ValueError where the file has no onset or no label column, OSError where it cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            rows = list(csv.reader(file, delimiter="\t"))
    except csv.Error as error:
        raise ValueError(f"not a table: {error}") from error
    header, body = (rows[0], [row for row in rows[1:] if row]) if rows else ([], [])
    columns = {
        name.strip(): tuple(row[i].strip() if i < len(row) else "" for row in body) for i, name in enumerate(header)
    }
    label = _label_column(columns, wanted)
    if "onset" not in columns or label is None:
        raise ValueError(f"columns are {', '.join(columns) or 'missing'}; onset and value (or trial_type) are needed")
    return Events(np.array([number(text) for text in columns["onset"]], float), np.array(columns[label], str), columns)


def number(text: str) -> float:
    """A cell as a number, NaN where it holds none or an infinite one: missing stays missing."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _label_column(columns: dict[str, tuple[str, ...]], wanted: Sequence[str]) -> str | None:
    present = [name for name in LABEL_COLUMNS if name in columns]
    holding = [name for name in present if set(wanted) & set(columns[name])]
    return next(iter(holding or present), None)
