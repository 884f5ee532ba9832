"""Intervals by resampling: of the right width, the same for the same seed, and of what is defined only."""

import numpy as np
import pytest

from ssl_cli.evaluation.metrics.bootstrap import intervals


def test_the_interval_of_a_mean_is_as_wide_as_theory_has_it() -> None:
    right = np.arange(400) % 5 > 0  # four of five
    found = intervals(lambda which: {"accuracy": right[which].mean()}, 400, 2000, 0)
    error = np.sqrt(0.8 * 0.2 / 400)
    assert found["accuracy"] == pytest.approx((0.8 - 1.96 * error, 0.8 + 1.96 * error), abs=0.15 * error)


def test_the_seed_decides() -> None:
    values = np.random.default_rng(0).random(50)

    def drawn(seed: int) -> tuple[float, float]:
        return intervals(lambda which: {"mean": values[which].mean()}, 50, 20, seed)["mean"]

    assert drawn(1) == drawn(1) != drawn(2)


def test_undefined_draws_are_left_out() -> None:
    x = np.array([0.0, 1.0])

    def measure(which: np.ndarray) -> dict[str, float]:
        spread = float(np.ptp(x[which]))
        return {"spread": spread if spread else float("nan"), "never": float("nan")}

    assert intervals(measure, 2, 50, 0) == {"spread": (1.0, 1.0)}
    assert intervals(measure, 2, 0, 0) == {}


def test_one_example_tells_nothing_of_others() -> None:
    assert intervals(lambda which: {"accuracy": float(len(which))}, 1, 30, 0) == {}
