"""One training run with every kind of fault in it, against runs without: does the score fall within the seeds' spread?

    python benchmarks/faulty_run.py --device cuda:0 --model EEGNet --seeds 5

This process plays the supervisor and the CPU pool; trainers on the device are processes of their own, with one kept
ready, as in the product. No Redis is needed. Synthetic signals; faults are the product's drills.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402

from benchmarks.synthetic import synthetic  # noqa: E402
from jobs.audit import Finding  # noqa: E402
from jobs.fault import Fault, FaultKind  # noqa: E402
from jobs.spec import JobSpec  # noqa: E402
from worker.data.prepared import Prepared  # noqa: E402
from worker.devices.classify import classify_exit  # noqa: E402
from worker.training.protocol import PipeClosed, inherited, pair  # noqa: E402

CHANS, BATCH = 32, 64
CPU_STEPS = 3  # beyond the step that failed, before the job goes back to the device
FLIPS = 20
DEADLY = {"sticky", "abort", "segfault", "hang"}
FIRST_WORD_S = 120.0
KINDS = ("oom", "nan", "slow", "sticky", "abort", "segfault", "bitflip", "hang")


def data_of(folder: Path, windows: int) -> Prepared:
    """Every process makes the same. The target is the difference of two channels, to be learned."""
    folder.mkdir(parents=True, exist_ok=True)
    data = synthetic(folder, windows, windows // 4, n_chans=CHANS)

    def learnable(index: Any) -> Any:
        x = index.gather(np.arange(len(index)))
        target = x[:, 3].mean(1) - x[:, 7].mean(1)
        return replace(index, target=(1.6 + 0.4 * target / target.std()).astype(np.float32))

    return replace(data, train=learnable(data.train), validation=learnable(data.validation))


def spec_of(options: argparse.Namespace, seed: int, drills: list[dict[str, Any]]) -> JobSpec:
    training = {"epochs": options.epochs, "batch_size": BATCH, "precision": options.precision}
    return JobSpec.model_validate({"model": options.model, "training": training, "seed": seed, "drill": drills})


def drills_of(kinds: list[str], total: int) -> list[dict[str, Any]]:
    """Spread over the run. Flipped bits come after a death, where the first steps on the device are audited."""
    places, drills = np.linspace(0.1, 0.85, len(kinds)), []
    for kind, place in zip(kinds, places, strict=True):
        step = int(place * total)
        if kind == "oom":
            wheres = ("forward", "backward", "optimizer")
            drills += [{"kind": kind, "step": step + 2 * i, "where": w, "times": 2} for i, w in enumerate(wheres)]
        elif kind == "bitflip":
            drills.append({"kind": "abort", "step": step})
            drills += [{"kind": kind, "step": step + i, "where": "optimizer"} for i in range(1, FLIPS)]
        else:
            drills.append({"kind": kind, "step": step, "where": "optimizer" if kind == "nan" else "forward"})
    return drills


# --- the trainer's process -------------------------------------------------------------------------------------------


def child(channel_fd: int) -> None:
    """Waits warm for one order, trains, says what came of it."""
    import braindecode.models  # noqa: F401

    from worker.training.errors import EXIT_DEVICE, DeviceFault, Interrupted
    from worker.training.reports import PipeReports

    channel = inherited(channel_fd)
    try:
        order = channel.poll(3600.0)[0]
    except PipeClosed:
        return
    reports = PipeReports(channel)
    if order["type"] == "clean":
        rows = [
            train(order | {"spec": spec, "folder": f"{order['folder']}/{i}"}, Quiet())
            for i, spec in enumerate(order["specs"])
        ]
        reports.tell("done", rows=rows)
        return
    try:
        reports.tell("done", **train(order, reports))
    except Interrupted:
        reports.tell("stopped")
    except DeviceFault as error:
        reports.tell("failed", fault=error.fault.to_dict())
        os._exit(EXIT_DEVICE)


def train(order: dict[str, Any], reports: Any) -> dict[str, Any]:
    from worker.training.device import device_of
    from worker.training.loop import Loop
    from worker.training.parts import assemble

    data = data_of(Path(order["data"]), order["windows"])
    parts = assemble(JobSpec.model_validate(order["spec"]), data, device_of(order["device"]))
    loop = Loop(parts, Path(order["folder"]), order["fence"], reports, order["audit_every_s"])
    if order["checkpoint"]:
        loop.resume(Path(order["checkpoint"]))
    reports.tell("resume", FIRST_WORD_S, step=loop.k)
    began = time.monotonic()
    progress = loop.run()
    return {"best": progress.best, "final": loop.score(), "seconds": round(time.monotonic() - began, 2),
            "description": parts.device.description}  # fmt: skip


class Quiet:
    """A run without a supervisor."""

    def tell(self, type: str, next_within_s: float = 0.0, **fields: Any) -> None:
        return

    def orders(self) -> list[dict[str, Any]]:
        return []

    def answer(self, step: int, timeout_s: float) -> None:
        return None


class Child:
    def __init__(self) -> None:
        self.channel, theirs = pair()
        command = [sys.executable, __file__, "--channel", str(theirs.fileno())]
        self.process = subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True)
        theirs.close()

    def say(self, type: str, **fields: Any) -> None:
        """One that has ended meanwhile is found out by the next look."""
        with suppress(PipeClosed):
            self.channel.send(type, **fields)


# --- the supervisor and the CPU pool ---------------------------------------------------------------------------------


class Run:
    """The run's ledger and checkpoints, over all its attempts."""

    def __init__(self, options: argparse.Namespace, folder: Path, spec: JobSpec, data: Path) -> None:
        from worker.training.device import device_of
        from worker.training.parts import assemble

        self.options, self.folder, self.spec, self.data = options, folder, spec, data
        self.cpu = assemble(spec, data_of(data / "cpu", options.windows), device_of("cpu"))
        self.steps: dict[int, tuple[str, str]] = {}  # live rows: (device, reason)
        self.replayed, self.fence, self.twice = 0, 0, 0
        self.checkpoint: str | None = None
        self.audited: str | None = None
        self.faults: list[dict[str, Any]] = []
        self.audits: Counter[str] = Counter()
        self.lost_at: tuple[float, int] | None = None
        self.spare = Child()

    def to_the_end(self) -> dict[str, Any]:
        while True:
            ended = self.on_the_device()
            if "final" in ended:
                return ended
            self.on_the_cpu(beyond=self.beyond())

    def beyond(self) -> int:
        """Past the drill that ended the attempt, which may lie further on than the last committed window."""
        reached = max(self.steps, default=-1)
        if self.faults[-1]["fault"] == FaultKind.WRONG_RESULT:
            return max(d.step for d in self.spec.drill if d.kind == "bitflip")
        due = [d.step for d in self.spec.drill if d.kind in DEADLY and d.step > reached]
        return min(due, default=reached) + CPU_STEPS

    def on_the_device(self) -> dict[str, Any]:
        child, self.spare = self.spare, Child()
        self.fence += 1
        child.channel.send(
            "start", spec=self.spec.model_dump(mode="json"), data=str(self.data / f"{self.fence}"),
            folder=str(self.folder), windows=self.options.windows, device=self.options.device, fence=self.fence,
            checkpoint=self.checkpoint, audit_every_s=self.options.audit_every_s,
        )  # fmt: skip
        promised = time.monotonic() + FIRST_WORD_S
        ended: dict[str, Any] = {}
        while True:
            try:
                for message in child.channel.poll(0.05):
                    promised = time.monotonic() + message["next_within_s"]
                    fault = self.hear(message, child.say)
                    if message["type"] in ("done", "failed"):
                        ended = message
                    if fault is not None:
                        return self.after(child, fault)
            except PipeClosed:
                break
            if time.monotonic() > promised:
                return self.after(child, Fault(FaultKind.HANG, "the trainer broke its promise to report"))
        if "final" in ended:
            child.process.wait(30)
            return ended
        fault = Fault.from_dict(ended["fault"]) if ended else classify_exit(
            child.process.wait(30), "", killed_for_memory=False, accelerator=True, device=self.options.device
        )  # fmt: skip
        return self.after(child, fault)

    def hear(self, message: dict[str, Any], send: Callable[..., None]) -> Fault | None:
        match message["type"]:
            case "resume":
                self.resume(message["step"])
            case "commit":
                self.commit(message["first"], message["last"], message["device"], message["reason"])
            case "checkpoint":
                self.checkpoint = message["path"]
                send("published", step=message["step"])
            case "fault":
                self.note(Fault.from_dict(message["fault"]), "batch moved")
            case "ticket":
                send("answer", step=message["step"], **self.compute(message))
            case "audit":
                return self.audit(message, send)
        return None

    def audit(self, message: dict[str, Any], send: Callable[..., None]) -> Fault | None:
        from worker.training.verdict import audit

        verdict = audit(self.cpu, Path(message["folder"]), message["first"], message["steps"])
        self.audits[verdict.finding.value] += 1
        if verdict.finding is Finding.DEVICE_WRONG:
            self.checkpoint = self.audited
            return Fault(FaultKind.WRONG_RESULT, verdict.detail, verdict.step, self.options.device)
        if verdict.finding is Finding.AGREES:
            kept = Path(message["folder"]) / str(message["first"] + message["steps"] - 1)
            self.audited = str(kept)
        print(json.dumps({"audit": verdict.to_dict()}), flush=True)
        send("audited", agrees=verdict.finding is Finding.AGREES)
        return None

    def compute(self, message: dict[str, Any]) -> dict[str, Any]:
        from worker.training import checkpoint

        tensors, scalars = checkpoint.read(Path(message["before"]))
        self.cpu.state.restore(tensors)
        self.cpu.step(message["step"])
        checkpoint.write(Path(message["after"]), self.cpu.state.tensors(), {**scalars, "step": message["step"] + 1})
        return {"ok": bool(self.cpu.state.ok), "device": "cpu"}

    def on_the_cpu(self, beyond: int) -> None:
        """The same loop in this process, until it is past the step that failed."""
        from worker.training import loop as loops
        from worker.training.errors import Interrupted
        from worker.training.loop import Loop

        loops.WINDOW_S = 0.0  # one step a window, so that it stops where it is told to
        self.fence += 1
        loop = Loop(self.cpu, self.folder, self.fence, Here(self, beyond))
        if self.checkpoint:
            loop.resume(Path(self.checkpoint))
        else:
            self.cpu.state.restore(self.fresh())
        self.resume(loop.k)
        with suppress(Interrupted):
            loop.run()

    def fresh(self) -> dict[str, Any]:
        from worker.training.device import device_of
        from worker.training.parts import assemble

        return assemble(self.spec, self.cpu.data, device_of("cpu")).state.tensors()

    def after(self, child: Child, fault: Fault) -> dict[str, Any]:
        if child.process.poll() is None:
            child.process.kill()
            child.process.wait(30)
        self.note(fault, "job moved")
        self.lost_at = (time.monotonic(), max(self.steps, default=-1) + 1)
        return {}

    def note(self, fault: Fault, what: str) -> None:
        self.faults.append(
            {"fault": fault.kind.value, "step": fault.step, "what": what, "message": fault.message[:160]}
        )
        print(json.dumps(self.faults[-1]), flush=True)

    def resume(self, k: int) -> None:
        """Steps at k and after are superseded."""
        superseded = [step for step in self.steps if step >= k]
        for step in superseded:
            del self.steps[step]
        self.replayed += len(superseded)

    def commit(self, first: int, last: int, device: str, reason: str) -> None:
        for step in range(first, last + 1):
            self.twice += step in self.steps
            self.steps[step] = (device, reason)
        if self.lost_at and last >= self.lost_at[1]:
            self.faults[-1]["seconds_until_past_it"] = round(time.monotonic() - self.lost_at[0], 2)
            self.lost_at = None


