"""Scores beside their baselines. Pure numpy: predictions and targets in, numbers out.

NRMSE = RMSE / standard deviation of the true values (population), the challenge's metric; lower is better. Never
divided by the range, which makes a constant look like 0.16.
"""

from typing import Any

import numpy as np


def nrmse(predicted: np.ndarray, true: np.ndarray) -> float:
    """Both (n,). Infinite where the true values do not vary."""
    spread = float(np.std(true, dtype=np.float64))
    error = float(np.sqrt(np.mean(np.square(predicted.astype(np.float64) - true))))
    return error / spread if spread > 0 else float("inf")


def baselines(train_y: np.ndarray, y: np.ndarray, subject: np.ndarray) -> dict[str, float | None]:
    """Zero, the training mean, and each subject's own mean: an oracle, where labels vary within subjects."""
    means = {s: y[subject == s].mean() for s in np.unique(subject)}
    oracle = np.array([means[s] for s in subject])
    varies = bool(np.any(np.abs(oracle - y) > 1e-6))
    return {
        "zero": nrmse(np.zeros_like(y), y),
        "training_mean": nrmse(np.full_like(y, train_y.mean()), y),
        "subject_mean_oracle": nrmse(oracle, y) if varies else None,
    }


def scores(
    predicted: np.ndarray, y: np.ndarray, train_y: np.ndarray, subject: np.ndarray, epoch: int
) -> dict[str, Any]:
    """The content of scores.json, with a warning where the mean is not beaten."""
    value, lines = nrmse(predicted, y), baselines(train_y, y, subject)
    mean = lines["training_mean"]
    assert mean is not None
    beaten = value < mean
    warning = None if beaten else f"NRMSE {value:.4f} does not beat predicting the training mean ({mean:.4f})"
    return {
        "metric": "nrmse",
        "value": value,
        "epoch": epoch,
        "n_windows": len(y),
        "n_subjects": len(np.unique(subject)),
        "baselines": lines,
        "beats_the_mean": beaten,
        "warning": warning,
    }
