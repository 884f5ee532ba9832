"""Scores of many rows, a batch at a time."""

from typing import Any

import numpy as np
import torch

SCORE_BATCH = 8192  # rows


def score_rows(model: Any, x: np.ndarray, device: torch.device | str = "cpu") -> np.ndarray:
    """(N, D) float32 -> (N,) float64 scores, larger for more abnormal."""
    if not len(x):
        return np.empty(0)
    rows = torch.from_numpy(x)
    with torch.inference_mode():
        batches = [model.score({"x": part.to(device)}).cpu() for part in rows.split(SCORE_BATCH)]
    return torch.cat(batches).double().numpy()


def device_of(model: Any) -> torch.device:
    """Where a model computes: its parameters' device, or the CPU for one that has none."""
    parameters = getattr(model, "parameters", lambda: iter(()))
    return next((parameter.device for parameter in parameters()), torch.device("cpu"))
