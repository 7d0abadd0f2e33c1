"""Training windows per second, side by side in one run: the start kit's loop, the original's loop with four loader
workers (fp16 AMP on a GPU), braindecode's EEGRegressor, and eegq's engine. The data path is part of every figure.

    python benchmarks/train.py --device cuda:0 --out results/train.jsonl
    python benchmarks/train.py --device cpu --models EEGNeX --batches 32 --out results/train.jsonl

Every loop runs in turns with the others; the figure is the median of its rounds. One JSON line a loop, a table last.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
warnings.filterwarnings("ignore")

import torch  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402

from benchmarks import floor  # noqa: E402
from benchmarks.machine import facts  # noqa: E402
from jobs.datasets import scan, select  # noqa: E402
from jobs.spec import JobSpec  # noqa: E402
from worker.data.prepare import Prepared, prepare  # noqa: E402
from worker.data.simulate import simulate  # noqa: E402
from worker.training.capture import TABLE_ROWS, Captured  # noqa: E402
from worker.training.device import device_of  # noqa: E402
from worker.training.fast import launch_few  # noqa: E402
from worker.training.parts import Parts, assemble, set_flags  # noqa: E402

MODELS = ("EEGNeX", "EEGNet", "ShallowFBCSPNet", "Deep4Net", "EEGConformer")
ROUNDS = 3
ROUND_S = 3.0


@dataclass(frozen=True)
class Pace:
    """Of this process. Processor time counts all its threads: the fairer figure where others use the machine too."""

    windows_per_s: float
    windows_per_processor_s: float


Round = Callable[[], Pace]  # runs for about ROUND_S


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        root = options.folder or Path(folder)
        if not (root / "data" / "bench").exists():
            simulate(root / "data" / "bench", subjects=options.subjects, runs=2, trials=48, rest_s=30, seed=1)
        rows = [row for case in cases(options) for row in measure(case, root, options)]
    for row in rows:
        print(f"{row['model']:16} {row['batch']:4}  {row['loop']:28} {row.get('windows_per_s', row.get('error'))}"
              f"  x{row.get('times_start_kit', '')}")  # fmt: skip


def cases(options: argparse.Namespace) -> Iterator[tuple[str, int]]:
    for model in options.models:
        for batch in options.batches:
            yield model, batch


def measure(case: tuple[str, int], root: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """All loops of one model and batch size, in turns."""
    if time.monotonic() - BEGAN > options.budget_s:
        return []
    model, batch = case
    spec = JobSpec.model_validate({
        "task": "challenge1", "dataset": "bench", "model": model, "training": {"batch_size": batch, "epochs": 1000},
    })  # fmt: skip
    data = prepare(spec, select(scan(root / "data"), spec.dataset), root / "data", root / "cache")
    loops: dict[str, Round | str] = {}
    for name, make in loops_of(spec, data, root, options.device).items():
        if options.loops and name not in options.loops:
            continue
        try:
            loops[name] = make()
        except Exception as error:  # noqa: BLE001 - a loop that cannot run is a row of the table
            loops[name] = f"{type(error).__name__}: {error}"[:200]
    figures: dict[str, list[Pace]] = {name: [] for name, loop in loops.items() if not isinstance(loop, str)}
    for at in range(options.rounds):
        for name in list(figures):
            pace = loops[name]()  # type: ignore[operator]
            figures[name].append(pace)
            say({"model": model, "batch": batch, "loop": name, "round": at, **asdict(pace)}, options.out)
    base = middle(figures["start kit"])
    rows = []
    for name, loop in loops.items():
        row: dict[str, Any] = {"model": model, "batch": batch, "loop": name, "device": options.device}
        if isinstance(loop, str):
            row["error"] = loop
        else:
            row |= row_of(figures[name], base)
            if name.startswith("eegq") and "off" not in name:
                row["of_floor"] = round(
                    row["windows_per_s"] / floor.floor_windows_per_s(model, options.device, batch), 3
                )
        rows.append(row)
        say(row, options.out)
    return rows


def middle(paces: list[Pace]) -> Pace:
    return Pace(
        statistics.median(p.windows_per_s for p in paces), statistics.median(p.windows_per_processor_s for p in paces)
    )


def row_of(paces: list[Pace], base: Pace) -> dict[str, Any]:
    """Medians, and how many times the base's."""
    pace = middle(paces)
    return {
        "windows_per_s": round(pace.windows_per_s, 1),
        "times_start_kit": round(pace.windows_per_s / base.windows_per_s, 2),
        "windows_per_processor_s": round(pace.windows_per_processor_s, 1),
        "times_by_processor_time": round(pace.windows_per_processor_s / base.windows_per_processor_s, 2),
        "rounds": [round(p.windows_per_s, 1) for p in paces],
    }


