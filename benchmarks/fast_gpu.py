"""How fast is a training step on a GPU with and without the exact fast forwards, and where does its time go?

Eager, captured as a graph, and compiled + captured; fp32 (TF32 off), TF32 and bf16 autocast. Checks that captured steps
compute what eager ones do, and lists the kernels of the captured EEGNeX step. The cases come in the order of their use:
the run stops starting new ones once --budget-s is spent.

    python benchmarks/fast_gpu.py --out results/
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from braindecode import models
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from worker.training.fast import accelerate, describe

N_CHANS, N_TIMES, SFREQ = 129, 200, 100
DEVICE = "cuda"


@dataclass(frozen=True)
class Case:
    model: str
    batch: int
    variant: str  # braindecode | fast
    mode: str  # eager | graph | compile+graph
    precision: str  # fp32 | tf32 | bf16


OTHERS = ("EEGNet", "ShallowFBCSPNet", "EEGConformer", "Deep4Net")


def cases() -> Iterator[Case]:
    """Without a compiler first, then compiled, the most wanted first."""
    for batch in (128, 32, 512):
        for precision in ("fp32", "tf32", "bf16"):
            yield Case("EEGNeX", batch, "fast", "graph", precision)
    for name in OTHERS:
        for variant in ("braindecode", "fast"):
            yield Case(name, 128, variant, "graph", "fp32")
    yield Case("EEGNeX", 128, "braindecode", "graph", "fp32")
    for name in ("EEGNeX", *OTHERS):
        for variant in ("braindecode", "fast"):
            yield Case(name, 128, variant, "eager", "fp32")
    for precision in ("fp32", "tf32"):
        yield Case("EEGNeX", 128, "fast", "compile+graph", precision)
    for name in OTHERS:
        yield Case(name, 128, "fast", "compile+graph", "fp32")
    for batch in (512, 32):
        yield Case("EEGNeX", batch, "fast", "compile+graph", "fp32")
    for name in OTHERS:
        for precision in ("tf32", "bf16"):
            yield Case(name, 128, "fast", "graph", precision)
    yield Case("EEGNeX", 128, "fast", "compile+graph", "bf16")
    for name in OTHERS:
        yield Case(name, 128, "braindecode", "compile+graph", "fp32")


def main() -> None:
    options = _options()
    if not torch.cuda.is_available():
        print(json.dumps({"skipped": "no GPU on this machine"}))
        return
    warnings.simplefilter("ignore")
    options.out.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + options.budget_s
    _emit(options, {"device": torch.cuda.get_device_name(), "torch": torch.__version__})
    for name in ("EEGNeX", *OTHERS):
        _emit(options, check_capture(name))
    list_kernels(options.out, mode="graph")
    for case in cases():
        if time.monotonic() > deadline:
            _emit(options, {**asdict(case), "skipped": "time budget"})
            continue
        _emit(options, measure(case))
    if time.monotonic() < deadline + 60:
        list_kernels(options.out, mode="compile+graph")


def measure(case: Case) -> dict[str, object]:
    """Windows a second of one case, the median of five blocks."""
    torch._dynamo.reset()
    started = time.monotonic()
    with _precision(case.precision):
        try:
            step = build_step(case)
            step()
            torch.cuda.synchronize()
        except Exception as error:  # noqa: BLE001  a case that fails is a result of this benchmark
            return {**asdict(case), "error": repr(error)[:300]}
        ready_s = time.monotonic() - started
        block_s = [_block_seconds(step) for _ in range(5)]
    return {
        **asdict(case),
        "windows_per_s": round(case.batch / statistics.median(block_s)),
        "ms": round(1e3 * statistics.median(block_s), 4),
        "ms_min": round(1e3 * min(block_s), 4),
        "ready_s": round(ready_s, 1),
    }


def build_step(case: Case, dropout: bool = True) -> Callable[[], Tensor]:
    """A training step on fixed tensors that returns the loss, left on the device."""
    model = build_model(case.model, case.variant, dropout)
    x, y = _batch(case.batch)
    forward = torch.compile(model) if case.mode.startswith("compile") else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True, capturable=True)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(DEVICE, torch.bfloat16, enabled=case.precision == "bf16"):
            loss = (forward(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return step if case.mode == "eager" else capture(step, model, optimizer)


def capture(step: Callable[[], Tensor], model: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[], Tensor]:
    """The step as one graph, captured after a warm-up whose effects are undone in place."""
    before = [tensor.detach().clone() for tensor in _state(model)]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(4):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()
    for tensor, old in zip(_state(model), before, strict=True):
        tensor.data.copy_(old)
    for state in optimizer.state.values():
        for tensor in state.values():
            tensor.zero_()

    def replay() -> Tensor:
        graph.replay()
        return loss

    return replay


def check_capture(name: str, n_steps: int = 5) -> dict[str, object]:
    """Losses of captured and eager fast steps, and of braindecode's, without dropout: largest relative difference."""
    with _precision("fp32"):
        losses = {
            key: [float(step()) for _ in range(n_steps)]
            for key, step in {
                "braindecode": build_step(Case(name, 64, "braindecode", "eager", "fp32"), dropout=False),
                "eager": build_step(Case(name, 64, "fast", "eager", "fp32"), dropout=False),
                "graph": build_step(Case(name, 64, "fast", "graph", "fp32"), dropout=False),
            }.items()
        }
    path = describe(build_model(name, "fast", True))
    return {
        "check": name,
        "path": path,
        "graph_vs_eager": _difference(losses["graph"], losses["eager"]),
        "fast_vs_braindecode": _difference(losses["eager"], losses["braindecode"]),
    }


