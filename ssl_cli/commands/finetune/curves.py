"""Training curves of a fine-tuning run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ssl_cli.evaluation.html import Figure
from ssl_cli.evaluation.plots import curves
from ssl_cli.runs.folder import HISTORY, read_history

LOSS = ["train/loss", "dev/loss"]
LEARNING_RATE = {"learning rate": ["lr"]}
CAPTION = "Loss, metrics and learning rate over the training steps; dev is not trained on."


def draw(folder: Path, monitor: str) -> list[Figure]:
    """Draw losses, metrics on dev and the learning rate over steps, and mark the best step by `monitor`."""
    history = read_history(folder / HISTORY)
    metrics = dict.fromkeys(name for row in history for name in row if name.startswith("dev/") and name not in LOSS)
    panels = {"loss": LOSS} | {name: [name] for name in metrics} | LEARNING_RATE
    if not any(name in row for row in history for names in panels.values() for name in names):
        return []
    kept = kept_step(history, monitor)
    mark = None if kept is None else (kept, f"best by {monitor}")
    curves.history_panels(folder / "figures" / "training.png", "Learning", history, panels, mark)
    explanation = "" if kept is None else f" The dashed line is the best {monitor} on dev, at step {kept:,}."
    return [Figure("training.png", f"{CAPTION}{explanation}")]


def kept_step(history: Sequence[Mapping[str, float]], monitor: str) -> int | None:
    """Return the step whose weights were kept: the first of the best by `monitor`; None if it was never a number.

    Validations are compared in float32, as in training.
    """
    values = {int(row["step"]): np.float32(row.get(f"dev/{monitor}", np.nan)) for row in history}
    numbers = {step: value for step, value in values.items() if not np.isnan(value)}
    best = min if monitor == "loss" else max
    return best(numbers, key=numbers.__getitem__, default=None)
