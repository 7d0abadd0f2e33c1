"""The loop: a run from its first step to its last, in windows of steps between two looks at the device.

Reads top to bottom. Knows no queue: what it has to say goes to `reports`, and orders come from there.
"""

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jobs.fault import Fault, FaultKind
from jobs.job import Order
from worker.training import checkpoint
from worker.training.audit import Audits
from worker.training.errors import CheckpointDamaged, Interrupted
from worker.training.evaluate import predict
from worker.training.parts import Parts
from worker.training.recovery import Recovery
from worker.training.reports import COMPUTE_S, DISK_S, START_S, Reports
from worker.training.score import nrmse

WINDOW_S = 0.25
LONGEST_WINDOW = 256
COMPILE_PAYS_S = 60.0
SETTLED_WINDOWS = 4  # the first hold warm-up and capture: only then is their pace the run's
COMPILE_S = 600.0
FRUITLESS = 3  # windows taken back without a fault found in them
CHECKPOINT_EVERY_S = 2.0
CHECKPOINT_SHARE = 0.02  # of the time may go into writing checkpoints


@dataclass
class Progress:
    """What the loop decides by; it travels in every checkpoint. Epochs are counted from 1."""

    best: float | None = None
    best_epoch: int = 0
    epochs_without_better: int = 0
    finished: bool = False


