"""The results folder of a finished run: scores beside baselines, predictions, weights. Knows no queue."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save

from worker.data.prepare import Prepared
from worker.data.windows import WindowIndex
from worker.training.evaluate import predict
from worker.training.loop import Progress
from worker.training.parts import Parts
from worker.training.score import scores


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
    subjects = np.array(index.subjects)[index.subject]
    windows = pd.DataFrame(
        {"subject": subjects, "onset_s": index.onset_s, "target": index.target, "prediction": predicted}
    )
    windows.to_csv(results / "predictions.csv", index=False, float_format="%.6g")
    rows = [
        {"subject": s, "n_windows": len(g), "target_mean": g.target.mean(), "prediction_mean": g.prediction.mean(),
         "rmse": float(np.sqrt(np.mean((g.prediction - g.target) ** 2)))}
        for s, g in windows.groupby("subject")
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(results / "subjects.csv", index=False, float_format="%.6g")


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


def write_data_report(data: Prepared, folder: Path) -> None:
    """preflight.json, preflight.html and split.json, written before the first step."""
    write_json(folder / "preflight.json", data.preflight.to_dict())
    write_text(folder / "preflight.html", data.preflight.to_html())
    write_json(folder / "split.json", data.split)
    for name, source in data.custom_sources.items():
        write_text(folder / name, source)


def write_json(path: Path, content: dict[str, Any]) -> None:
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Whole or not at all: two attempts may write the same file at once."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text)
    os.replace(part, path)
