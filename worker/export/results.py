"""The plain files a run leaves: what it was made of, scores beside baselines, predictions, weights. Knows no queue."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from jobs.datasets import Source
from jobs.spec import JobSpec
from worker.data.prepare import Prepared
from worker.data.windows import WindowIndex
from worker.training.evaluate import predict
from worker.training.loop import Progress
from worker.training.parts import Parts
from worker.training.score import scores
from worker.versions import versions


def write_results(parts: Parts, progress: Progress, results: Path) -> dict[str, Any]:
    """Scores the best weights once more and writes the folder `results`; the artefacts' names and sizes.

    Raises OSError where the disk is full.
    """
    results.mkdir(parents=True, exist_ok=True)
    take_best(parts)
    index = parts.data.validation
    predicted = predict(parts.state.model, index, parts.validation, alive=lambda: None)
    table = scores(predicted, index.target, parts.data.train.target, index.subject, progress.best_epoch)
    write_json(results / "scores.json", table)
    write_predictions(results, index, predicted)
    write_weights(results, parts)
    write_json(results / "model.json", model_card(parts))
    return {p.name: p.stat().st_size for p in sorted(results.iterdir()) if p.is_file()} | {"score": table}


@torch.no_grad()
def take_best(parts: Parts) -> None:
    """Puts the best epoch's weights into the model; before any evaluation those are the initial ones."""
    for name, tensor in parts.state.model.state_dict().items():
        tensor.copy_(parts.state.best[name])


def write_predictions(results: Path, index: WindowIndex, predicted: np.ndarray) -> None:
    """predictions.csv, a row a window, and subjects.csv, a row a subject."""
    subject, target = np.array(index.subjects)[index.subject], index.target
    windows = zip(subject, index.onset_s, target, predicted, strict=True)
    write_table(results / "predictions.csv", ("subject", "onset_s", "target", "prediction"), windows)
    own = [(name, subject == name) for name in np.unique(subject)]
    rows = [
        (name, rows.sum(), target[rows].mean(), predicted[rows].mean(), rmse(predicted[rows], target[rows]))
        for name, rows in own
    ]
    write_table(results / "subjects.csv", ("subject", "n_windows", "target_mean", "prediction_mean", "rmse"), rows)


def rmse(predicted: np.ndarray, true: np.ndarray) -> float:
    return float(np.sqrt(np.mean((predicted - true) ** 2)))


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Numbers with six digits. By hand, because importing pandas takes longer than the rest of the export."""
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows([f"{v:.6g}" if isinstance(v, float | np.floating) else v for v in row] for row in rows)


def write_weights(results: Path, parts: Parts) -> None:
    """The plain state_dict, as safetensors and as the .pt that the challenge wants."""
    weights = {n: t.detach().cpu().contiguous().clone() for n, t in parts.state.model.state_dict().items()}
    (results / "weights.safetensors").write_bytes(save(weights))
    buffer = io.BytesIO()  # torch.save into a file turns a full disk into a RuntimeError
    torch.save(weights, buffer)
    (results / "weights.pt").write_bytes(buffer.getvalue())


def model_card(parts: Parts) -> dict[str, Any]:
    """What somebody needs to build the model again."""
    index = parts.data.validation
    return {
        "name": parts.spec.model.name,
        "params": parts.spec.model.params,
        "n_chans": index.n_chans,
        "n_times": index.n_times,
        "sfreq": parts.data.sfreq,
        "ch_names": list(parts.data.ch_names),
        "n_outputs": 1,
        "n_parameters": parts.built.n_parameters,
        "fast_path": parts.built.fast,
        "training_mean": float(parts.data.train.target.mean()),
        "moves_batches": parts.built.moves_batches,
    }


def write_data_report(spec: JobSpec, sources: Sequence[Source], data: Prepared, folder: Path) -> None:
    """spec.json made complete, preflight.json, preflight.html and split.json: written before the first step."""
    path = folder / "spec.json"
    begun = json.loads(path.read_text()) if path.exists() else {}
    begun |= {"spec": spec.model_dump(mode="json"), "sources": [asdict(s) for s in sources], "seed": spec.seed}
    write_json(path, begun | {"versions": versions(), "data_digest": data.digest, "code": code_digests(folder)})
    write_json(folder / "preflight.json", data.preflight.to_dict())
    write_text(folder / "preflight.html", data.preflight.to_html())
    write_json(folder / "split.json", data.split)


def code_digests(folder: Path) -> dict[str, str]:
    """File -> SHA-256 of the copies of the user's own models and steps."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((folder / "code").glob("*.py"))}


def write_json(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Whole or not at all: two attempts may write the same file at once."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text)
    os.replace(part, path)
