"""One signal file -> microvolts: the only place where EEG files are opened.

Knows neither windows nor the store. MNE reads the formats; what it forgives silently (a file that ends early) is
checked here first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from worker.data.findings import BadRecording, Check

UV_PER_V = 1e6
CHUNK_TIMES = 16_384  # samples read at once: keeps float64 copies small
BYTES_PER_SAMPLE = {".bdf": 3, ".edf": 2}


@dataclass(frozen=True)
class Header:
    """What a file says of itself, before its samples are read. `raw` is MNE's."""

    ch_names: tuple[str, ...]
    sfreq: float
    n_times: int
    raw: Any


@dataclass(frozen=True)
class Annotation:
    """An event that the signal file itself carries; used where there is no events.tsv."""

    onset_s: float
    label: str


def open_signal(path: Path, whole: bool = True) -> Header:
    """Reads the header. Raises BadRecording where the file is damaged, OSError where it cannot be reached.

    `whole=False` takes what there is of a file that ends early.
    """
    if whole:
        _check_length(path)
    try:
        raw = _reader(path)(path, preload=False, verbose="error")
    except OSError:
        raise
    except Exception as error:
        raise BadRecording(Check.UNREADABLE, f"MNE cannot read it: {type(error).__name__}: {error}") from error
    return Header(tuple(raw.ch_names), float(raw.info["sfreq"]), int(raw.n_times), raw)


def require_channels(header: Header, channels: Sequence[str]) -> None:
    """Raises BadRecording where one is missing, or there twice."""
    missing = [name for name in channels if name not in header.ch_names]
    if missing:
        some = ", ".join(missing[:6]) + (" ..." if len(missing) > 6 else "")
        raise BadRecording(
            Check.CHANNELS,
            f"{len(missing)} of {len(channels)} channels are missing ({some}); the file has {len(header.ch_names)}",
            remedy="leave the recording out, or ask for `channels` that every recording has",
        )
    if len(set(header.ch_names)) != len(header.ch_names):
        raise BadRecording(Check.CHANNELS, "two channels have the same name")


def read_microvolts(header: Header, channels: Sequence[str]) -> np.ndarray:
    """(n_chans, n_times) float32, channels of the file in the order asked for. Raises BadRecording, OSError."""
    picks = [header.ch_names.index(name) for name in channels]
    signal = np.empty((len(picks), header.n_times), np.float32)
    for start in range(0, header.n_times, CHUNK_TIMES):
        stop = min(start + CHUNK_TIMES, header.n_times)
        signal[:, start:stop] = _volts(header, picks, start, stop) * UV_PER_V
    return signal


def signal_channels(header: Header) -> tuple[str, ...]:
    """All but triggers and the like: what `channels: all` means."""
    types = header.raw.get_channel_types()
    return tuple(name for name, kind in zip(header.ch_names, types, strict=True) if kind not in ("stim", "misc"))


def annotations(header: Header) -> list[Annotation]:
    """Events inside the signal file, in seconds from its first sample."""
    found = header.raw.annotations
    first_s = header.raw.first_time if found.orig_time is not None else 0.0
    return [Annotation(float(a["onset"]) - first_s, str(a["description"])) for a in found]


def _volts(header: Header, picks: list[int], start: int, stop: int) -> np.ndarray:
    try:
        return header.raw.get_data(picks=picks, start=start, stop=stop, verbose="error")
    except OSError:
        raise
    except Exception as error:
        where = f"{start / header.sfreq:.1f} s"
        raise BadRecording(Check.UNREADABLE, f"MNE cannot read on from {where}: {error}") from error


def _reader(path: Path) -> Any:
    import mne

    return {
        ".bdf": mne.io.read_raw_bdf,
        ".edf": mne.io.read_raw_edf,
        ".vhdr": mne.io.read_raw_brainvision,
        ".set": mne.io.read_raw_eeglab,
    }[path.suffix]


def _check_length(path: Path) -> None:
    """Whether the file holds as many bytes as its header promises; MNE only warns, and shortens the recording."""
    if path.suffix in BYTES_PER_SAMPLE:
        expected, actual = _edf_bytes(path), path.stat().st_size
        if actual < expected:
            message = f"{actual} bytes of the {expected} that the header promises"
            raise BadRecording(Check.TRUNCATED, message, remedy="fetch the file again")
    elif path.suffix == ".vhdr" and path.with_suffix(".eeg").exists():
        _check_brainvision(path)


def _edf_bytes(path: Path) -> int:
    """See https://www.edfplus.info/specs/edf.html and https://www.biosemi.com/faq/file_format.htm."""
    with path.open("rb") as file:
        whole = file.read(256)
        try:
            header_bytes, n_records, n_chans = int(whole[184:192]), int(whole[236:244]), int(whole[252:256])
            each = file.read(256 * n_chans)
            samples = sum(int(each[216 * n_chans + 8 * i : 216 * n_chans + 8 * (i + 1)]) for i in range(n_chans))
        except ValueError as error:
            raise BadRecording(Check.UNREADABLE, "the header is damaged", remedy="fetch the file again") from error
    return header_bytes + max(n_records, 0) * samples * BYTES_PER_SAMPLE[path.suffix]


def _check_brainvision(path: Path) -> None:
    text = path.read_text(errors="replace")
    sample_bytes = 4 if "FLOAT_32" in text else 2
    lines = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    n_bytes = path.with_suffix(".eeg").stat().st_size
    try:
        n_chans = max(1, int(lines.get("NumberOfChannels", "1")))
        promised = int(lines.get("DataPoints", "0")) * n_chans * sample_bytes
    except ValueError as error:
        raise BadRecording(Check.UNREADABLE, "the header is damaged", remedy="fetch the file again") from error
    if n_bytes % (n_chans * sample_bytes) or n_bytes < promised:
        raise BadRecording(
            Check.TRUNCATED, f"{n_bytes} bytes are not whole samples, or too few", remedy="fetch it again"
        )
