"""Training curves of a fine-tuning run."""

from pathlib import Path

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
    validated = [row for row in history if f"dev/{monitor}" in row]
    best = max(validated, key=lambda row: row[f"dev/{monitor}"], default=None)
    mark = None if best is None else (best["step"], f"best by {monitor}")
    curves.history_panels(folder / "figures" / "training.png", "Learning", history, panels, mark)
    explanation = f" The dashed line is the best {monitor} on dev, at step {best['step']:,.0f}." if best else ""
    return [Figure("training.png", f"{CAPTION}{explanation}")]
