"""A bound on the share of rows unlike the calibration rows: it holds, and it finds what there is."""

import numpy as np
import pytest

from ssl_cli.evaluation.conformal import counts_above
from ssl_cli.evaluation.drift import least_share_unlike


def bound(calibration: np.ndarray, rows: np.ndarray) -> float:
    above = counts_above(np.sort(calibration), rows)
    return least_share_unlike(np.bincount(above, minlength=len(calibration) + 1))


@pytest.mark.parametrize("n_calibration", [1, 19, 200])
@pytest.mark.parametrize("ties", [False, True])
def test_rows_like_the_calibration_rows_seldom_exceed_it(n_calibration: int, ties: bool) -> None:
    rng = np.random.default_rng(0)

    def draw(n: int) -> np.ndarray:
        return rng.integers(0, 5, n).astype(float) if ties else rng.normal(size=n)

    draws = [bound(draw(n_calibration), draw(500)) for _ in range(400)]
    assert np.mean(np.array(draws) > 0) <= 0.05


@pytest.mark.parametrize("share", [0.1, 0.4, 0.9])
def test_it_is_below_the_share_of_other_rows_and_near_it(share: float) -> None:
    rng, bounds = np.random.default_rng(1), []
    for _ in range(200):
        other = rng.random(2000) < share
        bounds.append(bound(rng.normal(size=1000), rng.normal(size=2000) + 8 * other))
    assert np.mean(np.array(bounds) > share) <= 0.05
    assert np.median(bounds) > share - 0.12


def test_no_rows_and_all_rows_alike_have_no_share() -> None:
    assert least_share_unlike(np.zeros(20, np.int64)) == 0
    assert bound(np.arange(100.0), np.full(50, -1.0)) == 0
    assert bound(np.arange(100.0), np.full(500, 1000.0)) > 0.9
