"""Outputs of fine-tuning runs without training: a task with given predictions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssl_cli.commands.finetune import outputs

CHOSEN = {"model": "bert", "data": "toy", "init": "none", "seed": 0}
Predictions = list[dict[str, Any]]


class Toy:
    """A task with given predictions; `scores` computes their metrics."""

    monitor = "accuracy"

    def __init__(self, measure: Any, submission: Mapping[str, str] | None = None):
        self.measure, self.submitted = measure, submission or {}

    def scores(self, predictions: Predictions) -> Any:
        return self.measure(predictions) if {"label", "labels"} & predictions[0].keys() else None

    def submission(self, split: str, predictions: Predictions) -> dict[str, str]:
        return {f"{split}/{name}": content for name, content in self.submitted.items()}


def written(
    folder: Path, task: Toy, labels: Sequence[str], predictions: Mapping[str, Predictions], bootstrap_samples: int = 20
) -> tuple[dict[str, float], str]:
    """Write the outputs of a run; return its metrics and its page."""
    if not (folder / "config.yaml").exists():
        (folder / "config.yaml").write_text("verb: finetune\n")
    metrics: dict[str, float] = {}
    outputs.write(folder, task, labels, predictions, metrics, CHOSEN, bootstrap_samples, 0)  # type: ignore[arg-type]
    return metrics, (folder / "report.html").read_text()
