"""How long do 50 epochs of R1-R3 take, evaluation on an R4-sized set after each included? (24,467 and 7,000 windows.)

    python benchmarks/fifty_epochs.py --device cuda:0 --model EEGNeX [--compile]

Synthetic signals of that size; the whole loop with its commits, checkpoints and early-stopping decisions. Libraries are
loaded first, as a worker's spare trainer has them before a job comes; what that takes is stated.
"""

import argparse
import json
import sys
import tempfile
import time
import warnings
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
warnings.filterwarnings("ignore")

import torch  # noqa: E402

from benchmarks.synthetic import synthetic  # noqa: E402
from jobs.spec import JobSpec  # noqa: E402
from worker.training.device import device_of  # noqa: E402
from worker.training.loop import Loop  # noqa: E402
from worker.training.nursery import warm_up  # noqa: E402
from worker.training.parts import assemble  # noqa: E402


class Notes:
    """Keeps what is told, with the time of it, and confirms every checkpoint, as a supervisor does."""

    def __init__(self) -> None:
        self.told: list[tuple[float, str, dict[str, Any]]] = []
        self._orders: list[dict[str, Any]] = []

    def tell(self, type: str, next_within_s: float = 0.0, **fields: Any) -> None:
        self.told.append((time.monotonic(), type, fields))
        if type == "checkpoint":
            self._orders.append({"type": "published", "step": fields["step"]})

    def orders(self) -> list[dict[str, Any]]:
        orders, self._orders = self._orders, []
        return orders

    def answer(self, step: int, timeout_s: float) -> dict[str, Any] | None:
        return None


def main() -> None:
    print(json.dumps(measure(parse())), flush=True)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        data = synthetic(Path(folder), options.windows, options.validation)
        training = {"epochs": options.epochs, "batch_size": options.batch_size}
        spec = JobSpec.model_validate({"model": options.model, "training": training})
        libraries = time.monotonic()
        warm_up()
        began = time.monotonic()
        parts = assemble(spec, data, device_of(options.device), may_compile=options.compile)
        parts.device.synchronize()
        ready, processor_s, notes = time.monotonic(), time.process_time(), Notes()
        progress = Loop(parts, Path(folder), 1, notes).run()
        ended, processor_s = time.monotonic(), time.process_time() - processor_s
    return (
        vars(options)
        | {"device": parts.device.description, "fast": parts.built.fast, "best": progress.best}
        | {"loop_processor_s": round(processor_s, 2), "threads": torch.get_num_threads()}
        | {"libraries_s": round(began - libraries, 2)}
        | durations(notes, began, ready, ended, parts.captured.why_not)
    )


def durations(notes: Notes, began: float, ready: float, ended: float, why_not: str | None) -> dict[str, Any]:
    """Seconds; compiling is the time from its phase to the next one."""
    epochs = [at for at, type, _ in notes.told if type == "metrics"]
    phases = [(at, f["phase"]) for at, type, f in notes.told if type == "phase"]
    compile_s = sum(after[0] - at for (at, phase), after in pairwise(phases) if phase == "compiling")
    return {
        "upload_and_build_s": round(ready - began, 2),
        "first_epoch_s": round(epochs[0] - ready, 2),
        "median_epoch_s": round(median([b - a for a, b in pairwise(epochs)] or [epochs[0] - ready]), 3),
        "compile_s": round(compile_s, 1),
        "loop_s": round(ended - ready, 2),
        "loop_without_compiling_s": round(ended - ready - compile_s, 2),
        "captured": why_not or "yes",
        "warnings": [f["message"] for _, type, f in notes.told if type == "warning"],
    }


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", default="EEGNeX")
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--windows", type=int, default=24_467)
    parser.add_argument("--validation", type=int, default=7_000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--compile", action="store_true")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
