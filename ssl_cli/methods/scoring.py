"""Anomaly scores of many rows, computed a batch at a time."""

from typing import Any

import numpy as np
import torch
from torch import nn

from ssl_cli.models.images import float_batches

SCORE_BATCH = 8192  # rows; fewer if they are large images


def score_rows(model: Any, x: np.ndarray, device: torch.device | str = "cpu") -> np.ndarray:
    """Return scores (N,) float64, larger for more abnormal, of rows (N, D) float32 or images (N, C, H, W) as bytes."""
    if not len(x):
        return np.empty(0)
    # A detector that isn't a module takes flat rows only.
    with torch.inference_mode():
        batches = [
            model.score({"x": part if isinstance(model, nn.Module) else part.flatten(1)}).cpu()
            for part in float_batches(torch.from_numpy(x), SCORE_BATCH, torch.device(device))
        ]
    return torch.cat(batches).double().numpy()


def device_of(model: Any) -> torch.device:
    """Return the device of a model's parameters, or the CPU if it has none."""
    parameters = getattr(model, "parameters", lambda: iter(()))
    return next((parameter.device for parameter in parameters()), torch.device("cpu"))