class Loop:
    def __init__(self, parts: Parts, folder: Path, fence: int, reports: Reports, audit_every_s: float = 0.0) -> None:
        self.parts, self.reports = parts, reports
        self.progress = Progress()
        self.k = 0
        self._folder = folder
        self._writer = checkpoint.Writer(folder / "checkpoints" / str(fence))
        batches = folder / "batches" / str(fence)
        self._recovery = Recovery(parts, batches, reports)
        self._audits = Audits(parts, batches / "audited", reports, audit_every_s)
        self._window, self._step_s = 1, math.inf
        self._one_by_one_to, self._taken_back = 0, 0
        self._may_compile, self._paced = parts.may_compile, 0
        self._saved_at, self._save_cost_s = time.monotonic(), 0.0
        self._epoch_began = time.monotonic()
        index = parts.data.validation
        self._baseline = nrmse(np.full_like(index.target, parts.data.train.target.mean()), index.target)

    def run(self) -> Progress:
        """Trains to the end. Raises DeviceFault, JobFault, Interrupted."""
        self.reports.tell("phase", START_S, phase="training")
        while self.k < self.parts.steps and not self.progress.finished:
            began = self.k
            self._train_window()
            ended = self.k > began and self.k % self.parts.schedule.steps_per_epoch == 0
            if ended:
                self._finish_epoch()
            self._save_if_due(ended)
            self._audits.ask()
            self._obey()
        self._save()
        self._flush()
        self._audits.finish()
        return self.progress

    def resume(self, folder: Path) -> None:
        """Goes on from a checkpoint, or one before it where it is damaged; where none is sound it begins again."""
        try:
            tensors, scalars = checkpoint.read_or_older(folder)
        except CheckpointDamaged as error:
            self.reports.tell("warning", message=f"no checkpoint can be read ({error}): training begins again")
            return
        self.parts.state.restore(tensors)
        self.k, self.progress = scalars["step"], Progress(**scalars["progress"])
        if not folder.is_relative_to(self._folder):  # another job's: it stopped by its own rules, not by ours
            self.progress.finished, self.progress.epochs_without_better = False, 0

    # --- a window of steps ----------------------------------------------------------------------------------------

    def _train_window(self) -> None:
        per_epoch = self.parts.schedule.steps_per_epoch
        audited = self._audits.takes(self.k, self._scalars)
        window = 1 if audited else self._window
        first, last = self.k, min(self.k + window, (self.k // per_epoch + 1) * per_epoch)
        started = time.monotonic()
        reached, fault = self._try_steps(first, last)
        fault = self._look(first, reached) or fault
        if fault is not None:
            self._taken_back = 0
            self._audits.drop()
            device, reason = self._recovery.recover(fault, self.k, self._scalars())
            self._commit(self.k + 1, device, reason)
        elif self.k == first:
            self._audits.drop()
        elif audited:
            self._audits.keep(self.k, self._scalars)
        else:
            self._pace((time.monotonic() - started) / (last - first))
            self._compile_if_it_pays()

    def _try_steps(self, first: int, last: int) -> tuple[int, Fault | None]:
        """Steps first..last-1 until one raises: where that was, and why. The state is then the one before that step."""
        k = first
        try:
            for k in self.parts.enqueue(first, last, self.k < self._one_by_one_to):  # noqa: B007 - how far it got
                pass
            return last, None
        except Exception as error:  # noqa: BLE001 - the door where a step's failure is classified
            fault = self._recovery.fault_of(error, k)
        self.parts.captured.drop()
        if self._took_back(first, last, fault.message):
            return first, None
        self.parts.stepper.undo()
        return k, fault

    def _look(self, first: int, reached: int) -> Fault | None:
        """The one wait for the device a window: commits what was finite; a fault if a step before `reached` was not."""
        done = int(self.parts.state.step)
        if not bool(self.parts.state.ok) and self._took_back(first, reached, "a value is not finite"):
            return None
        self._commit(done, self.parts.device.name)
        if done == reached:
            return None
        self.parts.state.ok.fill_(True)
        return Fault(FaultKind.NON_FINITE, "loss or gradient is not finite", done, self.parts.device.name)

    def _took_back(self, first: int, last: int, why: str) -> bool:
        """Whether the window could be undone as a whole: it runs again one by one, and the step at fault is found.

        A graph whose windows go bad where single steps do not is given up.
        """
        if not self.parts.stepper.undo_window():
            return False
        self._one_by_one_to, self._taken_back = last, self._taken_back + 1
        if self._taken_back == FRUITLESS:
            self.parts.captured.give_up("its windows were not finite where single steps were")
        self.reports.tell("warning", message=f"steps {first}-{last - 1} run again, one by one: {why}")
        return True

    def _commit(self, done: int, device: str, reason: str = "") -> None:
        """Steps up to `done` are part of the run."""
        if done > self.k:
            self.reports.tell(
                "commit", first=self.k, last=done - 1, device=device, reason=reason, digest=self._digest_at(done)
            )
        self.k = done
        self.parts.stepper.close_window()

    def _digest_at(self, done: int) -> str:
        """Of the state at an epoch's end, where the run promises to give the same bits again; else empty."""
        parts = self.parts
        if not parts.spec.training.deterministic or done % parts.schedule.steps_per_epoch:
            return ""
        return checkpoint.digest_of(parts.state.tensors(), checkpoint.fingerprint(parts.device.kind, True))

    def _pace(self, step_s: float) -> None:
        """As many steps a window as a quarter of a second holds."""
        self._step_s, self._paced = step_s, self._paced + 1
        self._window = max(1, min(LONGEST_WINDOW, int(WINDOW_S / max(step_s, 1e-6))))
        self.reports.tell(
            "progress", max(COMPUTE_S, 20 * step_s), epoch=self.k // self.parts.schedule.steps_per_epoch,
            epochs=self.parts.spec.training.epochs, step=self.k, steps=self.parts.steps,
            windows_per_s=round(self.parts.schedule.batch_size / step_s, 1),
        )  # fmt: skip

    def _compile_if_it_pays(self) -> None:
        """Once, when windows have shown the pace: compiling takes about half a minute and about halves a step."""
        left_s = (self.parts.steps - self.k) * self._step_s
        if self._may_compile and self._paced >= SETTLED_WINDOWS and left_s > COMPILE_PAYS_S:
            self._may_compile = False
            self.reports.tell("phase", COMPILE_S, phase="compiling")
            if why_not := self.parts.captured.compile(self.parts.stepper):
                self.reports.tell("warning", message=f"torch.compile is not used: {why_not}"[:500])
            self.reports.tell("phase", START_S, phase="training")

    # --- epochs ---------------------------------------------------------------------------------------------------

    def _finish_epoch(self) -> None:
        """Scores the validation set, keeps the best weights and decides on early stopping."""
        parts, progress = self.parts, self.progress
        epoch = self.k // parts.schedule.steps_per_epoch
        train_loss = float(parts.state.loss_sum) / parts.schedule.steps_per_epoch
        train_s = time.monotonic() - self._epoch_began
        value = self.score()
        parts.state.loss_sum.zero_()
        if math.isfinite(value) and (progress.best is None or value < progress.best):
            progress.best, progress.best_epoch, progress.epochs_without_better = value, epoch, 0
            parts.state.keep_best()
        else:
            progress.epochs_without_better += 1
        patience = parts.spec.training.early_stopping
        progress.finished = patience is not None and progress.epochs_without_better >= patience
        self.reports.tell(
            "metrics",
            epoch=epoch,
            step=self.k,
            train_loss=train_loss,
            val_nrmse=value if math.isfinite(value) else None,
            best=progress.best,
            best_epoch=progress.best_epoch,
            baseline=self._baseline,
            lr=parts.state.lr,
            seconds=round(train_s, 3),
            device=parts.device.name,
        )
        self._epoch_began = time.monotonic()

    def score(self) -> float:
        """Validation NRMSE of the current weights."""
        index = self.parts.data.validation
        predicted = predict(self.parts.state.model, index, self.parts.validation, alive=self._alive)
        return nrmse(predicted, index.target)

    def _alive(self) -> None:
        self.reports.tell("alive")

    # --- checkpoints and orders -----------------------------------------------------------------------------------

    def _scalars(self) -> dict[str, Any]:
        kind, deterministic = self.parts.device.kind, self.parts.spec.training.deterministic
        return {
            "step": self.k,
            "progress": asdict(self.progress),
            "fingerprint": checkpoint.fingerprint(kind, deterministic),
        }

    def _save_if_due(self, ended: bool) -> None:
        for written in self._writer.done():
            self._save_cost_s = written.seconds
            self.reports.tell("checkpoint", step=written.step, path=str(written.path), digest=written.digest)
        interval_s = max(CHECKPOINT_EVERY_S, self._save_cost_s / CHECKPOINT_SHARE)
        if (
            not self._writer.busy
            and not self._writer.behind
            and (ended or time.monotonic() - self._saved_at >= interval_s)
        ):
            self._save()

    def _save(self) -> None:
        self._await_disk()
        self._saved_at = time.monotonic()
        self._writer.start(self.k, self.parts.state.tensors(), self._scalars())

    def _await_disk(self) -> None:
        if self._writer.busy:
            self.reports.tell("alive", DISK_S)
        self._writer.wait()

    def _flush(self) -> None:
        self._await_disk()
        for written in self._writer.done():
            self.reports.tell("checkpoint", step=written.step, path=str(written.path), digest=written.digest)

    def _obey(self) -> None:
        """Cancel at once; the others with a checkpoint first. Raises Interrupted."""
        for order in self.reports.orders():
            if order["type"] == "published":
                self._writer.confirm(order["step"])
            if order["type"] == "audited":
                self._audits.hear(order["agrees"])
            if order["type"] in (Order.DRAIN, Order.PAUSE, Order.MOVE_UP):
                self._save()
                self._flush()
            if order["type"] in list(Order):
                raise Interrupted(order["type"])
