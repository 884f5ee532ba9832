"""Plots of predictions: few and many classes, in any script, one example and many."""

import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ssl_cli.evaluation.plots import classification

UNKNOWN = "\U0010ffff"  # no font has it


def is_drawn(path: Path) -> bool:
    return plt.imread(path)[..., :3].std() > 0.03


@pytest.mark.parametrize("names", [["one"], ["no", "yes $x_{"], ["体育", "文化", "a"], [f"类 {k}" for k in range(119)]])
def test_confusion_of_any_classes(tmp_path: Path, names: list[str]) -> None:
    matrix = np.random.default_rng(0).integers(0, 50, (len(names), len(names)))
    matrix[-1] = 0  # a class without an example
    matrix[0, 0] = 90
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns about each character that becomes a box
        classification.confusion_matrix(tmp_path / "confusion.png", "dev", matrix, names)
    assert is_drawn(tmp_path / "confusion.png")


def test_classes_that_no_font_can_show_are_numbered() -> None:
    assert classification.can_show_names(["no", "yes", "peut-être"])
    assert not classification.can_show_names(["no", UNKNOWN])
    assert not classification.can_show_names([str(k) for k in range(classification.MAX_NAMED_CLASSES + 1)])
    assert classification._ticks(["no", UNKNOWN]) == ([0, 1], ["1", "2"])
    assert classification._ticks([str(k) for k in range(119)])[1] == ["1", *map(str, range(10, 120, 10))]


@pytest.mark.parametrize("n", [1, 3000])
def test_reliability_and_scatter(tmp_path: Path, n: int) -> None:
    rng = np.random.default_rng(0)
    count = rng.multinomial(n, np.full(15, 1 / 15))
    classification.reliability(tmp_path / "reliability.png", "dev", count, np.arange(15) / 15, rng.random(15))
    classification.scatter(tmp_path / "scatter.png", "dev", rng.normal(size=n), rng.normal(size=n))
    assert is_drawn(tmp_path / "reliability.png") and is_drawn(tmp_path / "scatter.png")
