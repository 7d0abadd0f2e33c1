"""A job that takes its time without taking the CPU, and may crash or hang: for measurements of the queue alone."""

from pathlib import Path
from typing import Any

from tests.stack import Stack, tiny

MODEL = '''
import ctypes, os, time
from torch import nn

class Slow(nn.Module):
    """Sleeps for `step_s` a step; from step `after` on it does `then`."""

    def __init__(self, n_chans, n_outputs, n_times, sfreq, step_s=0.1, after=0, then=""):
        super().__init__()
        self.layer, self.calls = nn.Linear(n_chans, n_outputs), 0
        self.step_s, self.after, self.then = step_s, after, then

    def forward(self, x):
        self.calls += self.training
        if self.training and self.calls > self.after:
            self.misbehave()
        time.sleep(self.step_s if self.training else 0)
        return self.layer(x.mean(-1))

    def misbehave(self):
        if self.then == "abort":
            os.abort()
        if self.then == "native":
            ctypes.PyDLL(None).pause()  # native code that never gives the interpreter back
        if self.then == "read":
            os.read(os.pipe()[0], 1)
'''


def slow_stack(folder: Path, data: Path, lease_s: float) -> Stack:
    (folder / "code").mkdir(parents=True, exist_ok=True)
    (folder / "code" / "my_models.py").write_text(MODEL)
    return Stack(folder / "stack", data, lease_s, {"EEGQ_USER_CODE": str(folder / "code")})


def slow(seconds: float, step_s: float = 0.1, after: int = 0, then: str = "", **fields: Any) -> Any:
    """About `seconds` of training, eight steps an epoch; `then` is abort, native or read."""
    model = {"name": "my_models:Slow", "params": {"step_s": step_s, "after": after, "then": then}}
    return tiny(max(1, round(seconds / step_s / 8)), model=model, **fields)