def list_kernels(out: Path, mode: str) -> None:
    """A table by kernel, and the kernels of one step in order, written to kernels-<mode>.txt."""
    torch._dynamo.reset()
    with _precision("fp32"):
        step = build_step(Case("EEGNeX", 128, "fast", mode, "fp32"))
        step()
        torch.cuda.synchronize()
        with profile(activities=[ProfilerActivity.CUDA]) as prof:
            for _ in range(10):
                step()
            torch.cuda.synchronize()
    table = prof.key_averages().table(sort_by="self_device_time_total", row_limit=80, max_name_column_width=90)
    events = sorted((e for e in prof.events() if e.device_type == torch.autograd.DeviceType.CUDA), key=_start)
    one_step = events[-(len(events) // 10) :]
    span_us = one_step[-1].time_range.end - one_step[0].time_range.start
    busy_us = sum(event.time_range.elapsed_us() for event in one_step)
    lines = [f"{event.time_range.elapsed_us():8.2f} us  {event.name[:110]}" for event in one_step]
    head = f"{len(one_step)} kernels a step, busy {busy_us:.0f} us of {span_us:.0f} us\n"
    (out / f"kernels-{mode.replace('+', '-')}.txt").write_text(head + table + "\n" + "\n".join(lines) + "\n")
    print(head, flush=True)


def build_model(name: str, variant: str, dropout: bool) -> nn.Module:
    torch.manual_seed(0)
    model = getattr(models, name)(n_chans=N_CHANS, n_outputs=1, n_times=N_TIMES, sfreq=SFREQ).to(DEVICE).train()
    for module in model.modules():
        if isinstance(module, nn.Dropout) and not dropout:
            module.p = 0.0
    return accelerate(copy.deepcopy(model)) if variant == "fast" else model


def _batch(n_windows: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n_windows, N_CHANS, N_TIMES, generator=generator)
    return x.to(DEVICE), torch.randn(n_windows, 1, generator=generator).to(DEVICE)


def _state(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _difference(values: list[float], reference: list[float]) -> float:
    return max(abs(a - b) / abs(b) for a, b in zip(values, reference, strict=True))


def _block_seconds(step: Callable[[], Tensor], at_least_s: float = 0.1) -> float:
    start = time.perf_counter()
    n_steps = 0
    while n_steps < 3 or time.perf_counter() - start < at_least_s:
        for _ in range(10):
            step()
        torch.cuda.synchronize()
        n_steps += 10
    return (time.perf_counter() - start) / n_steps


@contextlib.contextmanager
def _precision(name: str) -> Iterator[None]:
    torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    yield


def _start(event: torch.autograd.profiler_util.FunctionEvent) -> float:
    return event.time_range.start


def _emit(options: argparse.Namespace, row: dict[str, object]) -> None:
    print(json.dumps(row), flush=True)
    with (options.out / "fast_gpu.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("."))
    parser.add_argument("--budget-s", type=float, default=280)
    return parser.parse_args()


if __name__ == "__main__":
    main()
