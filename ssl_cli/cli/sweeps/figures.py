"""Figures of a sweep: a metric against a number that varied, and learning curves by `init`."""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path

from ssl_cli import console
from ssl_cli.cli.sweeps.table import SEED, Outcome, summary_metrics, varied_settings
from ssl_cli.runs import folder as run_folder

FIGURE, CURVES = "sweep.png", "curves.png"
FROM_SCRATCH = ("none", "null")  # values of init
NAMED_BY_VALUE = {"model", "init"}  # settings whose value alone names a line
PANEL_SETTINGS = {"data", "task"}  # if they varied, each of their values has a panel


def draw_metric_by_number(folder: Path, outcomes: list[Outcome], verb: str) -> None:
    """Plot the first summary metric against the one number that varied over three values or more, if there is one.

    There is a panel for each data set or task, and a line for each combination of the other settings that varied. A
    line shows means over seeds, and their ranges.
    """
    metric = summary_metrics(outcomes, verb)[0]
    outcomes = [outcome for outcome in outcomes if metric in outcome.metrics]
    varied = varied_settings(outcomes, exclude=(SEED,))
    numbers = [name for name in varied if _is_number_line(outcome.settings.get(name, "") for outcome in outcomes)]
    if len(numbers) != 1:
        return
    (axis,) = numbers
    from ssl_cli.evaluation.plots import curves  # imports matplotlib, which pages that only compose do not need

    names = init_names(outcome.settings.get("init", "") for outcome in outcomes)
    panels: curves.Panels = {}
    for outcome in outcomes:
        panel, line = _panel_and_line(outcome, [name for name in varied if name != axis], names)
        points = panels.setdefault(panel, {}).setdefault(line, {})
        points.setdefault(float(outcome.settings[axis]), []).append(outcome.metrics[metric])
    path = folder / FIGURE
    curves.sweep(path, panels, axis, metric)
    console.say(f"{metric} against {axis}: {path}")


def _is_number_line(texts: Iterable[str]) -> bool:
    values = {_number(text) for text in texts}
    return len(values) > 2 and None not in values


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _panel_and_line(outcome: Outcome, names: list[str], inits: Mapping[str, str]) -> tuple[str, str]:
    """Return the titles of the panel and of the line that show an outcome, from the settings that varied.

    `inits` are short names for the values of `init`.
    """
    settings = outcome.settings | {"init": inits.get(outcome.settings.get("init", ""), "")}
    panel = " ".join(settings.get(name, "") for name in names if name in PANEL_SETTINGS)
    others = [(name, settings.get(name, "")) for name in names if name not in PANEL_SETTINGS]
    return panel, " ".join(value if name in NAMED_BY_VALUE else f"{name}={value}" for name, value in others)


# --- learning curves by init --------------------------------------------------------------------------------


def draw_curves_by_init(folder: Path, outcomes: list[Outcome]) -> None:
    """Plot a metric of held-out rows and their loss over the steps, if `init` varied.

    There is a column for each task, and a line for each `init` and each combination of the other settings that varied.
    A line shows means over seeds, and their ranges.
    """
    outcomes = [outcome for outcome in outcomes if outcome.run]
    if "init" not in varied_settings(outcomes):
        return
    others = ["init", *varied_settings(outcomes, exclude=(SEED, "init"))]
    names = init_names(outcome.settings.get("init", "") for outcome in outcomes)
    from ssl_cli.evaluation.plots import curves  # imports matplotlib, which pages that only compose do not need

    columns: dict[str, curves.Panels] = {}
    for outcome in outcomes:
        history = run_folder.read_history(Path(outcome.run) / run_folder.HISTORY)
        panel, line = _panel_and_line(outcome, others, names)
        for curve in _curve_names(outcome.summary_metrics, history):
            points = columns.setdefault(panel, {}).setdefault(curve, {}).setdefault(line, {})
            for row in history:
                if curve in row:
                    points.setdefault(row["step"], []).append(row[curve])
    if columns:
        curves.learning_curves(folder / CURVES, columns)
        console.say(f"learning curves by init: {folder / CURVES}")


def _curve_names(summary_metrics: list[str], history: list[dict[str, float]]) -> list[str]:
    """Return the first summary metric that was measured during training, and the loss on the same rows."""
    measured = set().union(*history)
    metric = next((name for name in summary_metrics if name in measured), "dev/loss")
    loss = f"{metric.partition('/')[0]}/loss"
    return [name for name in dict.fromkeys((metric, loss)) if name in measured]


def init_names(inits: Iterable[str]) -> dict[str, str]:
    """Return a short name for each value of `init`: the first of its names that no other one has."""
    names = {init: _names(init) for init in inits}
    taken = Counter(chain.from_iterable(map(set, names.values())))
    return {init: next((name for name in mine if taken[name] == 1), mine[-1]) for init, mine in names.items()}


def _names(init: str) -> list[str]:
    """Return the names of an `init`, the shortest first.

    A run is named by its verb, model and data, then also its time; another folder by ever more of the end of its path.
    """
    if init in FROM_SCRATCH:
        return ["from scratch"]
    path = Path(init).expanduser().resolve()
    if (path / run_folder.CONFIG).is_file():
        *_, verb, model_and_data, time = path.parts
        return [f"{verb}/{model_and_data}", f"{verb}/{model_and_data}/{time}"]
    parts = path.parts if path.is_dir() else (init,)
    return ["/".join(parts[-n:]) for n in range(1, len(parts) + 1)]
