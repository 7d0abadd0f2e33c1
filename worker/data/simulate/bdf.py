"""Writes BDF files: 24-bit integers in records of one second, the format of the challenge's releases.

Knows nothing of EEG; see https://www.biosemi.com/faq/file_format.htm.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

LIMIT_UV = 8000
STEPS_PER_UV = 1000  # of the 24-bit range; zero is exactly zero
HEADER_BYTES = 256  # for the file, and again for each channel


def write_bdf(path: Path, signal: np.ndarray, sfreq: int, ch_names: Sequence[str]) -> None:
    """signal: (n_chans, n_times) in microvolts; n_times must be whole seconds. What exceeds the range is clipped."""
    n_chans, n_times = signal.shape
    n_records, rest = divmod(n_times, sfreq)
    if rest:
        raise ValueError(f"{n_times} samples are not whole seconds at {sfreq} Hz")
    steps = np.rint(signal.clip(-LIMIT_UV, LIMIT_UV) * STEPS_PER_UV).astype("<i4")
    records = np.ascontiguousarray(steps.reshape(n_chans, n_records, sfreq).transpose(1, 0, 2))
    with path.open("wb") as file:
        file.write(_header(n_records, sfreq, ch_names))
        file.write(records.view(np.uint8).reshape(-1, 4)[:, :3].tobytes())


def _header(n_records: int, sfreq: int, ch_names: Sequence[str]) -> bytes:
    n_chans = len(ch_names)
    whole: list[tuple[object, int]] = [
        ("", 80),  # subject
        ("", 80),  # recording
        ("01.01.25", 8),
        ("00.00.00", 8),
        (HEADER_BYTES * (n_chans + 1), 8),
        ("24BIT", 44),
        (n_records, 8),
        (1, 8),  # seconds a record
        (n_chans, 4),
    ]
    each: list[tuple[Sequence[object], int]] = [
        (list(ch_names), 16),
        (["active electrode"] * n_chans, 80),
        (["uV"] * n_chans, 8),
        ([-LIMIT_UV] * n_chans, 8),
        ([LIMIT_UV] * n_chans, 8),
        ([-LIMIT_UV * STEPS_PER_UV] * n_chans, 8),
        ([LIMIT_UV * STEPS_PER_UV] * n_chans, 8),
        (["0.5-50 Hz"] * n_chans, 80),
        ([sfreq] * n_chans, 8),
        ([""] * n_chans, 32),
    ]
    text = "".join(str(value).ljust(width) for value, width in whole)
    text += "".join(str(value).ljust(width) for values, width in each for value in values)
    return b"\xffBIOSEMI" + text.encode("ascii")
