"""ONE RUN OF A JOB. Read this first: claim -> lease -> start trainer -> watch -> settle.

The supervisor's side: it beats while native code hangs, so it imports no engine library. What to do after a fault
is decided in jobs/failover.py; how a trainer trains is in worker/training.
"""

import random
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import structlog

from jobs.errors import ReplayDiffers, StaleFence, StoreUnavailable
from jobs.failover import Fail, Requeue, decide
from jobs.fault import Fault, FaultKind
from jobs.job import Checkpoint, Claim, JobState, Order, Pool
from jobs.spec import Placement
from worker.audits import Audits
from worker.devices.classify import classify_exit, confirm
from worker.devices.kernel_log import hints
from worker.handoff import HandOffs
from worker.lease import Lease
from worker.reporter import Reporter
from worker.runfolder import RunFolder
from worker.services import Services
from worker.trainer import Trainer
from worker.training.reports import START_S
from worker.watchdog import Watchdog

LOOK_S = 0.25
LOOK_WHILE_MOVING_S = 0.02
CANCEL_GRACE_S = 3.0
PATIENCE_RETRY_S = 1.0
LONGEST_BACKOFF_S = 60.0

log = structlog.get_logger()


@dataclass(frozen=True)
class Succeeded:
    artifacts: dict[str, Any]


@dataclass(frozen=True)
class Stopped:
    """By an order."""

    order: Order


@dataclass(frozen=True)
class Faulted:
    fault: Fault


@dataclass(frozen=True)
class Superseded:
    """The lease was lost: the job is somebody else's now."""


class OrderedBeforeStart(Exception):
    """An order came while there was no trainer yet to pass it to."""


Ending = Succeeded | Stopped | Faulted | Superseded


def run(services: Services) -> bool:
    """Takes one job of the worker's pool to its next state; whether there was one."""
    claim = None if services.draining() else services.claim()
    if claim is None:
        return False
    attempt = Attempt(claim, services)
    ending = attempt.start_and_watch()
    attempt.settle(ending)
    services.ring_for_the_rest()
    return True


