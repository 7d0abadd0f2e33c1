"""Whether training finds what is there and nothing else: simulated data with a trace of the target, and without one.

    python benchmarks/planted_effect.py [--with-effect 5] [--without 20] [--folder PLACE] [--save]

Every seed is a dataset of its own (other people, other signals, another split, other weights), trained by the product's
own trainer. `last` is the NRMSE after the last epoch, which nothing was chosen by; `best` is what a job reports, the
best of its epochs on the people it validates, and so lower than chance has it. Runs that are in the folder already
are not run again.
"""

import argparse
import contextlib
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from machine import facts, save

STUDIES: dict[str, dict[str, Any]] = {
    "challenge1": {"tasks": ["contrastChangeDetection"], "subjects": 20, "runs": 1, "trials": 24},
    "challenge2": {"tasks": ["RestingState"], "subjects": 40, "rest_s": 30},
}
TRAINING = {"challenge1": {"epochs": 10, "batch_size": 32}, "challenge2": {"epochs": 10, "batch_size": 32}}
VALIDATION = {"by": "subject", "fraction": 0.25}


def main() -> None:
    options = _options()
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cases = {"with": (1.0, options.with_effect), "without": (0.0, options.without)}
        result: dict[str, Any] = {
            "machine": facts(),
            "studies": STUDIES,
            "training": TRAINING,
            "validation": VALIDATION,
        }
        for task in STUDIES:
            for case, (effect, seeds) in cases.items():
                simulate_all(folder, task, case, effect, seeds)
        for task in STUDIES:
            _read_all(folder, task)
            for case, (_, seeds) in cases.items():
                scores = [_score(folder, task, case, seed) for seed in range(seeds)]
                result[f"{task}, {case} the effect"] = summary(scores)
                print(task, case, json.dumps(summary(scores)), flush=True)
    if options.save:
        print(save("planted_effect", result))


def simulate_all(folder: Path, task: str, case: str, effect: float, seeds: int) -> None:
    from worker.data.simulate import simulate

    for seed in range(seeds):
        root = folder / "data" / f"{task}-{case}-{seed}"
        if not root.exists():
            beside = folder / f"simulating-{root.name}"
            simulate(beside, seed=seed, effect=effect, **STUDIES[task])
            root.parent.mkdir(exist_ok=True)
            beside.rename(root)


def _read_all(folder: Path, task: str) -> None:
    """Fills the store for all seeds at once, so that the jobs do not start readers of their own."""
    from jobs.datasets import scan, select
    from jobs.spec import JobSpec
    from worker.data.prepare import check

    spec = JobSpec.model_validate({"task": task, "dataset": "all"})
    check(spec, select(scan(folder / "data"), spec.dataset), folder / "data", folder / "cache")


def _score(folder: Path, task: str, case: str, seed: int) -> dict[str, float]:
    """NRMSE of the last and of the best epoch, and of predicting the training mean."""
    name = f"{task}-{case}-{seed}"
    last = train(folder, name, {"task": task, "dataset": name, "training": TRAINING[task]}, seed)[-1]
    return {"last": last["val_nrmse"], "best": last["best"], "mean": last["baseline"]}


def train(folder: Path, name: str, spec: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    """A row an epoch, by the product's trainer, which is not run again where the run has ended."""
    from worker.training.__main__ import main as run_trainer

    run = folder / "runs" / name
    if not (run / "results" / "scores.json").exists():
        path = folder / f"{name}.json"
        path.write_text(json.dumps({**spec, "seed": seed, "validation": VALIDATION}))
        places = [f"--{place}={folder / place}" for place in ("data", "cache", "runs")]
        if status := run_trainer([str(path), "--device", "cpu", "--threads", "1", *places]):
            raise SystemExit(f"{name} ended with status {status}; see {run}")
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def summary(scores: list[dict[str, float]]) -> dict[str, Any]:
    found: dict[str, Any] = {"seeds": len(scores)}
    for which in scores[0]:
        values = [score[which] for score in scores]
        error = statistics.stdev(values) / len(values) ** 0.5
        found[which] = {
            "mean": round(statistics.mean(values), 4),
            "standard_error": round(error, 4),
            "all": [round(value, 4) for value in values],
        }
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--with-effect", type=int, default=5, help="seeds with a trace in the signals; 2 at least")
    parser.add_argument("--without", type=int, default=20, help="seeds without one")
    parser.add_argument("--folder", type=Path, help="keep data and runs here (default: temporary)")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/")
    return parser.parse_args()


if __name__ == "__main__":
    main()
