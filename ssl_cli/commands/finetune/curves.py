"""The curves of a finetuning run."""

from pathlib import Path

from ssl_cli.evaluation.html import Figure
from ssl_cli.evaluation.plots import curves
from ssl_cli.runs.folder import HISTORY, read_history

LOSS = ["train/loss", "dev/loss"]
MACHINERY = {"learning rate": ["lr"]}
CAPTION = "What was learned over the steps of training; the dev split is only looked at."


def draw(folder: Path, monitor: str) -> list[Figure]:
    """Losses, the dev split's metrics and the learning rate over steps, with the step that is best by `monitor`."""
    history = read_history(folder / HISTORY)
    metrics = dict.fromkeys(name for row in history for name in row if name.startswith("dev/") and name not in LOSS)
    panels = {"loss": LOSS} | {name: [name] for name in metrics} | MACHINERY
    if not any(name in row for row in history for names in panels.values() for name in names):
        return []
    measured = [row for row in history if f"dev/{monitor}" in row]
    best = max(measured, key=lambda row: row[f"dev/{monitor}"], default=None)
    mark = None if best is None else (best["step"], f"best by {monitor}")
    curves.histories(folder / "figures" / "training.png", "Learning", history, panels, mark)
    told = f" The dashed line is the best {monitor} on dev, at step {best['step']:,.0f}." if best else ""
    return [Figure("training.png", f"{CAPTION}{told}")]
