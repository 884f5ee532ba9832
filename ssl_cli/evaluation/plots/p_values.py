"""Plot of conformal p-values."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from ssl_cli.evaluation.plots.curves import ACCENT, NORMAL, STYLE, save

MAX_BARS = 20


def histogram(path: Path, counts: np.ndarray) -> None:
    """Plot the shares of rows by p-value, beside those of rows like the calibration rows.

    `counts` (n + 1,): how many rows have the p-value (1 + c) / (n + 1), c = 0 ... n. A bar holds p-values up to its
    right edge, which is one of them.
    """
    n_levels = len(counts)
    edges = np.unique(np.linspace(0, n_levels, min(MAX_BARS, n_levels) + 1).round().astype(int))
    shares = np.add.reduceat(counts, edges[:-1]) / max(1, counts.sum())
    expected = np.diff(edges) / n_levels
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.4, 3.6))
        places = edges / n_levels
        axes.bar(places[:-1], shares, np.diff(places), align="edge", color=NORMAL, alpha=0.6, label="these rows")
        axes.stairs(expected, places, color=ACCENT, baseline=None, label="rows like the calibration rows")
        axes.set(xlabel="p-value (small is abnormal)", ylabel="share of the rows", title="P-values", xlim=(0, 1))
        axes.set_ylim(0, 1.08 * max(shares.max(), expected.max()))
        axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.17), ncols=2)
        save(figure, path)
