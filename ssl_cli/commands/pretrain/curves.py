"""Training curves of a pretraining run."""

from pathlib import Path

from ssl_cli.evaluation.html import Figure
from ssl_cli.evaluation.plots import curves
from ssl_cli.runs.folder import HISTORY, read_history

CURVES = {  # y-axis -> columns of history.csv
    "loss, nats": ["train/loss", "val/loss"],
    "perplexity (held-out text)": ["val/perplexity"],
    "bits per byte (held-out text)": ["val/bits_per_byte"],
    "accuracy on masked tokens": ["train/masked_accuracy", "val/masked_accuracy"],
    "accuracy on the tokens to write": ["train/accuracy", "val/accuracy"],
    "accuracy on sentence pairs": ["train/pair_accuracy", "val/pair_accuracy"],
}
OPTIMIZER = {
    "learning rate": ["lr"],
    "gradient norm": ["train/grad_norm"],
    "training tokens per second": ["train/tokens_per_s"],
}


def draw(folder: Path) -> list[Figure]:
    """Draw losses and metrics over steps, and the optimizer's state, into the run folder."""
    history = read_history(folder / HISTORY)
    if not history:
        return []
    curves.history_panels(folder / "figures" / "training.png", "Learning", history, CURVES)
    curves.history_panels(folder / "figures" / "optimizer.png", "Optimizer", history, OPTIMIZER)
    return [
        Figure("training.png", "Losses and metrics over the training steps; the held-out text is not trained on."),
        Figure("optimizer.png", "The learning rate, the gradient norm before clipping, and the throughput."),
    ]
