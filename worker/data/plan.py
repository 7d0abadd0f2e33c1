"""The plan of a job's data: which recordings, what is done to them, and the key of all that follows.

Lists folders and reads participants.tsv; opens a signal only to see its channels, where a spec asks for `all`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.datasets import Source
from jobs.spec import HBN_CHANNELS, JobSpec
from worker.data import preprocess
from worker.data.builder import Processing
from worker.data.errors import DataError
from worker.data.findings import BadRecording
from worker.data.reading import open_signal, signal_channels
from worker.data.recordings import Participants, Recording, digest_of, list_recordings, read_participants
from worker.data.store import VERSION


@dataclass(frozen=True)
class Plan:
    """All that a job's windows follow from; `key` is its digest."""

    spec: JobSpec
    recordings: tuple[Recording, ...]
    participants: dict[str, Participants]
    processing: Processing
    custom_sources: dict[str, str]
    steps_dir: Path | None

    @property
    def key(self) -> str:
        inventories = [(r.name, r.source_path, r.inventory) for r in self.recordings]
        traits = [(path, sorted(p.rows.items())) for path, p in sorted(self.participants.items())]
        spec = self.spec
        parts = (spec.task, spec.windows, spec.dataset, spec.validation, spec.preflight, spec.seed)
        return digest_of([VERSION, *parts, self.processing, inventories, traits])

    def identity(self, recording: Recording) -> str:
        files = [file for file in recording.inventory.files if not file[0].endswith((".json", ".tsv"))]
        return digest_of([VERSION, recording.source_path, recording.stem, files, self.processing])

    @property
    def targets_are_traits(self) -> bool:
        """Whether the target is the subject's, from participants.tsv, and not the trial's."""
        return _is_trait(self.spec)

    def trait(self, recording: Recording) -> float | None:
        """None where it is missing."""
        return self.participants[recording.source_path].trait(recording.subject, self.spec.windows.target)


def make_plan(spec: JobSpec, sources: Sequence[Source], data_dir: Path, steps_dir: Path | None) -> Plan:
    """Raises DataError where the spec asks for what is not there, StorageUnavailable."""
    recordings = tuple(list_recordings(spec, sources, data_dir))
    roots = sorted({recording.source_path for recording in recordings})
    participants = {root: read_participants(data_dir / root) for root in roots}
    _require_target(spec, participants)
    custom = preprocess.sources_of(spec.preprocess, steps_dir)
    processing = Processing(
        channels=_channels(spec, recordings),
        sfreq=spec.windows.sfreq,
        steps=json.dumps([step.model_dump(mode="json") for step in spec.preprocess]),
        steps_digest=preprocess.source_digest(custom) if custom else "",
        version=VERSION,
    )
    return Plan(spec, recordings, participants, processing, custom, steps_dir)


def _require_target(spec: JobSpec, participants: dict[str, Participants]) -> None:
    if not _is_trait(spec):
        return
    columns = sorted(set().union(*(each.columns for each in participants.values())))
    if spec.windows.target not in columns:
        raise DataError(
            f"no column {spec.windows.target!r} in participants.tsv",
            remedy=f"columns are {', '.join(columns) or 'none: the file is missing or empty'}",
        )


def _is_trait(spec: JobSpec) -> bool:
    return spec.windows.target != "response_time" and not spec.windows.target.startswith("events.")


def _channels(spec: JobSpec, recordings: Sequence[Recording]) -> tuple[str, ...]:
    if spec.windows.channels == "hbn":
        return HBN_CHANNELS
    if spec.windows.channels != "all":
        return tuple(spec.windows.channels)
    for recording in recordings:
        if recording.path is not None:
            try:
                return signal_channels(open_signal(recording.path))
            except BadRecording:
                continue
    raise DataError("no recording can be opened to see which channels there are")
