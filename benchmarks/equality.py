"""Do the fast path, the captured step and the GPU train the same model as braindecode's own code on the CPU?

    python benchmarks/equality.py --device cuda:0 --out results/

Each variant takes the same steps from the same state (fp32, TF32 off). Figures are |a - b| / |b - start| over all
parameters: how far two runs are apart, against how far they have gone. Then learning curves over seeds: fast, plain,
and plain from a start that was moved by one rounding, since training magnifies any rounding and that says how much.
"""

import argparse
import json
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
warnings.filterwarnings("ignore")

import torch  # noqa: E402

from benchmarks.fifty_epochs import Notes  # noqa: E402
from jobs.datasets import scan, select  # noqa: E402
from jobs.spec import JobSpec  # noqa: E402
from worker.data.prepare import prepare  # noqa: E402
from worker.data.simulate import simulate  # noqa: E402
from worker.training.capture import Captured  # noqa: E402
from worker.training.device import device_of  # noqa: E402
from worker.training.loop import Loop  # noqa: E402
from worker.training.parts import Parts, assemble  # noqa: E402

MODELS = ("SCCNet", "EEGNeX", "EEGNet", "ShallowFBCSPNet", "Deep4Net", "EEGConformer")
STEPS = (1, 10)
ROUNDING = 2.0**-23  # of one: the distance of neighbouring fp32 numbers


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        simulate(root / "data" / "small", subjects=options.subjects, runs=2, trials=24, rest_s=30, seed=1)
        for model in options.models:
            for steps in STEPS:
                say(distances(model, steps, root, options.device), options.out)
        for model in options.curves:
            for seed in range(options.seeds):
                say(curves(model, seed, root, options), options.out)


def spec_of(model: str, **training: Any) -> JobSpec:
    defaults = {"epochs": 100, "batch_size": 64, "precision": "fp32", "optimizer": "sgd", "lr": 1e-3,
                "schedule": "constant"}  # fmt: skip
    return JobSpec.model_validate({"dataset": "small", "model": model, "training": {**defaults, **training}})


def parts_of(spec: JobSpec, root: Path, device: str, captured: bool = True) -> Parts:
    data = prepare(spec, select(scan(root / "data"), spec.dataset), root / "data", root / "cache")
    parts = assemble(spec, data, device_of(device))
    return parts if captured else replace(parts, captured=Captured(parts.captured._make, "switched off"))


def distances(model: str, steps: int, root: Path, device: str) -> dict[str, Any]:
    """Against braindecode's own forward on the CPU."""
    plain, fast = spec_of(model, fast_path=False), spec_of(model)
    start, reference = trained(parts_of(plain, root, "cpu"), 0), trained(parts_of(plain, root, "cpu"), steps)
    on_cpu = apart(trained(parts_of(fast, root, "cpu"), steps), reference, start)
    row: dict[str, Any] = {"model": model, "steps": steps, "cpu_fast": on_cpu}
    if device != "cpu":
        eager = trained(parts_of(fast, root, device, captured=False), steps)
        graph = parts_of(fast, root, device)
        captured = trained(graph, steps)
        row |= {
            "gpu_plain": apart(trained(parts_of(plain, root, device, captured=False), steps), reference, start),
            "gpu_fast": apart(eager, reference, start),
            "gpu_fast_captured": apart(captured, reference, start),
            "captured_against_eager": apart(captured, eager, start),
            "why_not_captured": graph.captured.why_not,
        }
    return row


def trained(parts: Parts, steps: int) -> torch.Tensor:
    for _ in parts.enqueue(0, steps) if steps else ():
        pass
    assert int(parts.state.step) == steps
    return torch.cat([p.detach().cpu().double().flatten() for p in parts.state.model.parameters()])


def apart(a: torch.Tensor, b: torch.Tensor, start: torch.Tensor) -> float:
    return float((a - b).norm() / (b - start).norm())


def curves(model: str, seed: int, root: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Validation NRMSE after each epoch of the same job with the fast path on and off, and off from a moved start."""
    training = {name: getattr(options, name) for name in ("epochs", "optimizer", "lr")}
    row: dict[str, Any] = {"model": model, "seed": seed, "device": options.device, **training}
    for name, fast, moved in (("fast", True, 0.0), ("plain", False, 0.0), ("moved", False, ROUNDING)):
        spec = spec_of(model, fast_path=fast, **training).model_copy(update={"seed": seed})
        row[name], row[f"{name}_best"] = curve(spec, moved, root, options.device)
    for name in ("fast", "moved"):
        row[f"{name}_from_plain"] = max(abs(a - b) for a, b in zip(row[name], row["plain"], strict=True))
    return row


def curve(spec: JobSpec, moved: float, root: Path, device: str) -> tuple[list[float], float | None]:
    """Of each epoch, and the best; every weight starts by a share of up to `moved` away from where it would."""
    notes, parts = Notes(), parts_of(spec, root, device)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in parts.state.model.parameters() if moved else ():
            p.mul_((1 + moved * (2 * torch.rand(p.shape, generator=random) - 1)).to(p.device))
    with tempfile.TemporaryDirectory() as folder:
        best = Loop(parts, Path(folder), 1, notes).run().best
    return [round(fields["val_nrmse"], 5) for _, type, fields in notes.told if type == "metrics"], best


def say(row: dict[str, Any], out: Path | None) -> None:
    print(json.dumps(row), flush=True)
    if out is not None:
        with open(out / "equality.jsonl", "a") as file:
            file.write(json.dumps(row) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--subjects", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--curves", nargs="*", default=["EEGNet"], help="models whose learning curves are compared")
    parser.add_argument("--epochs", type=int, default=15, help="of the curves, as what follows")
    parser.add_argument("--optimizer", default="adamw")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
