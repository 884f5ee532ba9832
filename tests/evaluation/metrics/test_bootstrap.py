"""Bootstrap intervals: their width, their seed, and undefined metrics."""

import numpy as np
import pytest

from ssl_cli.evaluation.metrics.bootstrap import bootstrap_intervals


def test_the_interval_of_a_mean_has_its_theoretical_width() -> None:
    correct = np.arange(400) % 5 > 0  # four of five
    found = bootstrap_intervals(lambda index: {"accuracy": correct[index].mean()}, 400, 2000, 0)
    error = np.sqrt(0.8 * 0.2 / 400)
    assert found["accuracy"] == pytest.approx((0.8 - 1.96 * error, 0.8 + 1.96 * error), abs=0.15 * error)


def test_the_interval_depends_only_on_the_seed() -> None:
    values = np.random.default_rng(0).random(50)

    def drawn(seed: int) -> tuple[float, float]:
        return bootstrap_intervals(lambda index: {"mean": values[index].mean()}, 50, 20, seed)["mean"]

    assert drawn(1) == drawn(1) != drawn(2)


def test_undefined_samples_are_left_out() -> None:
    x = np.array([0.0, 1.0])

    def measure(index: np.ndarray) -> dict[str, float]:
        spread = float(np.ptp(x[index]))
        return {"spread": spread if spread else float("nan"), "never": float("nan")}

    assert bootstrap_intervals(measure, 2, 50, 0) == {"spread": (1.0, 1.0)}
    assert bootstrap_intervals(measure, 2, 0, 0) == {}


def test_a_single_example_has_no_interval() -> None:
    assert bootstrap_intervals(lambda index: {"accuracy": float(len(index))}, 1, 30, 0) == {}
