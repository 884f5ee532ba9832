"""Image files for tests."""

from pathlib import Path

import numpy as np
from PIL import Image


def save_image(path: Path, pixels: np.ndarray, **how: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **how)
    return path


def grey_square(value: int, size: int = 4) -> np.ndarray:
    """(H, W) of one shade of grey"""
    return np.full((size, size), value, np.uint8)
