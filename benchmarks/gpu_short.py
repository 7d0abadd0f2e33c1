"""What a GPU shows in under three minutes: side by side with the start kit's loop, 50 epochs of R1-R3 size, the cost
of protection, a run with faults, how it scales, what the compiler makes of EEGNet.

    python benchmarks/gpu_short.py --device cuda:0 --budget-s 170

The most wanted comes first; a part that the budget does not hold is left out, and one that fails or takes too long is
a line that says so. One JSON line a figure, printed at once.
"""

import argparse
import contextlib
import io
import json
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
warnings.filterwarnings("ignore")
BEGAN = time.monotonic()

import torch  # noqa: E402

from benchmarks import fifty_epochs, floor, protection, scaling, train  # noqa: E402
from benchmarks.synthetic import synthetic  # noqa: E402
from jobs.spec import JobSpec  # noqa: E402
from worker.data.prepared import Prepared  # noqa: E402
from worker.data.simulate import simulate  # noqa: E402
from worker.training.device import device_of  # noqa: E402
from worker.training.loop import Loop  # noqa: E402
from worker.training.parts import assemble  # noqa: E402

MODELS = ("EEGNeX", "ShallowFBCSPNet", "EEGConformer", "Deep4Net", "EEGNet")
Row = dict[str, Any]


