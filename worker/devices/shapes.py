"""The shapes that device tests run at: those of the job about to run, else EEGNeX's at 129 channels and 2 s."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from jobs.spec import HBN_CHANNELS, EventWindows, JobSpec

SFREQ = 100.0  # Hz, where a spec keeps each recording's own rate


@dataclass(frozen=True)
class Shapes:
    """A batch of windows: (batch, n_chans, n_times)."""

    batch: int = 128
    n_chans: int = len(HBN_CHANNELS)
    n_times: int = 200

    @classmethod
    def from_json(cls, text: str) -> Shapes:
        return cls(**json.loads(text))

    @classmethod
    def from_spec(cls, spec: JobSpec) -> Shapes:
        """Channels are HBN's where the spec leaves them to the recordings."""
        windows = spec.windows
        size_s = windows.size_s if isinstance(windows, EventWindows) else windows.crop_s or windows.size_s
        n_chans = len(HBN_CHANNELS) if isinstance(windows.channels, str) else len(windows.channels)
        return cls(spec.training.batch_size, n_chans, round(size_s * (windows.sfreq or SFREQ)))

    def to_json(self) -> str:
        return json.dumps(asdict(self))
