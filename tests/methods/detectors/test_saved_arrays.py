"""Arrays of saved detectors: one that would be broadcast, is missing or is no row of numbers is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from ssl_cli.errors import InputError
from ssl_cli.methods.detectors.gaussian import Gaussian
from ssl_cli.methods.detectors.knn import KNN
from ssl_cli.methods.detectors.residual_knn import ResidualKNN
from ssl_cli.methods.detectors.sklearn import OneClassSvm

ROWS = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
DETECTORS: list[Callable[[], Any]] = [Gaussian, KNN, ResidualKNN, OneClassSvm]
CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "one axis more": lambda array: array[None],
    "another size": lambda array: np.concatenate([array, array]),
    "empty": lambda array: array[:0],
    "bytes": lambda array: array.astype(np.uint8),
}


def saved(make: Callable[[], Any], folder: Path) -> dict[str, np.ndarray]:
    detector = make()
    detector.fit(ROWS, seed=0)
    detector.save(folder)
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("make", DETECTORS)
def test_what_was_saved_scores_as_before(make: Callable[[], Any], tmp_path: Path) -> None:
    detector, again, batch = make(), make(), {"x": torch.from_numpy(ROWS)}
    detector.fit(ROWS, seed=0)
    detector.save(tmp_path)
    again.restore(tmp_path)
    torch.testing.assert_close(again.score(batch), detector.score(batch), rtol=0, atol=0)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("make", DETECTORS)
def test_another_shape_is_refused(make: Callable[[], Any], change: str, tmp_path: Path) -> None:
    arrays = saved(make, tmp_path)
    for name, array in arrays.items():
        if change == "another size" and array.ndim == 2 and name != "cholesky" and name != "residual":
            continue  # more rows are rows
        save_file(arrays | {name: CHANGES[change](array)}, tmp_path / "model.safetensors")
        with pytest.raises(InputError, match=r"model\.safetensors is damaged: \w+ must be .* floating point numbers"):
            make().restore(tmp_path)


@pytest.mark.parametrize("make", DETECTORS)
def test_an_array_too_few_is_refused(make: Callable[[], Any], tmp_path: Path) -> None:
    arrays = saved(make, tmp_path)
    arrays.pop(next(iter(arrays)))
    save_file(arrays | {"other": ROWS}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match=r"is damaged: it must hold .* and holds .*other"):
        make().restore(tmp_path)
