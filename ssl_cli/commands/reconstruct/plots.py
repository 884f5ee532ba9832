"""Codes and numbers as pictures."""

from typing import Any

import numpy as np
import torch

from ssl_cli.commands.reconstruct.predictions import mapped
from ssl_cli.models.images import in_bytes


def decoded_numbers(model: Any, codes: np.ndarray) -> np.ndarray:
    """(N, Z) -> (N, C, H, W) float32"""
    return mapped(model, model.decode, codes.astype(np.float32))


def decoded(model: Any, codes: np.ndarray) -> np.ndarray:
    """(N, Z) -> (N, C, H, W) uint8"""
    return picture(decoded_numbers(model, codes))


def picture(x: np.ndarray) -> np.ndarray:
    """Numbers 0..1 -> the nearest bytes"""
    return in_bytes(torch.from_numpy(x)).numpy()
