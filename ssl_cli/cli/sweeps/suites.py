"""A suite in a sweep: `task=glue` is a run of each of its tasks, one score for them all, and one zip to hand in."""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.types import RunMode

from ssl_cli import console
from ssl_cli.cli.overrides import given, named_choices, parse
from ssl_cli.cli.sweeps.table import Outcome, alike, what_varied
from ssl_cli.config.check import check_node
from ssl_cli.config.choices import choices, nearest
from ssl_cli.config.instantiate import build, target_of
from ssl_cli.errors import InputError
from ssl_cli.files import write_bytes, write_csv, write_json
from ssl_cli.tasks.suite import Suite

GROUP = "task"
SUITE = f"{Suite.__module__}.{Suite.__qualname__}"
JSON, TABLE, HANDED_IN = "suite.json", "suite.csv", "submission"
SKIP_DONE = "sweep.skip_done"
AVERAGE = "average"


def named_suite(overrides: list[Override]) -> str | None:
    """The suite that a command line names by `task=`. Raises InputError for several."""
    names = [name for override in overrides if override.key_or_group == GROUP for name in named_choices(override)]
    suites = list(dict.fromkeys(name for name in names if target_of(GROUP, name) == SUITE))
    if len(suites) > 1:
        raise InputError(f"{GROUP}={','.join(suites)}: a sweep has one suite; run them one after the other.")
    return suites[0] if suites else None


def compose_suite(hydra: Any, verb: str, name: str) -> Suite:
    node = hydra.compose_config(verb, [f"{GROUP}={name}"], RunMode.RUN)[GROUP]
    check_node(node, GROUP)
    suite: Suite = build(node)
    known = choices(GROUP)
    if unknown := [task for task in suite.tasks if task not in known]:
        raise InputError(f"{GROUP}={name} has the task {unknown[0]}, which is no choice.{nearest(unknown[0], known)}")
    return suite


def spelled_out(overrides: list[Override], name: str, suite: Suite) -> list[Override]:
    """The command line with the suite's tasks instead of its name, to be gone on with when given again."""
    if given(overrides, "hydra/sweeper", "basic") != "basic":
        raise InputError(f"{GROUP}={name} runs every task: hydra/sweeper, which picks some, is for a single task.")
    spelled = []
    for override in overrides:
        if override.key_or_group == GROUP:
            tasks = [task for one in named_choices(override) for task in (suite.tasks if one == name else [one])]
            override = parse(f"{GROUP}={','.join(dict.fromkeys(tasks))}")
        spelled.append(override)
    said = any(override.key_or_group == SKIP_DONE for override in overrides)
    return spelled if said else [*spelled, parse(f"{SKIP_DONE}=true")]


# --- what came of it ----------------------------------------------------------------------------------------


def conclude(folder: Path, name: str, suite: Suite, outcomes: list[Outcome]) -> list[Outcome]:
    """`suite.csv`, `suite.json`, the zip, and the scores on the terminal: a row for each combination of what varied
    besides the task. Returns an outcome for each of these rows: its average."""
    varied = what_varied(outcomes, but=(GROUP,))
    groups = alike((outcome for outcome in outcomes if outcome.settings.get(GROUP) in suite.tasks), varied)
    combinations = []
    for k, (key, group) in enumerate(groups.items(), start=1):
        done = {outcome.settings[GROUP]: outcome for outcome in group if not outcome.error}
        zipped = folder / (f"{HANDED_IN}.zip" if len(groups) == 1 else f"{HANDED_IN}-{k}.zip")
        combinations.append(
            {"settings": dict(zip(varied, key, strict=True))} | _scored(suite, done) | _handed_in(zipped, suite, done)
        )
    write_json(folder / JSON, {"suite": name, "tasks": suite.tasks, "combinations": combinations})
    _show(folder, name, suite, varied, combinations)
    return [_as_outcome(name, one) for one in combinations]


def _scored(suite: Suite, done: dict[str, Outcome]) -> dict[str, Any]:
    found = {task: suite.score(task, done[task].metrics) for task in suite.tasks if task in done}
    scores = {task: score for task, score in found.items() if score is not None}
    missing = [task for task in suite.tasks if task not in scores]
    told = {task: outcome.run for task, outcome in done.items()}
    return {"scores": scores, AVERAGE: suite.average(scores), "missing": missing, "runs": told}


def _handed_in(path: Path, suite: Suite, done: dict[str, Outcome]) -> dict[str, Any]:
    """The files that the runs have written, in a zip without folders; none where there are none."""
    files, missing = {}, []
    for task in suite.tasks:
        place = Path(done[task].run) / HANDED_IN if task in done else None
        wanted = suite.submission.get(task) or (sorted(file.name for file in place.glob("*")) if place else [])
        for name in wanted:
            if place and (place / name).is_file():
                files[name] = (place / name).read_bytes()
            else:
                missing.append(name)
    if files:
        write_bytes(path, _zipped(files))
    return {HANDED_IN: path.name if files else None, "missing_files": missing}


def _zipped(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name)  # without the time: the same files make the same zip
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def _show(folder: Path, name: str, suite: Suite, varied: list[str], combinations: list[dict[str, Any]]) -> None:
    columns, rows, cells = [*varied, *suite.tasks, AVERAGE, "tasks", HANDED_IN], [], []
    for one in combinations:
        n_done = f"{len(one['scores'])} of {len(suite.tasks)}"
        row = one["settings"] | one["scores"] | {AVERAGE: one[AVERAGE], "tasks": n_done, HANDED_IN: one[HANDED_IN]}
        rows.append(row)
        figures = [f"{row[task]:.4f}" if row.get(task) is not None else "" for task in (*suite.tasks, AVERAGE)]
        cells.append([*(row[setting] for setting in varied), *figures, n_done])
    write_csv(folder / TABLE, columns, rows)
    shown = [*varied, *(task.rpartition("/")[2] for task in suite.tasks), AVERAGE, "tasks"]
    console.say(console.table(f"{name} ({folder / TABLE})", shown, cells, right=set(shown[len(varied) :])))
    for missing in _distinct(one["missing"] for one in combinations):
        console.warn(f"the average is partial, over the tasks that are done: {missing} not among them")
    for zipped in (one[HANDED_IN] for one in combinations if one[HANDED_IN]):
        console.say(f"to hand in: {folder / zipped}")
    for missing in _distinct(one["missing_files"] for one in combinations):
        console.warn(f"nothing to hand in for {missing}: no finished run has written that")


def _distinct(lists: Iterable[list[str]]) -> list[str]:
    return list(dict.fromkeys(", ".join(names) for names in lists if names))


def _as_outcome(name: str, combination: dict[str, Any]) -> Outcome:
    """The average as if it were a run's, for the figures over seeds; one of fewer tasks can't be set beside others."""
    settings = combination["settings"] | {GROUP: name}
    if combination["missing"]:
        return Outcome(settings, {}, "", "not all tasks are done", [AVERAGE])
    return Outcome(settings, {AVERAGE: combination[AVERAGE]}, "", "", [AVERAGE])
