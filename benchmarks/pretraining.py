"""What pretraining on a passive task is worth: RestingState first, then contrastChangeDetection, with and without.

    python benchmarks/pretraining.py [--seeds 5] [--folder PLACE] [--save]

For each seed, resting recordings whose alpha tells externalizing, and recordings of the active task of the same people,
whose wave tells the response time (those of planted_effect, whose runs are not run again in the same folder). A job
learns externalizing at rest; a second one takes its weights but for the head and learns response times; a third one
learns them from scratch. The same people are validated in all three, so that nobody whom the first job saw is validated
by the second. `epoch 1` is the score after one epoch, `last` after all of them.
"""

import argparse
import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

from machine import facts, save
from planted_effect import STUDIES, TRAINING, simulate_all, summary, train

REST = {"kind": "fixed", "bids_tasks": ["RestingState"], "target": "externalizing", "size_s": 2.0, "stride_s": 1.0,
        "crop_s": None}  # fmt: skip
INIT = {"exclude": ["final_layer.*"]}


def main() -> None:
    options = _options()
    with contextlib.ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scores: dict[str, list[dict[str, float]]] = {"at rest": [], "pretrained": [], "from scratch": []}
        for seed in range(options.seeds):
            for name, score in _study(folder, seed).items():
                scores[name].append(score)
    result: dict[str, Any] = {"machine": facts(), "training": TRAINING["challenge1"], "init": INIT}
    result |= {name: summary(many) for name, many in scores.items()}
    print(json.dumps(result, indent=2))
    if options.save:
        print(save("pretraining", result))


def _study(folder: Path, seed: int) -> dict[str, dict[str, float]]:
    resting, active, pretraining = f"resting-{seed}", f"challenge1-with-{seed}", f"job_pretrain{seed:08d}"
    _simulate(folder, resting, seed)
    common = {"training": TRAINING["challenge1"]}
    challenge1 = {"task": "challenge1", "dataset": active, **common}
    return {
        "at rest": _score(folder, pretraining, {"task": REST, "dataset": resting, **common}, seed),
        "pretrained": _score(folder, f"pretrained-{seed}", {**challenge1, "init": {"job": pretraining, **INIT}}, seed),
        "from scratch": _score(folder, active, challenge1, seed),
    }


def _simulate(folder: Path, resting: str, seed: int) -> None:
    from worker.data.simulate import simulate

    simulate_all(folder, "challenge1", "with", 1.0, seed + 1)
    if not (folder / "data" / resting).exists():
        subjects = STUDIES["challenge1"]["subjects"]
        simulate(folder / "data" / resting, subjects, seed, tasks=["RestingState"], rest_s=30)


def _score(folder: Path, run: str, spec: dict[str, Any], seed: int) -> dict[str, float]:
    rows = train(folder, run, spec, seed)
    return {
        "epoch 1": rows[0]["val_nrmse"],
        "last": rows[-1]["val_nrmse"],
        "best": rows[-1]["best"],
        "mean": rows[-1]["baseline"],
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=5, help="2 at least")
    parser.add_argument("--folder", type=Path, help="keep data and runs here (default: temporary)")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/")
    return parser.parse_args()


if __name__ == "__main__":
    main()
