"""Charts: reports that also leave each epoch's numbers as TensorBoard files. Knows no other message."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from worker.export.events import EventFile
from worker.training.reports import COMPUTE_S, Reports

CHARTS = {"train_loss": "loss/train", "val_nrmse": "nrmse/validation", "baseline": "nrmse/training_mean", "lr": "lr"}


class Charts:
    """Stands in front of other reports. What it says goes through to them first."""

    def __init__(self, reports: Reports, folder: Path) -> None:
        self._reports, self._file = reports, EventFile(folder)
        self.orders, self.answer = reports.orders, reports.answer

    def tell(self, type: str, next_within_s: float = COMPUTE_S, **fields: Any) -> None:
        self._reports.tell(type, next_within_s, **fields)
        if type == "metrics":
            self._draw(fields)

    def _draw(self, fields: dict[str, Any]) -> None:
        """No job fails for its charts: on a full disk they end."""
        with suppress(OSError):
            self._file.add(fields["epoch"], {t: fields[name] for name, t in CHARTS.items() if fields[name] is not None})