def main() -> None:
    options = parse()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        say({"part": "all", "skipped": "no GPU on this machine"})
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        simulate(root / "data" / "bench", subjects=options.subjects, runs=2, trials=48, rest_s=5, seed=1)
        data = synthetic(root, 2048 if options.shorten == 1 else 16 * options.batch, 256 // options.shorten)
        say({"part": "machine", "device": device_of(options.device).description, "torch": torch.__version__,
             "threads": torch.get_num_threads()})  # fmt: skip
        for name, limit_s, part in parts(options, root, data):
            run(name, limit_s, part, options)


def parts(
    options: argparse.Namespace, root: Path, data: Prepared
) -> Iterator[tuple[str, int, Callable[[], Iterator[Row]]]]:
    """Name, the seconds it may take, what gives its rows; in the order of their worth."""
    first, last = options.models[:3], options.models[3:]
    train_parts = {m: (f"train {m}", 25, lambda m=m: side_by_side(m, root, data, options)) for m in options.models}  # type: ignore[misc]
    yield from (train_parts[model] for model in first)
    yield "fifty_epochs", 60, lambda: fifty(options)
    yield "protection EEGNeX", 25, lambda: protect("EEGNeX", 50, options)
    yield "faults", 20, lambda: with_faults(data, options)
    yield from (train_parts[model] for model in last)
    yield "protection EEGNet", 20, lambda: protect("EEGNet", 100, options)
    yield "batch", 15, lambda: scaling.by_batch(scaled(options))
    yield "jobs", 40, lambda: scaling.by_jobs(scaled(options))
    yield "compile EEGNet", 45, lambda: compiled("EEGNet", data, options)
    yield "channels", 15, lambda: scaling.by_channels(scaled(options))
    yield "floor", 5, lambda: (floor.row(m, options.device) for m in options.models)


def run(name: str, limit_s: int, part: Callable[[], Iterator[Row]], options: argparse.Namespace) -> None:
    """One part within its own limit and the whole run's."""
    left_s = int(options.budget_s - (time.monotonic() - BEGAN))
    if left_s < 3:
        say({"part": name, "skipped": "time budget"})
        return
    signal.signal(signal.SIGALRM, too_late)
    signal.alarm(min(limit_s * options.shorten, left_s))
    try:
        for row in part():
            say({"part": name} | row)
    except Exception as error:  # noqa: BLE001 - a part that fails is a result, and the next ones are wanted too
        say({"part": name, "error": f"{type(error).__name__}: {error}"[:200]})
    finally:
        signal.alarm(0)


def side_by_side(model: str, root: Path, data: Prepared, options: argparse.Namespace) -> Iterator[Row]:
    """The start kit's loop, and the engine captured and step by step, in turns."""
    device = options.device
    spec, plain = of_model(model, options), of_model(model, options, precision="fp32", fast_path=False)
    fp32 = of_model(model, options, precision="fp32")
    train.ROUND_S = options.round_s
    rounds = {
        "start kit": train.start_kit(spec, root, device),
        "eegq": train.eegq(spec, data, device),
        "eegq, fp32": train.eegq(fp32, data, device),
        "eegq, fp32, eager": train.eegq(fp32, data, device, captured=False),
        "eegq, fast path off, fp32, eager": train.eegq(plain, data, device, captured=False),
    }
    figures: dict[str, list[train.Pace]] = {name: [] for name in rounds}
    for _ in range(3):
        for name, once in rounds.items():
            figures[name].append(once())
    base = train.middle(figures["start kit"])
    for name, paces in figures.items():
        yield {"model": model, "batch": options.batch, "loop": name} | train.row_of(paces, base)


def of_model(model: str, options: argparse.Namespace, **training: Any) -> JobSpec:
    return JobSpec.model_validate(
        {"model": model, "training": {"batch_size": options.batch, "epochs": 10_000, **training}}
    )


def fifty(options: argparse.Namespace) -> Iterator[Row]:
    arguments = ["--device", options.device, "--model", "EEGNeX", "--epochs", str(options.epochs)]
    arguments += ["--windows", str(options.windows), "--validation", str(options.validation)]
    arguments += ["--batch-size", str(options.batch)]
    yield fifty_epochs.measure(fifty_epochs.parse(arguments))


def protect(model: str, steps: int, options: argparse.Namespace) -> Iterator[Row]:
    arguments = ["--device", options.device, "--model", model, "--pairs", str(max(2, 40 // options.shorten))]
    arguments += ["--steps", str(max(1, steps // options.shorten)), "--windows", "2048"]
    arguments += ["--batch-size", str(options.batch)]
    told, before = io.StringIO(), sys.argv
    sys.argv = ["protection.py", *arguments]
    try:
        with contextlib.redirect_stdout(told):
            protection.main()
    finally:
        sys.argv = before
    yield json.loads(told.getvalue().splitlines()[-1])


def with_faults(data: Prepared, options: argparse.Namespace) -> Iterator[Row]:
    """A whole run with memory running out twice in one step and with a NaN: each is healed, and every step is done."""
    drills = [
        {"kind": "oom", "step": 20, "where": "forward", "times": 1},
        {"kind": "oom", "step": 37, "where": "backward", "times": 2},
        {"kind": "nan", "step": 50, "where": "optimizer", "times": 1},
    ]
    spec = JobSpec.model_validate(
        {"model": "EEGNeX", "training": {"batch_size": options.batch, "epochs": 5}, "drill": drills}
    )
    parts, notes = assemble(spec, data, device_of(options.device)), fifty_epochs.Notes()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        progress = Loop(parts, Path(folder), 1, notes).run()
        seconds = time.perf_counter() - began
    commits = [fields for _, type, fields in notes.told if type == "commit"]
    covered = [k for c in commits for k in range(c["first"], c["last"] + 1)]
    yield {
        "model": "EEGNeX", "steps": parts.steps, "done": int(parts.state.step), "seconds": round(seconds, 2),
        "each_step_once": covered == list(range(parts.steps)), "best": progress.best,
        "elsewhere": [{k: c[k] for k in ("first", "last", "device", "reason")} for c in commits if c["reason"]],
        "faults": [f["fault"]["kind"] for _, type, f in notes.told if type == "fault"],
        "captured": parts.captured.why_not or "yes",
    }  # fmt: skip


def compiled(model: str, data: Prepared, options: argparse.Namespace) -> Iterator[Row]:
    parts = assemble(of_model(model, options), data, device_of(options.device))
    scaling.advance(parts, 4)
    began = time.perf_counter()
    why_not = parts.captured.compile(parts.stepper)
    yield {"model": model, "compile_s": round(time.perf_counter() - began, 1), "why_not": why_not and why_not[-2500:],
           "windows_per_s": scaling.speed(parts, options.round_s)}  # fmt: skip


def scaled(options: argparse.Namespace) -> argparse.Namespace:
    batches, channels = ("8 16", "8") if options.shorten > 1 else ("32 128 512 2048", "16 32 64 129")
    common = ["--device", options.device, "--seconds", str(options.round_s)]
    return scaling.parse([*common, "--batches", *batches.split(), "--channels", *channels.split()])


def too_late(_signal: int, _frame: Any) -> None:
    raise TimeoutError("the part's time is over")


def say(row: Row) -> None:
    print(json.dumps(row | {"at_s": round(time.monotonic() - BEGAN, 1)}), flush=True)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--budget-s", type=float, default=170.0)
    parser.add_argument("--round-s", type=float, default=0.4)
    parser.add_argument("--subjects", type=int, default=6)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--windows", type=int, default=24_467)
    parser.add_argument("--validation", type=int, default=7_000)
    parser.add_argument("--shorten", type=int, default=1, help="divides pairs and steps, for a try-out on a CPU")
    return parser.parse_args()


if __name__ == "__main__":
    main()
