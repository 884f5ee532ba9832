"""Suites in a sweep: `task=glue` trains on each of its tasks, averages the scores and zips the submission files."""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from hydra.types import RunMode

from ssl_cli import console
from ssl_cli.cli.grammar import parse_override
from ssl_cli.cli.overrides import choice_names, value_of
from ssl_cli.cli.sweeps.table import Outcome, group_by_settings, varied_settings
from ssl_cli.config.check import check_node
from ssl_cli.config.choices import choices, did_you_mean
from ssl_cli.config.instantiate import build, target_of
from ssl_cli.errors import InputError
from ssl_cli.files import write_bytes, write_json
from ssl_cli.runs.csv_files import write_csv
from ssl_cli.tasks.suite import Suite

GROUP = "task"
SUITE = f"{Suite.__module__}.{Suite.__qualname__}"
JSON, TABLE, SUBMISSION = "suite.json", "suite.csv", "submission"
SKIP_DONE = "sweep.skip_done"
AVERAGE = "average"


def find_suite(overrides: list[Override]) -> str | None:
    """Return the suite that a command line names by `task=`, or None. Raises InputError if it names several."""
    names = [name for override in overrides if override.key_or_group == GROUP for name in choice_names(override)]
    suites = list(dict.fromkeys(name for name in names if target_of(GROUP, name) == SUITE))
    if len(suites) > 1:
        raise InputError(f"{GROUP}={','.join(suites)}: a sweep has one suite; run them one after the other.")
    return suites[0] if suites else None


def compose_suite(hydra: Any, verb: str, name: str) -> Suite:
    """Compose a suite's YAML and build it. Raises InputError if it has a fault, or names an unknown task."""
    node = hydra.compose_config(verb, [f"{GROUP}={name}"], RunMode.RUN)[GROUP]
    check_node(node, GROUP)
    suite: Suite = build(node)
    known = choices(GROUP)
    if unknown := [task for task in suite.tasks if task not in known]:
        raise InputError(
            f"{GROUP}={name} has the task {unknown[0]}, which is not a choice.{did_you_mean(unknown[0], known)}"
        )
    return suite


def expand_suite(overrides: list[Override], name: str, suite: Suite) -> list[Override]:
    """Return the command line with the suite's tasks instead of its name, and sweep.skip_done=true unless it is set.

    The same command thus continues a suite that was interrupted. Raises InputError for a sweeper that searches.
    """
    if value_of(overrides, "hydra/sweeper", "basic") != "basic":
        raise InputError(f"{GROUP}={name} runs every task: hydra/sweeper, which runs only some, needs a single task.")
    expanded = []
    for override in overrides:
        if override.key_or_group == GROUP:
            chosen = choice_names(override)
            tasks = [task for choice in chosen for task in (suite.tasks if choice == name else [choice])]
            override = parse_override(f"{GROUP}={','.join(dict.fromkeys(tasks))}")
        expanded.append(override)
    is_set = any(override.key_or_group == SKIP_DONE for override in overrides)
    return expanded if is_set else [*expanded, parse_override(f"{SKIP_DONE}=true")]


# --- results ------------------------------------------------------------------------------------------------


def summarize(folder: Path, name: str, suite: Suite, outcomes: list[Outcome]) -> list[Outcome]:
    """Write `suite.csv`, `suite.json` and the zip files, and print the scores.

    There is a row for each combination of the settings that varied besides the task. Returns an outcome for each row:
    its average.
    """
    varied = varied_settings(outcomes, exclude=(GROUP,))
    groups = group_by_settings((outcome for outcome in outcomes if outcome.settings.get(GROUP) in suite.tasks), varied)
    combinations = []
    for k, (key, group) in enumerate(groups.items(), start=1):
        done = {outcome.settings[GROUP]: outcome for outcome in group if not outcome.error}
        path = folder / (f"{SUBMISSION}.zip" if len(groups) == 1 else f"{SUBMISSION}-{k}.zip")
        settings = dict(zip(varied, key, strict=True))
        combinations.append({"settings": settings} | _scores(suite, done) | _write_submission(path, suite, done))
    write_json(folder / JSON, {"suite": name, "tasks": suite.tasks, "combinations": combinations})
    _show(folder, name, suite, varied, combinations)
    return [_as_outcome(name, combination) for combination in combinations]


