"""The strangest images: what they are, and what the model makes of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ssl_cli.commands.detect.explanations import Anomaly
from ssl_cli.data.images.datasets import RawImages
from ssl_cli.evaluation.plots import images
from ssl_cli.methods.scoring import device_of
from ssl_cli.models.images import in_bytes, numbers

DRAWN = 12


def draw(path: Path, model: Any, pictures: RawImages, strangest: Sequence[Anomaly]) -> None:
    """The strangest images above what the model expected in their place, where it can say, and how far they are off."""
    shown = strangest[:DRAWN]
    x = pictures.x[[one.index for one in shown]]  # (N, C, H, W)
    lines = [("image", x)]
    if (found := expected(model, x)) is not None:
        what, instead = found
        off = np.abs(x.astype(np.int16) - instead).max(axis=1, keepdims=True).astype(np.uint8)
        lines += [(what, instead), ("difference", off)]
    captions = [f"{pictures.about(one.index)[0][:12]}\n{one.score:.3g}" for one in shown]
    title = "The strangest test images, the strangest first: class and score below each"
    images.rows(path, title, lines, captions, bands=len(lines))


def expected(model: Any, x: np.ndarray) -> tuple[str, np.ndarray] | None:
    """What a model makes of images (N, C, H, W), or expects in their place, in a word; None where it can't say."""
    batch = numbers(torch.from_numpy(np.ascontiguousarray(x)).to(device_of(model)))
    with torch.inference_mode():
        if hasattr(model, "reconstruct"):
            return "rebuilt", in_bytes(model.reconstruct({"x": batch})).cpu().numpy()
        if hasattr(model, "explain"):  # all pixels are one column
            rows = batch if isinstance(model, nn.Module) else batch.flatten(1)
            instead, _ = model.explain({"x": rows}, [slice(0, rows[0].numel())])
            return "expected", in_bytes(instead.view(x.shape)).cpu().numpy()
    return None
