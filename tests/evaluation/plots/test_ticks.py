"""Ticks of axes that are not linear: few, round, apart, plainly written."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ssl_cli.evaluation.plots.ticks import MAX_TICKS, MIN_GAP, plain_number, plain_ticks


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (2.2, 9.7, [4, 6, 8]),
        (1e-3, 2e4, [0.01, 1, 100, 10000]),
        (0.2, 300, [1, 10, 100]),
        (40, 44, [40, 41, 42, 43, 44]),
        (1e-9, 5, [1e-8, 1e-6, 1e-4, 1e-2, 1]),
    ],
)
def test_ticks_of_a_logarithmic_axis(low: float, high: float, wanted: list[float]) -> None:
    figure, axes = plt.subplots()
    axes.set_xscale("log")
    np.testing.assert_allclose(plain_ticks(low, high, axes.xaxis.get_transform()), wanted)
    plt.close(figure)


@pytest.mark.parametrize(("low", "high"), [(-6, 12), (-6, 1e6), (-1e4, -1e4 + 3), (-1e-3, 0.2), (-1, 1), (0, 0)])
def test_ticks_of_a_symmetric_axis_are_few_and_apart(low: float, high: float) -> None:
    figure, axes = plt.subplots()
    axes.set_xscale("symlog", linthresh=max(abs(low) / 3, 1e-12))
    scale = axes.xaxis.get_transform()
    ticks = plain_ticks(low, high, scale)
    places, span = scale.transform(np.array(ticks, float)), np.ptp(scale.transform(np.array([low, high], float)))
    assert 1 <= len(ticks) <= MAX_TICKS and (np.diff(places) >= MIN_GAP * span).all()
    assert all(low <= tick <= high for tick in ticks) and (len(ticks) >= 3 or low == high)
    assert low > 0 or high < 0 or 0 in ticks
    plt.close(figure)


def test_numbers_are_written_plainly() -> None:
    numbers = [0, 0.001, 0.25, 20, -5000, 999_999, 2e6, 1.5e-7, 1e300]
    written = ["0", "0.001", "0.25", "20", "-5,000", "999,999", "2e6", "1.5e-7", "1e300"]
    assert list(map(plain_number, numbers)) == written
