"""The idx format of MNIST: a big-endian header, then bytes."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from ssl_cli.errors import InputError

BYTES = 0x08  # the type code of uint8


def read_idx(folder: Path, name: str, n_dims: int, otherwise: str) -> np.ndarray:
    """The array in `folder/name` or `folder/name.gz`: uint8 of `n_dims` dimensions.

    Raises InputError where it is damaged; or there is none, and then it ends in `otherwise`.
    """
    found = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
    if not found:
        raise InputError(f"{folder / name}.gz is missing. {otherwise}")
    path = found[0]
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} can't be read: {error}.") from error
    start = 4 + 4 * n_dims
    if len(raw) < start or raw[:4] != bytes([0, 0, BYTES, n_dims]):
        raise InputError(f"{path} is no idx file of bytes in {n_dims} dimension{'s' if n_dims > 1 else ''}.")
    shape = [int(size) for size in np.frombuffer(raw, ">i4", n_dims, 4)]
    if min(shape) < 0 or len(raw) - start != math.prod(shape):
        raise InputError(f"{path} is damaged: it holds {len(raw) - start:,} bytes of {' x '.join(map(str, shape))}.")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)
