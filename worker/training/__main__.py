"""A trainer: `python -m worker.training spec.json --device cpu --subjects 3 --epochs 1`, alone or under a supervisor.

Alone it prints to the terminal and needs no Redis. Under a supervisor it speaks through `--channel`.
"""

import argparse
import faulthandler
import json
import os
import signal
import socket
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.datasets import Source, scan, select
from jobs.fault import Fault, FaultKind, Scope
from jobs.spec import JobSpec
from worker.training.errors import (
    EXIT_DEVICE,
    DeviceFault,
    Interrupted,
    JobFault,
    SpecCannotRun,
    UserCodeFailed,
)
from worker.training.nursery import wait_to_be_born, warm_up
from worker.training.orphan import die_with_parent
from worker.training.protocol import Channel, PipeClosed, inherited
from worker.training.reports import START_S, PipeReports, Reports, TerminalReports

if TYPE_CHECKING:
    from worker.data.prepared import Prepared

GIB = 2**30


@dataclass(frozen=True)
class Orders:
    """What this trainer was started to do. Folders are absolute."""

    spec: JobSpec
    sources: tuple[Source, ...] | None
    device: str
    runs: Path
    data: Path
    cache: Path
    folder: Path
    fence: int
    checkpoint: Path | None
    threads: int | None
    user_code: Path | None
    compile: bool
    memory_gib: float
    cache_gib: float | None
    audit_every_s: float


def main(argv: list[str] | None = None) -> int:
    faulthandler.enable()
    if hasattr(signal, "SIGUSR1"):
        faulthandler.register(signal.SIGUSR1, all_threads=True)
    args = parse(argv)
    if args.parent is None:
        return end(TerminalReports(folder_of(args) / "metrics.jsonl"), args)
    die_with_parent(args.parent)
    if args.nursery is None:
        warm_up()
        return await_orders(inherited(args.channel))
    channel = wait_to_be_born(socket.socket(fileno=args.nursery), args.parent)
    return await_orders(channel) if channel else 0


def await_orders(channel: Channel) -> int:
    """A trainer's life: wait for orders, run them. The device is untouched until then."""
    try:
        while not (orders := channel.poll(timeout_s=3600.0)):
            pass
    except PipeClosed:
        return 0
    with suppress(OSError):  # without a log, a full disk can still be reported
        write_to(orders[0]["log"])
    return end(PipeReports(channel), parse(orders[0]["argv"]))


def write_to(log: str) -> None:
    """From here on everything that this process prints, native code included, goes to the job's log."""
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


def end(reports: Reports, args: argparse.Namespace) -> int:
    """Runs it and turns every way it can end into a last message and an exit status."""
    try:
        artifacts = run(orders_of(args), reports)
        reports.tell("done", artifacts=artifacts)
        return 0
    except Interrupted as stop:
        reports.tell("stopped", order=stop.order)
        return 0
    except PipeClosed:
        return 1
    except DeviceFault as error:
        reports.tell("failed", fault=error.fault.to_dict())
        os._exit(EXIT_DEVICE)  # a dead context hangs or aborts in the interpreter's own clean-up
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - the trainer's outer door: whatever it was becomes a Fault
        fault = fault_of(error, args.device)
        if fault.kind in (FaultKind.INTERNAL, FaultKind.USER_CODE):
            with suppress(OSError):
                traceback.print_exc()
        reports.tell("failed", fault=fault.to_dict())
        if fault.scope in (Scope.BATCH, Scope.DEVICE):
            os._exit(EXIT_DEVICE)
        return 1


def run(orders: Orders, reports: Reports) -> dict[str, Any]:
    """Data, parts, training, results. Returns the artefacts by name."""
    import torch

    from worker.export.charts import Charts
    from worker.export.results import write_results
    from worker.training.device import device_of
    from worker.training.loop import Loop
    from worker.training.memory import keep_freed_memory
    from worker.training.parts import assemble

    if orders.threads:
        torch.set_num_threads(orders.threads)
    device = device_of(orders.device)
    reports.tell("hello", START_S, device=device.name, description=device.description, torch=torch.__version__)
    data, own_code = data_of(orders, reports)
    reports.tell("phase", START_S, phase="loading")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS is not deterministic
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(orders.cache / "compiled"))  # outlives the job
    keep_freed_memory()
    parts = assemble(orders.spec, data, device, orders.runs, own_code, orders.compile)
    charts = Charts(reports, orders.folder / "tensorboard")
    loop = Loop(parts, orders.folder, orders.fence, charts, orders.audit_every_s)
    if orders.checkpoint:
        loop.resume(orders.checkpoint)
    reports.tell("resume", START_S, step=loop.k, fast=parts.built.fast, parameters=parts.built.n_parameters)
    progress = loop.run()
    reports.tell("phase", START_S, phase="exporting")
    return write_results(parts, progress, orders.folder / results_name(orders.fence))


