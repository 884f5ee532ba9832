"""Plot of the top anomalies among images, beside what the model expected in their place."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ssl_cli.commands.detect.explanations import Anomaly
from ssl_cli.data.images.datasets import RawImages
from ssl_cli.evaluation.plots import images as image_plots
from ssl_cli.methods.protocols import Explains, Reconstructs
from ssl_cli.methods.scoring import device_of
from ssl_cli.models.images import to_float, to_uint8

MAX_IMAGES = 12


def draw(path: Path, model: Any, images: RawImages, anomalies: Sequence[Anomaly]) -> None:
    """Plot the top anomalies; below each, what the model expected, if it can be shown, and the difference."""
    shown = anomalies[:MAX_IMAGES]
    x = images.x[[anomaly.index for anomaly in shown]]  # (N, C, H, W)
    lines = [("image", x)]
    if (output := expected_images(model, x)) is not None:
        name, expected = output
        difference = np.abs(x.astype(np.int16) - expected).max(axis=1, keepdims=True).astype(np.uint8)
        lines += [(name, expected), ("difference", difference)]
    captions = [f"{images.describe(anomaly.index)[0][:12]}\n{anomaly.score:.3g}" for anomaly in shown]
    title = "Test images with the largest anomaly scores, with their class and score"
    image_plots.image_rows(path, title, lines, captions, group_size=len(lines))


def expected_images(model: Any, x: np.ndarray) -> tuple[str, np.ndarray] | None:
    """Return what a model expects in place of images (N, C, H, W), and a name for it; None if it has none."""
    batch = to_float(torch.from_numpy(np.ascontiguousarray(x)).to(device_of(model)))
    with torch.inference_mode():
        if isinstance(model, Reconstructs):
            return "rebuilt", to_uint8(model.reconstruct({"x": batch})).cpu().numpy()
        if isinstance(model, Explains):  # all pixels are one column
            rows = batch if isinstance(model, nn.Module) else batch.flatten(1)
            expected, _ = model.explain({"x": rows}, [slice(0, rows[0].numel())])
            return "expected", to_uint8(expected.view(x.shape)).cpu().numpy()
    return None
