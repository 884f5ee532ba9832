"""Plot of the lengths of generated texts beside those of their targets."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from ssl_cli.evaluation.plots.curves import ACCENT, NORMAL, STYLE, save

MAX_BINS = 40


def text_lengths(path: Path, title: str, predictions: np.ndarray, targets: np.ndarray) -> None:
    """Plot how many predictions and targets have each length, (N,) words each; longer ones share the last bin."""
    longest = int(max(np.quantile(targets, 0.99), np.quantile(predictions, 0.99), 1)) + 1
    edges = np.unique(np.linspace(0, longest, min(longest, MAX_BINS) + 1).round()) - 0.5
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(5.2, 3.2))
        for lengths, colour, name in ((targets, NORMAL, "targets"), (predictions, ACCENT, "predictions")):
            style = {"alpha": 0.6} if name == "targets" else {"histtype": "step", "linewidth": 1.5}
            axes.hist(np.minimum(lengths, edges[-1]), edges.tolist(), color=colour, label=name, **style)
        axes.set(xlabel="words (of Chinese: characters)", ylabel="texts", title=title)
        axes.legend(fontsize=8)
        save(figure, path)
