"""Scores of many rows, a batch at a time."""

from typing import Any

import numpy as np
import torch
from torch import nn

from ssl_cli.models.images import parts

SCORE_BATCH = 8192  # rows; fewer of large images


def score_rows(model: Any, x: np.ndarray, device: torch.device | str = "cpu") -> np.ndarray:
    """(N, D) float32, or images (N, C, H, W) as bytes -> (N,) float64 scores, larger for more abnormal."""
    if not len(x):
        return np.empty(0)
    # A detector that isn't trained by gradient knows rows only.
    with torch.inference_mode():
        batches = [
            model.score({"x": part if isinstance(model, nn.Module) else part.flatten(1)}).cpu()
            for part in parts(torch.from_numpy(x), SCORE_BATCH, torch.device(device))
        ]
    return torch.cat(batches).double().numpy()


def device_of(model: Any) -> torch.device:
    """Where a model computes: its parameters' device, or the CPU for one that has none."""
    parameters = getattr(model, "parameters", lambda: iter(()))
    return next((parameter.device for parameter in parameters()), torch.device("cpu"))