class Here:
    """Reports of a loop that runs in this process; it is told to move up once it is past `beyond`."""

    def __init__(self, run: Run, beyond: int) -> None:
        self._run, self._beyond = run, beyond
        self._orders: list[dict[str, Any]] = []

    def tell(self, type: str, next_within_s: float = 0.0, **fields: Any) -> None:
        self._run.hear({"type": type, **fields}, lambda kind, **more: self._orders.append({"type": kind, **more}))
        if type == "commit" and fields["last"] >= self._beyond:
            self._orders.append({"type": "move_up"})

    def orders(self) -> list[dict[str, Any]]:
        orders, self._orders = self._orders, []
        return orders

    def answer(self, step: int, timeout_s: float) -> None:
        return None


def main() -> None:
    options = parse()
    if options.channel is not None:
        child(options.channel)
        return
    with tempfile.TemporaryDirectory() as name:
        folder, total = Path(name), options.epochs * (options.windows // BATCH)
        drills = drills_of(options.kinds.split(","), total)
        run = Run(options, folder / "faulty", spec_of(options, 0, drills), folder / "data")
        clean = clean_runs(options, folder)
        began = time.monotonic()
        ended = run.to_the_end()
        run.spare.process.kill()
        faulty_s = round(time.monotonic() - began, 2)
    import torch

    scores = [round(row["final"], 5) for row in clean]
    cuda = torch.version.cuda if options.device.startswith("cuda") else None
    print(json.dumps({
        "device": ended["description"], "torch": torch.__version__, "cuda": cuda, "model": options.model,
        "precision": options.precision, "at": time.strftime("%Y-%m-%d"), "steps": total, "kinds": options.kinds,
        "nrmse_of_clean_seeds": scores, "nrmse_faulty_seed_0": round(ended["final"], 5),
        "live_rows": len(run.steps), "missing": len(set(range(total)) - set(run.steps)), "twice": run.twice,
        "replayed": run.replayed, "steps_by": dict(Counter(device for device, _ in run.steps.values())),
        "moved_for": dict(Counter(reason for _, reason in run.steps.values() if reason)),
        "faults": run.faults, "audits": dict(run.audits), "attempts": run.fence,
        "clean_s": [row["seconds"] for row in clean], "faulty_s": faulty_s,
    }), flush=True)  # fmt: skip


def clean_runs(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """One a seed, in a process of their own: this one never touches the device."""
    trainer = Child()
    specs = [spec_of(options, seed, []).model_dump(mode="json") for seed in range(options.seeds)]
    trainer.channel.send("clean", specs=specs, data=str(folder / "clean"), folder=str(folder / "runs"), fence=1,
                         windows=options.windows, device=options.device, checkpoint=None,
                         audit_every_s=0.0)  # fmt: skip
    rows = trainer.channel.poll(600.0)[0]["rows"]
    trainer.process.wait(60)
    return rows


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="standin")
    parser.add_argument("--model", default="EEGNet")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--windows", type=int, default=2_048)
    parser.add_argument("--audit-every-s", type=float, default=0.2)
    parser.add_argument("--kinds", default=",".join(KINDS), help="of faults, in the order of their steps")
    parser.add_argument("--channel", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
