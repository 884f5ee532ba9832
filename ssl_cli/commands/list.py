"""ssl list: tables of what there is."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from ssl_cli import console, runs
from ssl_cli.catalog import choices, nearest
from ssl_cli.errors import InputError


def run(arguments: list[str]) -> None:
    """`ssl list [models|data|tasks|runs]`; without a word, all of them. Raises InputError for any other word."""
    unknown = [word for word in arguments if word not in LISTS]
    if unknown:
        raise InputError(f"ssl list has no {unknown[0]}.{nearest(unknown[0], LISTS)} It lists {', '.join(LISTS)}.")
    for word in arguments or LISTS:
        LISTS[word]()


def _choices(group: str) -> Callable[[], None]:
    def show() -> None:
        rows = [[choice.name, choice.summary, "" if choice.built_in else "yours"] for choice in choices(group).values()]
        if not rows:
            console.say(f"{group}: none yet; a YAML in conf/{group}/ is one.")
            return
        mine = any(row[2] for row in rows)
        cells = rows if mine else [row[:2] for row in rows]
        console.say(console.table(f"{group}=", ["name", "what it is", *(["whose"] if mine else [])], cells))

    return show


def _runs() -> None:
    folders = runs.all_runs("outputs")
    if not folders:
        console.say("runs: none in outputs/ yet.")
        return
    columns = ["run", "state", "started", "metric", "seconds"]
    console.say(
        console.table(
            "runs in outputs/, oldest first", columns, [_run_row(folder) for folder in folders], right={"seconds"}
        )
    )


def _run_row(folder: Path) -> list[str]:
    cfg = runs.read_config(folder)
    environment = json.loads((folder / runs.ENVIRONMENT).read_text()) if (folder / runs.ENVIRONMENT).is_file() else {}
    metrics = runs.read_metrics(folder) if runs.is_finished(folder) else {}
    main = next((name for name in cfg.get("headline", []) if name in metrics), None)
    started = (
        datetime.strptime(folder.name[:19], "%Y-%m-%d_%H-%M-%S").strftime("%Y-%m-%d %H:%M")
        if folder.name[:4].isdigit()
        else ""
    )
    state = "finished" if metrics else "unfinished"
    shown = f"{main} {metrics[main]:.4f}" if main else ""
    return [
        str(folder),
        state,
        started,
        shown,
        f"{environment['wall_time_s']:.1f}" if "wall_time_s" in environment else "",
    ]


LISTS: dict[str, Callable[[], None]] = {
    "models": _choices("model"),
    "data": _choices("data"),
    "tasks": _choices("task"),
    "runs": _runs,
}