def data_of(orders: Orders, reports: Reports) -> tuple["Prepared", Path | None]:
    """The job's windows, with a report on them beside the results, and where its own code lies, if it has any."""
    from worker.data.prepare import prepare
    from worker.export.results import write_data_report
    from worker.training.usercode import adopt

    sources = orders.sources if orders.sources is not None else select(scan(orders.data), orders.spec.dataset)
    reports.tell("phase", START_S, phase="preprocessing")
    own_code = adopt(orders.spec, orders.user_code, orders.folder)
    data = prepare(
        orders.spec,
        sources,
        orders.data,
        orders.cache,
        report=lambda type, fields: reports.tell(type, START_S, **fields),
        memory_budget_bytes=int(orders.memory_gib * GIB),
        steps_dir=own_code,
        cache_limit_bytes=None if orders.cache_gib is None else int(orders.cache_gib * GIB),
    )
    write_data_report(orders.spec, sources, data, orders.folder)
    return data, own_code


def results_name(fence: int) -> str:
    """Under a supervisor an attempt's results are set aside: they become the job's when it has won."""
    return f".results.{fence}" if fence else "results"


def fault_of(error: BaseException, device: str = "cpu") -> Fault:
    """What an exception outside the steps means: while loading, scoring or saving a device can fail too."""
    from jobs.errors import EegqError
    from worker.data.errors import DataError, StorageUnavailable
    from worker.devices.classify import classify

    if isinstance(error, JobFault):
        return error.fault
    if isinstance(error, DataError):
        return Fault(FaultKind.DATA, str(error), hint=getattr(error, "remedy", None))
    if isinstance(error, StorageUnavailable | OSError):
        return Fault(FaultKind.STORAGE, str(error), hint="is the disk full, or a network folder away?")
    if isinstance(error, UserCodeFailed):
        return Fault(FaultKind.USER_CODE, str(error))
    if isinstance(error, SpecCannotRun | EegqError | ValueError):
        return Fault(FaultKind.SPEC, str(error))
    if isinstance(error, MemoryError):
        return Fault(FaultKind.HOST_MEMORY, f"out of host memory: {error}")
    name, code = type(error).__name__, getattr(error, "error_code", None)
    if device != "cpu" and (fault := classify(name, str(error), code=code, device=device)) is not None:
        return fault
    return Fault(FaultKind.INTERNAL, f"{name}: {error}", hint="a bug of eegq: please report the log")


def orders_of(args: argparse.Namespace) -> Orders:
    document = json.loads(args.spec.read_text())
    wrapped = "spec" in document
    spec = JobSpec.model_validate(document["spec"] if wrapped else document)
    if args.epochs is not None:
        spec = spec.model_copy(update={"training": spec.training.model_copy(update={"epochs": args.epochs})})
    if args.subjects is not None:
        spec = spec.model_copy(update={"dataset": spec.dataset.model_copy(update={"subjects": args.subjects})})
    sources = tuple(Source(**s) for s in document["sources"]) if wrapped and document.get("sources") else None
    folder = folder_of(args)
    folder.mkdir(parents=True, exist_ok=True)
    return Orders(
        spec, sources, args.device, args.runs.resolve(), args.data.resolve(), args.cache.resolve(), folder.resolve(),
        args.fence, args.checkpoint, args.threads, args.user_code, args.compile,
        args.memory_gib, args.cache_gib, args.audit_every_s,
    )  # fmt: skip


def folder_of(args: argparse.Namespace) -> Path:
    """The run's."""
    return args.folder or args.runs / args.spec.stem


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m worker.training", description=__doc__)
    parser.add_argument("spec", type=Path, nargs="?", help="a job spec, or the spec.json of a run")
    parser.add_argument("--device", default="cpu", help="cpu, cuda:N, mps or standin")
    parser.add_argument("--subjects", type=int, help="take the first N subjects only")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    parser.add_argument("--folder", type=Path, help="this run's folder (default: RUNS/name of the spec file)")
    parser.add_argument("--checkpoint", type=Path, help="go on from this checkpoint folder")
    parser.add_argument("--fence", type=int, default=0)
    parser.add_argument("--user-code", type=Path)
    parser.add_argument("--memory-gib", type=float, default=4.0, help="what reading recordings may take")
    parser.add_argument("--cache-gib", type=float, help="size of CACHE above which what no job uses is evicted")
    parser.add_argument("--compile", action="store_true", help="torch.compile a long run's step on a GPU")
    parser.add_argument(
        "--audit-every-s", type=float, default=0.0, help="have the CPU pool repeat a step so often; 0: never"
    )
    parser.add_argument("--channel", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--nursery", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def leave(status: int) -> None:
    """At once: the interpreter would take seconds to clear away all that was imported."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    leave(main())
