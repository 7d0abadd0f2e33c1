"""A job that takes its time without taking the CPU, for measurements of how long the queue needs."""

from pathlib import Path
from typing import Any

from tests.stack import Stack, tiny

MODEL = """
import time
from torch import nn

class Slow(nn.Module):
    def __init__(self, n_chans, n_outputs, n_times, sfreq, step_s=0.1):
        super().__init__()
        self.layer, self.step_s = nn.Linear(n_chans, n_outputs), step_s

    def forward(self, x):
        time.sleep(self.step_s if self.training else 0)
        return self.layer(x.mean(-1))
"""


def slow_stack(folder: Path, data: Path, lease_s: float) -> Stack:
    (folder / "code").mkdir(parents=True, exist_ok=True)
    (folder / "code" / "my_models.py").write_text(MODEL)
    return Stack(folder / "stack", data, lease_s, {"EEGQ_USER_CODE": str(folder / "code")})


def slow(seconds: float, step_s: float = 0.1, **fields: Any) -> Any:
    """About `seconds` of training, eight steps an epoch."""
    model = {"name": "my_models:Slow", "params": {"step_s": step_s}}
    return tiny(max(1, round(seconds / step_s / 8)), model=model, **fields)