def loops_of(spec: JobSpec, data: Prepared, root: Path, device: str) -> dict[str, Callable[[], Round]]:
    gpu = device.startswith("cuda")
    plain = spec.model_copy(update={"training": spec.training.model_copy(update={"fast_path": False})})
    fp32 = spec.model_copy(update={"training": spec.training.model_copy(update={"precision": "fp32"})})
    plain_fp32 = plain.model_copy(update={"training": plain.training.model_copy(update={"precision": "fp32"})})
    loops: dict[str, Callable[[], Round]] = {"start kit": lambda: start_kit(spec, root, device)}
    original = "original, AMP, 4 workers" if gpu else "original, 4 workers"
    loops[original] = lambda: start_kit(spec, root, device, workers=4, amp=gpu)
    loops["braindecode EEGRegressor"] = lambda: regressor(spec, root, device)
    loops["eegq, fast path off"] = lambda: eegq(plain, data, device)
    loops["eegq"] = lambda: eegq(spec, data, device)
    if gpu:
        loops["eegq, fast path off, fp32, eager"] = lambda: eegq(plain_fp32, data, device, captured=False)
        loops["eegq, fp32, eager"] = lambda: eegq(fp32, data, device, captured=False)
        loops["eegq, fp32"] = lambda: eegq(fp32, data, device)
        loops["eegq, compiled"] = lambda: eegq(spec, data, device, compiled=True)
    return loops


# --- the loops -----------------------------------------------------------------------------------------------------


def windows_on_disk(spec: JobSpec, root: Path) -> Dataset:
    """What the start kit trains on: braindecode's windows of raw files that are read window by window."""
    import mne
    from braindecode.datasets import BaseConcatDataset, RawDataset
    from braindecode.preprocessing import create_windows_from_events

    from worker.data.events import read_events
    from worker.data.trials import trial_table

    recordings = []
    for path in sorted((root / "data" / "bench").glob("sub-*/eeg/*contrastChangeDetection*_eeg.bdf")):
        raw = mne.io.read_raw_bdf(path, preload=False, verbose="error")
        events = read_events(path.with_name(path.name.replace("_eeg.bdf", "_events.tsv")), ["left_target"])
        trials = trial_table(events, spec.windows, raw.times[-1])
        latest_s = raw.times[-1] - 2.6
        onsets = [t.stimulus_s for t in trials if t.drop is None and t.stimulus_s < latest_s]
        raw.set_annotations(mne.Annotations(onsets, [0.0] * len(onsets), ["stimulus_anchor"] * len(onsets)))
        recordings.append(RawDataset(raw, description={"target": 0.0}))
    dataset = create_windows_from_events(
        BaseConcatDataset(recordings), mapping={"stimulus_anchor": 0}, trial_start_offset_samples=50,
        trial_stop_offset_samples=250, window_size_samples=200, window_stride_samples=200, preload=False,
        drop_last_window=False, verbose="error",
    )  # fmt: skip
    return dataset


def fresh_model(spec: JobSpec) -> torch.nn.Module:
    import braindecode.models

    torch.manual_seed(0)
    return getattr(braindecode.models, spec.model.name)(n_chans=129, n_outputs=1, n_times=200, sfreq=100)