class Attempt:
    def __init__(self, claim: Claim, services: Services) -> None:
        self.claim, self.services = claim, services
        self.folder = RunFolder(services.settings.runs, claim.job.id)
        self.lease = Lease(services.store, claim, services.settings.lease_s, services.settings.beat_every_s,
                           services.settings.stay_s)  # fmt: skip
        self.reporter = Reporter(services.store, services.ledger, claim)
        self.handoffs = HandOffs(claim, self.folder, services.volume, services.tickets, services.bell)
        self.audits = Audits(claim, services.device, self.folder, services.volume, services.tickets, services.bell,
                             services.fleet)  # fmt: skip
        self.watchdog = Watchdog()
        self._ordered: tuple[Order, float] | None = None
        self._ending: Ending | None = None
        self._trainer: Trainer | None = None
        self._began = time.time()

    # --- start and watch ------------------------------------------------------------------------------------------

    def start_and_watch(self) -> Ending:
        busy = self.services.boot_records.during(self.services.device, f"job {self.claim.job.id}")
        try:
            with busy if self.services.settings.pool is Pool.GPU else nullcontext():
                return self._watch(self._start())
        except StaleFence:
            log.warning("superseded", job=self.claim.job.id, attempt=self.claim.attempt)
            return self._abandon(Superseded())
        except ReplayDiffers as error:
            return self._abandon(self._unlike_before(error))
        except OrderedBeforeStart as stop:
            return Stopped(stop.args[0])
        except OSError as error:
            return self._abandon(self._without_disk(error))
        except Exception as error:
            log.exception("supervisor", job=self.claim.job.id)
            reason = f"{type(error).__name__}: {error}"
            return self._abandon(Faulted(Fault(FaultKind.INTERNAL, reason, hint="see the worker's log")))
        finally:
            self.services.prepare_spare()

    def _abandon(self, ending: Ending) -> Ending:
        if self._trainer is not None:
            self._trainer.stop(term_grace_s=0)
        return ending

    def _start(self) -> Trainer:
        self.folder.prepare(self.claim)
        trainer = self._trainer = self.services.take_trainer(self._beat_before_start)
        trainer.start(self._arguments(), self.folder.log)
        self.watchdog.heard(START_S, time.monotonic())
        self.reporter.event("phase", {"phase": "loading", "trainer_pid": trainer.pid}, {"phase": "loading"})
        return trainer

    def _beat_before_start(self) -> None:
        if order := self.lease.beat_if_due() or self._drain():
            raise OrderedBeforeStart(order)

    def _drain(self) -> Order | None:
        return Order.DRAIN if self.services.draining() else None

    def _watch(self, trainer: Trainer) -> Ending:
        """Until the trainer's pipe closes: pass on what it says, beat the lease, pass orders, mind its promises."""
        while True:
            messages, closed = trainer.poll(LOOK_WHILE_MOVING_S if self.handoffs.waiting else LOOK_S)
            for message in messages:
                self.watchdog.heard(message["next_within_s"], time.monotonic())
                self._hear(message, trainer)
            if closed:
                return self._after_its_end(trainer)
            self.handoffs.collect(self.reporter, trainer)
            if (wrong := self.audits.collect(self.reporter, trainer)) is not None:
                trainer.stop(term_grace_s=0, meanwhile=self.lease.keep)
                return Faulted(wrong)
            self.reporter.flush_if_due()
            self._pass_orders(trainer)
            if self.watchdog.expired(time.monotonic()):
                return self._end_hang(trainer)

    def _hear(self, message: dict[str, Any], trainer: Trainer) -> None:
        data = {k: v for k, v in message.items() if k not in ("v", "type", "next_within_s")}
        match message["type"]:
            case "phase" | "preprocessing":
                data.setdefault("phase", message["type"])
                self.reporter.event("phase", data, {"phase": data["phase"]})
                if data["phase"] == "training":
                    self.services.prepare_spare()
                    if self.services.settings.pool is Pool.GPU:
                        self.handoffs.expect()
            case "progress":
                self.reporter.event("progress", data, {"progress": data})
            case "metrics":
                self._hear_metrics(data)
            case "resume":
                self.reporter.resumed(data["step"])
                self.reporter.event("started", data)
            case "commit":
                self.reporter.steps(data["first"], data["last"], data["device"], data["reason"], data["digest"])
            case "checkpoint":
                self._hear_checkpoint(data, trainer)
            case "ticket":
                self.handoffs.send(data, self.reporter, trainer)
            case "audit":
                self.audits.send(data, trainer)
            case "fault":
                self._hear_batch_fault(Fault.from_dict(data["fault"]))
            case "warning" | "hello":
                self.reporter.event(message["type"], data)
            case "done":
                self._ending = Succeeded(data["artifacts"])
            case "stopped":
                self._ending = Stopped(Order(data["order"]))
            case "failed":
                self._ending = Faulted(Fault.from_dict(data["fault"]))

    def _hear_metrics(self, row: dict[str, Any]) -> None:
        row = {**row, "attempt": self.claim.attempt, "at": time.time(), **self.services.readings()}
        best = {"metric": "nrmse", "value": row["best"], "epoch": row["best_epoch"], "baseline": row["baseline"]}
        self.reporter.event("metrics", row, {"best": best})
        self.reporter.then(lambda: self.folder.add_metrics(row))

    def _hear_checkpoint(self, data: dict[str, Any], trainer: Trainer) -> None:
        path = self.folder.relative(data["path"])

        def published() -> None:
            trainer.send("published", step=data["step"])
            self.folder.forget_before(self.claim.fence)

        self.reporter.checkpoint(Checkpoint(data["step"], path, self.services.volume, data["digest"]), published)

    def _hear_batch_fault(self, fault: Fault) -> None:
        self.reporter.event("fault", {**fault.to_dict(), "scope": fault.scope})
        self.reporter.then(lambda: self.services.blame_device(fault))

    def _pass_orders(self, trainer: Trainer) -> None:
        """The first order, once; a trainer that does not follow in time is ended."""
        order = self.lease.beat_if_due() or self._drain()
        if order and self._ordered is None:
            trainer.send(order)
            self._ordered = (order, time.monotonic())
        if self._ordered and self._ending is None:
            name, since = self._ordered
            grace_s = CANCEL_GRACE_S if name is Order.CANCEL else self.services.settings.drain_s
            if time.monotonic() - since > grace_s:
                trainer.stop(term_grace_s=0, meanwhile=self.lease.keep)
                self._ending = Stopped(name)

    def _after_its_end(self, trainer: Trainer) -> Ending:
        status = trainer.wait(self.lease.keep)
        if isinstance(self._ending, Succeeded):
            return self._after_its_audit(trainer, self._ending)
        if self._ending is not None:
            return self._ending
        if status is None:
            return Faulted(Fault(FaultKind.HANG, "the trainer cannot be killed", device=self.services.device))
        return Faulted(classify_exit(
            status, trainer.last_words(), killed_for_memory=trainer.was_killed_for_memory(),
            accelerator=self.services.settings.pool is Pool.GPU, device=self.services.device,
        ))  # fmt: skip

    def _after_its_audit(self, trainer: Trainer, ending: Succeeded) -> Ending:
        """No result is handed in before the last audit has been heard."""
        while self.audits.waiting:
            if (wrong := self.audits.collect(self.reporter, trainer)) is not None:
                return Faulted(wrong)
            self.lease.keep()
            time.sleep(LOOK_WHILE_MOVING_S)
        return ending

    def _end_hang(self, trainer: Trainer) -> Ending:
        self.reporter.event("warning", {"message": "the trainer has not reported in time: it is ended"})
        self.reporter.flush_if_due()
        trainer.dump_stacks()
        died = trainer.stop(meanwhile=self.lease.keep)
        told = "it was ended" if died else "it cannot be killed: the driver holds it"
        return Faulted(
            Fault(FaultKind.HANG, f"the trainer broke its promise to report; {told}", device=self.services.device)
        )

    def _arguments(self) -> list[str]:
        settings, job = self.services.settings, self.claim.job
        arguments = [
            str(self.folder.path / "spec.json"), "--device", self.services.device, "--folder", str(self.folder.path),
            "--runs", str(settings.runs), "--data", str(settings.data), "--cache", str(settings.cache),
            "--threads", str(self.services.threads), "--fence", str(self.claim.fence),
            "--memory-gib", str(settings.memory_gib),
        ]  # fmt: skip
        if job.checkpoint:
            arguments += ["--checkpoint", str(settings.runs / job.checkpoint.path)]
        if settings.pool is Pool.GPU:
            arguments += ["--audit-every-s", str(settings.audit_every_s)]
        if self.services.compiler_works():
            arguments.append("--compile")
        if settings.user_code:
            arguments += ["--user-code", str(settings.user_code)]
        if settings.cache_gib:
            arguments += ["--cache-gib", str(settings.cache_gib)]
        return arguments

    # --- settle ---------------------------------------------------------------------------------------------------

    def settle(self, ending: Ending) -> None:
        """Writes the outcome, waiting for Redis as long as it takes; a job that is no longer ours is left alone."""
        if isinstance(ending, Faulted) and self.services.settings.pool is Pool.GPU:
            ending = Faulted(confirm(ending.fault, hints(self._began)))
        blamed = not isinstance(ending, Faulted)
        while True:
            try:
                if isinstance(ending, Faulted) and not blamed:
                    self.services.blame_device(ending.fault, self.claim.job.id)
                    blamed = True
                if self.reporter.flush():
                    self._settle(ending)
                    return
            except StaleFence:
                return
            except StoreUnavailable:
                pass
            except ReplayDiffers as error:
                ending = self._unlike_before(error)
            except OSError as error:
                ending = self._without_disk(error)
            time.sleep(PATIENCE_RETRY_S)

    def _settle(self, ending: Ending) -> None:
        store = self.services.store
        match ending:
            case Succeeded(artifacts):
                self.folder.adopt_results(self.claim.fence)
                store.settle(self.claim, JobState.SUCCEEDED, artifacts=artifacts)
            case Stopped(Order.CANCEL):
                store.settle(self.claim, JobState.CANCELLED)
            case Stopped(Order.MOVE_UP):
                reason = Fault(FaultKind.STOPPED, "a healthy GPU is idle: the job goes back to it")
                self._give_back(self.claim.job.spec.placement, reason)
            case Stopped(order):
                reason = Fault(FaultKind.STOPPED, f"the worker was told to {order}")
                self._requeue(Requeue(self.services.settings.pool), reason)
            case Faulted(fault):
                self._apply(fault)
            case Superseded():
                return
        self.services.file(self.claim.job.id)

    def _without_disk(self, error: OSError) -> Faulted:
        self.reporter.forget()
        return Faulted(Fault(FaultKind.STORAGE, f"the run folder cannot be written: {error}"))

    def _unlike_before(self, error: ReplayDiffers) -> Faulted:
        self.reporter.forget()
        return Faulted(Fault(FaultKind.DIVERGED, str(error), device=self.services.device, hint=error.hint))

    def _apply(self, fault: Fault) -> None:
        """The decision about a fault, applied."""
        store, job = self.services.store, self.services.store.get(self.claim.job.id)
        decision = decide(fault, pool=self.services.settings.pool, policy=job.spec.failover, crashes=job.crashes)
        match decision:
            case Fail(reason):
                store.settle(self.claim, JobState.FAILED, error=reason)
            case Requeue():
                self._requeue(decision, fault)

    def _requeue(self, decision: Requeue, fault: Fault) -> None:
        """To where it came from if the pool stays the same (an auto job stays auto), else to the other pool."""
        same = decision.pool is self.services.settings.pool
        pool = self.claim.job.pool if same else Placement(decision.pool.value)
        delay_s = min(LONGEST_BACKOFF_S, 2.0 ** len(self.claim.job.attempts)) * random.uniform(0.5, 1.0)
        self._give_back(pool, fault, decision.crashed, delay_s if decision.backoff else 0.0)

    def _give_back(self, pool: Placement, fault: Fault, crashed: bool = False, delay_s: float = 0.0) -> None:
        self.services.store.requeue(self.claim, pool, fault, crashed=crashed, delay_s=delay_s)
        self.services.ring(pool)
