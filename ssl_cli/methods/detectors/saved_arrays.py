"""Shapes of the arrays that a detector has saved: numpy and torch would broadcast wrong ones without a word."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssl_cli.errors import InputError

WEIGHTS = "model.safetensors"


def check_shapes(path: Path, arrays: Mapping[str, Any], shapes: Mapping[str, str]) -> None:
    """Raise InputError unless a file has exactly these arrays, of floating point numbers, in these shapes.

    A shape is a text such as "S D": a word stands for the same size of at least 1 wherever it occurs, 1 and 2 for
    themselves.
    """
    if arrays.keys() != shapes.keys():
        raise InputError(f"{path} is damaged: it must hold {', '.join(shapes)}, and holds {', '.join(arrays)[:200]}.")
    sizes = {"1": 1, "2": 2}
    for name, letters in shapes.items():
        actual, is_float = list(arrays[name].shape), "float" in str(arrays[name].dtype)
        is_shape = len(actual) == len(letters.split()) and min(actual, default=1) > 0
        expected = [sizes.setdefault(letter, size) for letter, size in zip(letters.split(), actual, strict=False)]
        if not is_float or not is_shape or actual != expected:
            sized = " x ".join(str(sizes[letter]) if letter in sizes else letter for letter in letters.split())
            raise InputError(
                f"{path} is damaged: {name} must be {sized} floating point numbers, and is "
                f"{' x '.join(map(str, actual)) or 'one'} of {arrays[name].dtype}."
            )
