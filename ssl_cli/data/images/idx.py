"""Reader of MNIST's idx format: a big-endian header, then bytes."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from ssl_cli.errors import InputError

UINT8_CODE = 0x08


def read_idx(folder: Path, name: str, n_dims: int, hint: str) -> np.ndarray:
    """Return the array in `folder/name` or `folder/name.gz`: uint8 of `n_dims` dimensions.

    Raises InputError if the file is damaged, or missing; in that case, the message ends in `hint`.
    """
    candidates = (folder / name, folder / f"{name}.gz")
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        raise InputError(f"{folder / name}.gz is missing. {hint}")
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} can't be read: {error}.") from error
    start = 4 + 4 * n_dims
    if len(raw) < start or raw[:4] != bytes([0, 0, UINT8_CODE, n_dims]):
        raise InputError(f"{path} is not an idx file of bytes in {n_dims} dimension{'s' if n_dims > 1 else ''}.")
    shape = [int(size) for size in np.frombuffer(raw, ">i4", n_dims, 4)]
    if min(shape) < 0 or len(raw) - start != math.prod(shape):
        size = " x ".join(map(str, shape))
        raise InputError(f"{path} is damaged: it holds {len(raw) - start:,} bytes in place of {size}.")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)
