"""What a variational code holds."""

import math

import numpy as np
import pytest

from ssl_cli.evaluation.metrics.latents import active_units, mutual_information


def test_mutual_information_is_none_of_equal_and_all_of_distant_posteriors() -> None:
    rng = np.random.default_rng(0)
    noise, log_var = rng.standard_normal((600, 3)), np.zeros((600, 3))
    assert mutual_information(np.ones((600, 3)), log_var, noise) == pytest.approx(0, abs=1e-9)
    apart = 100 * np.arange(600.0)[:, None] * np.ones(3)
    assert mutual_information(apart, log_var, noise) == pytest.approx(math.log(600))


def test_mutual_information_of_a_gaussian_channel() -> None:
    """z = x + noise with unit variances has log(2) / 2 nats a number."""
    rng = np.random.default_rng(1)
    mean = rng.standard_normal((1500, 2))
    found = mutual_information(mean, np.zeros((1500, 2)), rng.standard_normal((1500, 2)))
    assert found == pytest.approx(math.log(2), abs=0.06)


def test_active_units_vary_with_the_data() -> None:
    mean = np.random.default_rng(0).standard_normal((500, 3)) * [1.0, 0.2, 0.05]
    assert active_units(mean) == 2
