"""ssl list: tables of what there is."""

from datetime import datetime
from pathlib import Path

from ssl_cli import console, runs
from ssl_cli.catalog import choices, nearest
from ssl_cli.errors import InputError

OUTPUTS = "paths.outputs="
LISTS = {"models": "model", "data": "data", "tasks": "task", "runs": ""}  # word -> config group


def run(arguments: list[str]) -> None:
    """`ssl list [models|data|tasks|runs] [paths.outputs=FOLDER]`; without a word, all of them.

    Raises InputError for any other word.
    """
    outputs = [word.removeprefix(OUTPUTS) for word in arguments if word.startswith(OUTPUTS)]
    words = [word for word in arguments if not word.startswith(OUTPUTS)]
    for word in words:
        if word not in LISTS:
            raise InputError(f"ssl list has no {word}.{nearest(word, LISTS)} It lists {', '.join(LISTS)}.")
    for word in words or LISTS:
        if word == "runs":
            _show_runs(outputs[-1] if outputs else "outputs")
        else:
            _show_choices(LISTS[word])


def _show_choices(group: str) -> None:
    rows = [[choice.name, choice.summary, "" if choice.built_in else "yours"] for choice in choices(group).values()]
    if not rows:
        console.say(f"{group}: none yet; a YAML in conf/{group}/ is one.")
        return
    mine = any(row[2] for row in rows)
    cells = rows if mine else [row[:2] for row in rows]
    console.say(console.table(f"{group}=", ["name", "what it is", *(["whose"] if mine else [])], cells))


def _show_runs(outputs: str) -> None:
    folders = runs.all_runs(outputs)
    if not folders:
        console.say(f"runs: none in {outputs} yet.")
        return
    rows = [_run_row(folder) for folder in folders]
    columns = ["run", "state", "started", "metric", "seconds"]
    console.say(console.table(f"runs in {outputs}, oldest first", columns, rows, right={"seconds"}))


def _run_row(folder: Path) -> list[str]:
    try:
        headline = runs.read_config(folder).get("headline") or []
        environment = runs.read_environment(folder)
        metrics = runs.read_metrics(folder) if runs.is_finished(folder) else {}
        started = datetime.fromtimestamp((folder / runs.CONFIG).stat().st_mtime).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError) as error:  # an InputError, or a date that no calendar has
        return [str(folder), "damaged", "", str(error), ""]
    main = next((name for name in headline if name in metrics), None)
    state = "finished" if metrics else "unfinished"
    wall_time = environment.get("wall_time_s")
    shown = f"{main} {metrics[main]:.4f}" if main else ""
    return [str(folder), state, started, shown, "" if wall_time is None else f"{wall_time:.1f}"]
