"""What came out of a sweep, as figures: a metric against a number that varied; the curves of each start."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ssl_cli import console
from ssl_cli.cli.sweeps.table import SEED, Outcome, summary_metrics, what_varied
from ssl_cli.runs import folder as run_folder

FIGURE, CURVES = "sweep.png", "curves.png"
FROM_SCRATCH = ("none", "null")  # values of init
PANEL = {"data", "task"}  # a panel each, where they varied


def draw_numbers(folder: Path, outcomes: list[Outcome], verb: str) -> None:
    """Draw the first of the summary metrics against the one number that varied over three values or more, if any.

    A panel for each data set or task, a line for each combination of what else varied; means and ranges over seeds.
    """
    metric = summary_metrics(outcomes, verb)[0]
    outcomes = [outcome for outcome in outcomes if metric in outcome.metrics]
    varied = what_varied(outcomes, but=(SEED,))
    numbers = [name for name in varied if _is_number_line(outcome.settings.get(name, "") for outcome in outcomes)]
    if len(numbers) != 1:
        return
    (axis,) = numbers
    from ssl_cli.evaluation.plots import curves  # imports matplotlib: the pages that only compose must not wait for it

    panels: curves.Panels = {}
    for outcome in outcomes:
        panel, line = _place(outcome, [name for name in varied if name != axis])
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


def _place(outcome: Outcome, names: list[str]) -> tuple[str, str]:
    """The panel and the line of an outcome, in words, by what varied."""
    settings = outcome.settings
    panel = " ".join(settings.get(name, "") for name in names if name in PANEL)
    others = [(name, settings.get(name, "")) for name in names if name not in PANEL]
    return panel, " ".join(value if name == "model" else f"{name}={value}" for name, value in others)


# --- from where it was learned ------------------------------------------------------------------------------


def draw_starts(folder: Path, outcomes: list[Outcome]) -> None:
    """Where `init` varied: a metric of held-out rows and their loss over the steps, a line for each start (and for each
    combination of what else varied), a column for each task. Means and ranges over seeds."""
    outcomes = [outcome for outcome in outcomes if outcome.run]
    if "init" not in what_varied(outcomes):
        return
    others = what_varied(outcomes, but=(SEED, "init"))
    names = start_names(outcome.settings.get("init", "") for outcome in outcomes)
    from ssl_cli.evaluation.plots import curves  # imports matplotlib: the pages that only compose must not wait for it

    columns: dict[str, curves.Panels] = {}
    for outcome in outcomes:
        history = run_folder.read_history(Path(outcome.run) / run_folder.HISTORY)
        panel, line = _place(outcome, others)
        line = f"{names[outcome.settings.get('init', '')]} {line}".strip()
        for curve in _curves(outcome.summary_metrics, history):
            points = columns.setdefault(panel, {}).setdefault(curve, {}).setdefault(line, {})
            for row in history:
                if curve in row:
                    points.setdefault(row["step"], []).append(row[curve])
    if columns:
        curves.starts(folder / CURVES, columns)
        console.say(f"curves of each start: {folder / CURVES}")


def _curves(summary_metrics: list[str], history: list[dict[str, float]]) -> list[str]:
    """The first summary_metrics metric that was measured on the way, and the loss of the same rows."""
    measured = set().union(*history)
    metric = next((name for name in summary_metrics if name in measured), "dev/loss")
    loss = f"{metric.partition('/')[0]}/loss"
    return [name for name in dict.fromkeys((metric, loss)) if name in measured]


def start_names(starts: Iterable[str]) -> dict[str, str]:
    """A short name for each value of `init`: of a run its verb, model and data, and its time where they are several."""
    known = {start: _parts(start) for start in starts}
    bearers = Counter(parts[0] for parts in known.values())
    return {start: "/".join(parts) if bearers[parts[0]] > 1 else parts[0] for start, parts in known.items()}


def _parts(start: str) -> list[str]:
    """What it is, and which one of those, as far as there are several."""
    if start in FROM_SCRATCH:
        return ["from scratch"]
    place = Path(start).expanduser().resolve()
    if (place / run_folder.CONFIG).is_file():
        *_, verb, home, time = place.parts
        return [f"{verb}/{home}", time]
    return [place.name, str(place.parent)] if place.is_dir() else [start]
