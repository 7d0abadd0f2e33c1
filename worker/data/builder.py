"""Builds one recording after another for the store: `python -m worker.data.builder CACHE`, requests on stdin.

A process of its own, so that many run at once, none holds more than one recording, and a reader that dies takes one
recording with it. Ends with its input. Knows no job: a request is a file and what is to be done to it.
"""

import errno
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from jobs import spec
from worker.data.errors import DataError, infrastructure
from worker.data.findings import BadRecording, Check, Finding, Severity
from worker.data.preprocess import Signal, apply, resample
from worker.data.reading import Header, annotations, open_signal, read_microvolts, require_channels
from worker.data.recordings import COMPANIONS, digest_of
from worker.data.store import Meta, Store, write_tiles

FLAT_UV = 1e-3  # standard deviation of a channel that carries nothing
SATURATED_SHARE = 0.05  # of a channel's samples at its own largest or smallest value
READ_BYTES = 1 << 20
_STEPS: TypeAdapter[tuple[spec.PreprocessStep, ...]] = TypeAdapter(tuple[spec.PreprocessStep, ...])


@dataclass(frozen=True)
class Processing:
    """All that is done to a signal; part of the key of what comes out.

    channels: names in order, None for all of the file; sfreq: Hz, None for the file's own; steps: JSON of the spec's
    steps; steps_digest: of the source of custom ones.
    """

    channels: tuple[str, ...] | None
    sfreq: float | None
    steps: str = "[]"
    steps_digest: str = ""
    version: int = 1

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Processing":
        channels = values["channels"]
        return cls(**{**values, "channels": channels if channels is None else tuple(channels)})


@dataclass(frozen=True)
class Request:
    path: str
    identity: str
    processing: Processing
    steps_dir: str | None = None

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, text: str) -> "Request":
        values = json.loads(text)
        return cls(**{**values, "processing": Processing.of(values["processing"])})


def build(request: Request, store: Store) -> str:
    """The key of the entry, built or found. Raises DataError (the spec's steps), OSError (the storage)."""
    with store.building(request.identity) as folder:
        if key := store.find(request.identity):
            return key
        path = Path(request.path)
        content = _content_digest(path)
        key = digest_of([content, request.processing])
        if not store.has(key):
            store.add(key, folder, _build_signal(request, path, folder / "signal.f32", content))
        store.point(request.identity, key)
        return key


def main() -> None:
    answers = _claim_stdout()
    store = Store(Path(sys.argv[1]))
    for line in sys.stdin:
        print(json.dumps(_answer(Request.of(line), store)), file=answers, flush=True)


def _answer(request: Request, store: Store) -> dict[str, Any]:
    try:
        return {"key": build(request, store)}
    except DataError as error:
        parts = ("reason", "recording", "event", "remedy", "details")
        return {"error": type(error).__name__, **{part: getattr(error, part) for part in parts}}
    except OSError as error:
        if infrastructure(error) is None:
            return {"unreadable": str(error)}
        return {"errno": error.errno, "message": error.strerror}


def _build_signal(request: Request, path: Path, target: Path, content: str) -> Meta:
    """Writes the preprocessed signal; where the recording is bad, nothing but what was found is kept."""
    try:
        header, findings = _open(path)
        raw, missing = _read(header, request.processing.channels or header.ch_names)
    except BadRecording as bad:
        return Meta(content, findings=(bad.finding,))
    findings += [*missing, *_not_finite(raw)]
    facts = _facts(content, header, raw)
    if findings:
        return replace(facts, findings=tuple(findings))
    steps = _STEPS.validate_json(request.processing.steps)
    signal = resample(raw, request.processing.sfreq or raw.sfreq)
    signal = apply(signal, steps, Path(request.steps_dir) if request.steps_dir else None)
    write_tiles(target, signal.x)
    return replace(facts, ch_names=signal.ch_names, sfreq=signal.sfreq, n_times=signal.x.shape[1])


def _open(path: Path) -> tuple[Header, list[Finding]]:
    """A file that ends early is opened all the same, for what else may be wrong with it."""
    try:
        return open_signal(path), []
    except BadRecording as bad:
        if bad.finding.check is not Check.TRUNCATED:
            raise
        with suppress(BadRecording):
            return open_signal(path, whole=False), [bad.finding]
        raise


def _read(header: Header, channels: Sequence[str]) -> tuple[Signal, list[Finding]]:
    """The channels asked for, or those of them that there are and a finding."""
    try:
        missing: list[Finding] = []
        require_channels(header, channels)
    except BadRecording as bad:
        missing = [bad.finding]
        channels = [name for name in dict.fromkeys(channels) if name in header.ch_names]
    return Signal(read_microvolts(header, channels), header.sfreq, tuple(channels)), missing


def _not_finite(raw: Signal) -> Iterator[Finding]:
    """One pass over the signal, a channel at a time."""
    bad = [(name, np.flatnonzero(~np.isfinite(x))) for name, x in zip(raw.ch_names, raw.x, strict=True)]
    bad = [(name, at) for name, at in bad if len(at)]
    if bad:
        name, at = min(bad, key=lambda pair: pair[1][0])
        message = f"{sum(len(at) for _, at in bad)} samples are NaN or infinite, the first in {name} at "
        yield Finding(
            Check.NOT_FINITE, Severity.FAILED, f"{message}{at[0] / raw.sfreq:.2f} s", remedy="export it again"
        )


def _facts(content: str, header: Header, raw: Signal) -> Meta:
    """One pass over the signal, a channel at a time while it is in the processor's cache."""
    sds = [_sd(x) for x in raw.x]
    alive = [sd >= FLAT_UV for sd in sds]
    return Meta(
        content,
        original_sfreq=header.sfreq,
        original_n_times=header.n_times,
        channel_sd_uv=tuple(round(sd, 4) for sd in sds),
        flat=tuple(name for name, lives in zip(raw.ch_names, alive, strict=True) if not lives),
        saturated=tuple(
            name for name, x, lives in zip(raw.ch_names, raw.x, alive, strict=True) if lives and _is_saturated(x)
        ),
        annotations=tuple((a.onset_s, a.label) for a in annotations(header)),
    )


def _sd(x: np.ndarray) -> float:
    """Of what is finite, where not all of it is."""
    sd = float(x.std(dtype=np.float64)) if len(x) else 0.0
    return sd if np.isfinite(sd) else float(x[np.isfinite(x)].std(dtype=np.float64))


def _is_saturated(x: np.ndarray) -> bool:
    """Whether a channel sits at its own extremes for more than a share of the time."""
    at_rail = np.count_nonzero(x == x.max()) + np.count_nonzero(x == x.min())
    return bool(at_rail > SATURATED_SHARE * len(x))


def _content_digest(path: Path) -> str:
    """Of the signal's files. Brings them into the page cache, so that MNE's reading does not touch the disk again."""
    if not path.exists():
        raise OSError(errno.ESTALE, f"{path.name} was there when it was listed; is the folder still mounted?")
    digest = hashlib.sha256()
    for part in (path, *(path.with_suffix(end) for end in COMPANIONS.get(path.suffix, ()))):
        if part.exists():
            with part.open("rb") as file:
                while block := file.read(READ_BYTES):
                    digest.update(block)
    return digest.hexdigest()


def _claim_stdout() -> Any:
    """The pipe for answers; whatever else prints (MNE logs to stdout) goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


if __name__ == "__main__":
    main()
