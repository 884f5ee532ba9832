"""Decoding for plots: codes of numbers -> images."""

from typing import Any

import numpy as np
import torch

from ssl_cli.commands.reconstruct.predictions import map_batches
from ssl_cli.models.images import to_uint8


def decode(model: Any, codes: np.ndarray) -> np.ndarray:
    """Decode codes (N, Z) to images (N, C, H, W) float32."""
    return map_batches(model, model.decode, codes.astype(np.float32))


def decode_images(model: Any, codes: np.ndarray) -> np.ndarray:
    """Decode codes (N, Z) to images (N, C, H, W) uint8."""
    return to_bytes(decode(model, codes))


def to_bytes(x: np.ndarray) -> np.ndarray:
    """Round numbers in 0..1 to bytes."""
    return to_uint8(torch.from_numpy(x)).numpy()
