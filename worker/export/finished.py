"""A run that has ended well, read from its folder: what was trained, on what, and how good it is. Loads no weights."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jobs.datasets import Source
from jobs.spec import HBN_CHANNELS, JobSpec, Pick
from worker.export.errors import CannotSubmit, NotARun

N_TIMES, SFREQ = 200, 100.0


@dataclass(frozen=True)
class FinishedRun:
    """`card` is model.json and `scores` scores.json; `sources` are the BIDS roots, below a data folder."""

    folder: Path
    spec: JobSpec
    sources: tuple[Source, ...]
    card: dict[str, Any]
    scores: dict[str, Any]

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def channels(self) -> tuple[str, ...]:
        """Those read from the recordings, before the spec's own steps."""
        asked = self.spec.windows.channels
        if asked == "hbn":
            return HBN_CHANNELS
        return tuple(self.card["ch_names"]) if asked == "all" else tuple(asked)

    @property
    def weights(self) -> Path:
        return self.folder / "results" / "weights.safetensors"

    @property
    def own_code(self) -> Path | None:
        """The copy of the user's own models and steps that this run was made with."""
        folder = self.folder / "code"
        return folder if folder.is_dir() else None

    def train_subjects(self) -> list[str]:
        return json.loads((self.folder / "split.json").read_text())["train_subjects"]

    def predictions(self) -> dict[str, np.ndarray]:
        """Columns of predictions.csv: subject, onset_s, target, prediction; a row a validation window."""
        with (self.folder / "results" / "predictions.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        return {name: column if name == "subject" else column.astype(float) for name, column in columns.items()}


def read_run(folder: Path) -> FinishedRun:
    """Raises NotARun."""
    try:
        document = json.loads((folder / "spec.json").read_text())
        card, scores = (json.loads((folder / "results" / name).read_text()) for name in ("model.json", "scores.json"))
    except FileNotFoundError as error:
        missing = Path(error.filename).relative_to(folder)
        raise NotARun(f"{folder.name} is not a finished run: it has no {missing}") from error
    sources = tuple(Source(**source) for source in document["sources"])
    return FinishedRun(folder.resolve(), JobSpec.model_validate(document["spec"]), sources, card, scores)


def require_fit(run: FinishedRun) -> None:
    """Its windows must be had from the challenge's, which are all that the platform gives. Raises CannotSubmit."""
    windows = f"{run.card['n_times']} samples at {run.card['sfreq']:g} Hz"
    if (run.card["n_times"], run.card["sfreq"]) != (N_TIMES, SFREQ):
        raise CannotSubmit(f"{run.name} was trained on windows of {windows}; the challenge gives 200 samples at 100 Hz")
    if run.spec.windows.channels == "all" and any(isinstance(step, Pick) for step in run.spec.preprocess):
        raise CannotSubmit(f"{run.name}: `pick` after `channels: all` leaves open which channels there were; name them")
    if unknown := [name for name in run.channels if name not in HBN_CHANNELS]:
        raise CannotSubmit(f"{run.name} was trained on channel {unknown[0]}; the challenge gives E1 to E128 and Cz")
