"""The curves of a pretraining run."""

from pathlib import Path

from ssl_cli.evaluation.html import Figure
from ssl_cli.evaluation.plots import curves
from ssl_cli.runs.folder import HISTORY, read_history

CURVES = {  # y-axis -> columns of history.csv
    "loss, nats": ["train/loss", "val/loss"],
    "perplexity (held-out text)": ["val/perplexity"],
    "bits a byte (held-out text)": ["val/bits_per_byte"],
    "hidden tokens guessed": ["train/masked_accuracy", "val/masked_accuracy"],
    "pairs told right": ["train/pair_accuracy", "val/pair_accuracy"],
}
MACHINERY = {
    "learning rate": ["lr"],
    "norm of the gradient": ["train/grad_norm"],
    "training tokens a second": ["train/tokens_per_s"],
}


def draw(folder: Path) -> list[Figure]:
    history = read_history(folder / HISTORY)
    if not history:
        return []
    curves.histories(folder / "figures" / "training.png", "Learning", history, CURVES)
    curves.histories(folder / "figures" / "optimizer.png", "How it was trained", history, MACHINERY)
    return [
        Figure("training.png", "What was learned over the steps of training; the held-out text is only looked at."),
        Figure("optimizer.png", "The learning rate, the gradient's norm before clipping, and the pace."),
    ]