def _scores(suite: Suite, done: dict[str, Outcome]) -> dict[str, Any]:
    """Return the scores, their average, the tasks without a score, and the runs."""
    all_scores = {task: suite.score(task, done[task].metrics) for task in suite.tasks if task in done}
    scores = {task: score for task, score in all_scores.items() if score is not None}
    missing = [task for task in suite.tasks if task not in scores]
    runs = {task: outcome.run for task, outcome in done.items()}
    return {"scores": scores, AVERAGE: suite.average(scores), "missing": missing, "runs": runs}


def _write_submission(path: Path, suite: Suite, done: dict[str, Outcome]) -> dict[str, Any]:
    """Write the runs' submission files, if there are any, into a zip; returns its name and the missing files."""
    files, missing = {}, []
    for task in suite.tasks:
        source = Path(done[task].run) / SUBMISSION if task in done else None
        wanted = suite.submission.get(task) or (sorted(file.name for file in source.glob("*")) if source else [])
        for name in wanted:
            if source and (source / name).is_file():
                files[name] = (source / name).read_bytes()
            else:
                missing.append(name)
    if files:
        write_bytes(path, _zip_files(files))
    return {SUBMISSION: path.name if files else None, "missing_files": missing}


def _zip_files(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name)  # without the time: equal files make equal zips
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _show(folder: Path, name: str, suite: Suite, varied: list[str], combinations: list[dict[str, Any]]) -> None:
    """Write `suite.csv` and print it, with warnings about what is missing."""
    columns, rows, cells = [*varied, *suite.tasks, AVERAGE, "tasks", SUBMISSION], [], []
    for combination in combinations:
        n_done = f"{len(combination['scores'])} of {len(suite.tasks)}"
        row = combination["settings"] | combination["scores"]
        row |= {AVERAGE: combination[AVERAGE], "tasks": n_done, SUBMISSION: combination[SUBMISSION]}
        rows.append(row)
        scores = [f"{row[task]:.4f}" if row.get(task) is not None else "" for task in (*suite.tasks, AVERAGE)]
        cells.append([*(row[setting] for setting in varied), *scores, n_done])
    write_csv(folder / TABLE, columns, rows)
    shown = [*varied, *(task.rpartition("/")[2] for task in suite.tasks), AVERAGE, "tasks"]
    console.say(console.table(f"{name} ({folder / TABLE})", shown, cells, right=set(shown[len(varied) :])))
    for missing in _distinct(combination["missing"] for combination in combinations):
        console.warn(f"the average is partial: it leaves out {missing}, which has no result")
    for combination in combinations:
        if combination[SUBMISSION]:
            console.say(f"submission: {folder / combination[SUBMISSION]}")
    for missing in _distinct(combination["missing_files"] for combination in combinations):
        console.warn(f"the submission lacks {missing}: no finished run has written that")


def _distinct(lists: Iterable[list[str]]) -> list[str]:
    return list(dict.fromkeys(", ".join(names) for names in lists if names))


def _as_outcome(name: str, combination: dict[str, Any]) -> Outcome:
    """Return the average as the outcome of a run, for the summary over seeds.

    A partial average is a failure: it can't be compared with a complete one.
    """
    settings = combination["settings"] | {GROUP: name}
    if combination["missing"]:
        return Outcome(settings, {}, "", "not all tasks are done", [AVERAGE])
    return Outcome(settings, {AVERAGE: combination[AVERAGE]}, "", "", [AVERAGE])