def start_kit(spec: JobSpec, root: Path, device: str, workers: int = 0, amp: bool = False) -> Round:
    """The challenge start kit's loop; with `amp` the usual fp16 variant of it."""
    dataset = windows_on_disk(spec, root)
    loader = DataLoader(dataset, batch_size=spec.training.batch_size, shuffle=True, num_workers=workers,
                        pin_memory=amp, drop_last=True, persistent_workers=workers > 0)  # fmt: skip
    model = fresh_model(spec).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-5)
    loss_of, scaler = torch.nn.MSELoss(), torch.amp.GradScaler("cuda", enabled=amp)

    def step(batch: Any) -> None:
        x, y = batch[0].to(device).float(), batch[1].to(device).float().unsqueeze(1)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.float16, enabled=amp):
            loss = loss_of(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        loss.item()

    batches = forever(loader)
    step([part[:2] for part in next(batches)])
    return as_torch_comes(lambda: timed(lambda: step(next(batches)), spec.training.batch_size, device))


def regressor(spec: JobSpec, root: Path, device: str) -> Round:
    """braindecode's skorch wrapper on the same windows."""
    from braindecode import EEGRegressor

    dataset = windows_on_disk(spec, root)
    net = EEGRegressor(fresh_model(spec), criterion=torch.nn.MSELoss, optimizer=torch.optim.AdamW, lr=1e-3,
                       batch_size=spec.training.batch_size, device=device, train_split=None, verbose=0,
                       iterator_train__drop_last=True)  # fmt: skip
    net.initialize()
    batches = forever(net.get_iterator(dataset, training=True))

    def step(n: int | None = None) -> None:
        batch = [part[:n] for part in next(batches)]
        net.train_step((batch[0].float(), batch[1].float().unsqueeze(1)))["loss"].item()

    step(2)
    return as_torch_comes(lambda: timed(step, spec.training.batch_size, device))


def as_torch_comes(once: Round) -> Round:
    """Under torch's own settings, whatever the engine has set for its loops."""

    def with_defaults() -> Pace:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = False
        return once()

    return with_defaults


def eegq(spec: JobSpec, data: Prepared, device: str, captured: bool = True, compiled: bool = False) -> Round:
    """The engine's own windows of steps, a wait for the device at the end of each."""
    parts = assemble(spec, data, device_of(device))
    if not captured:
        parts = replace(parts, captured=Captured(parts.captured._make, "switched off"))
        launch_few(parts.built.model)
    k = run(parts, 0, 4)
    if compiled and (why_not := parts.captured.compile(parts.stepper)):
        raise RuntimeError(why_not)
    at = [k]

    def window() -> None:
        at[0] = run(parts, at[0], at[0] + size)

    def with_its_settings() -> Pace:
        set_flags(spec, parts.device)
        return timed(window, spec.training.batch_size * size, device)

    started = time.monotonic()
    at[0] = run(parts, at[0], at[0] + 4)
    size = max(1, min(TABLE_ROWS, int(0.25 / ((time.monotonic() - started) / 4))))
    window()
    return with_its_settings


def run(parts: Parts, first: int, last: int) -> int:
    for _ in parts.enqueue(first, last):
        pass
    assert int(parts.state.step) == last
    return last


def timed(step: Callable[[], None], windows: int, device: str) -> Pace:
    """Over about ROUND_S."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    started, processor, n = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - started < ROUND_S:
        step()
        n += 1
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    n_windows = n * windows
    return Pace(n_windows / (time.perf_counter() - started), n_windows / (time.process_time() - processor))


def forever(loader: Any) -> Iterator[Any]:
    while True:
        yield from loader


def say(row: dict[str, Any], out: Path | None) -> None:
    line = json.dumps(row)
    print(line, flush=True)
    if out is not None:
        with open(out, "a") as file:
            file.write(line + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--subjects", type=int, default=24)
    parser.add_argument("--budget-s", type=float, default=420.0)
    parser.add_argument("--batches", nargs="+", type=int, default=[128])
    parser.add_argument("--folder", type=Path, help="keep the simulated recordings there, or take them from there")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--loops", nargs="+", help="only these")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    name = torch.cuda.get_device_name() if options.device.startswith("cuda") else "cpu"
    say(facts() | {"threads": torch.get_num_threads(), "device": options.device, "name": name}, options.out)
    return options


BEGAN = time.monotonic()

if __name__ == "__main__":
    main()
