"""What a finished `ssl finetune` run leaves behind: predictions, files to hand in, metrics, figures and a report."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ssl_cli import console
from ssl_cli.commands.finetune import curves, report
from ssl_cli.commands.finetune.class_section import class_section, number_section
from ssl_cli.commands.finetune.sections import ReportSection, SectionBuilder, SplitPredictions
from ssl_cli.commands.finetune.span_section import span_section
from ssl_cli.commands.finetune.tag_section import tag_section
from ssl_cli.errors import InputError
from ssl_cli.evaluation.metrics.bootstrap import intervals
from ssl_cli.files import write_text
from ssl_cli.tasks.task import Prediction, Scores, Task

LEARNED_FROM = "train"  # answers to what was learned from are measured, but nothing more is told of them
SUBMISSION = "submission"
LABELS = {"label", "labels"}  # an answer's, where the truth is known
KINDS: tuple[tuple[set[str], SectionBuilder], ...] = (  # the first all of whose keys an answer has
    ({"words", "answers"}, tag_section),
    ({"context", "start"}, span_section),
    ({"probabilities"}, class_section),
    (set(), number_section),
)


def write(
    folder: Path,
    task: Task,
    labels: Sequence[str],
    answers: Mapping[str, Sequence[Prediction]],
    metrics: dict[str, float],
    chosen: Mapping[str, object],
    bootstrap_samples: int,
    seed: int,
) -> None:
    """Everything but metrics.json: of each split its answers, and where they can be measured its metrics, which are
    added to `metrics` with their 95 % intervals. `chosen` are the choices worth naming, model and data among them.

    Raises InputError, as `refuse_strange_names` does, before anything is written.
    """
    refuse_strange_names(folder, task, answers)
    (folder / "figures").mkdir(exist_ok=True)
    files, sections = dict[str, str](), list[report.Section]()
    for split, given in answers.items():
        files |= write_answers(folder, task, split, given)
        tally = task.scores(given) if given else None
        if tally is None:
            tell_unlabelled(split, given)
            continue
        measured, told = tally.metrics(), ReportSection()
        if split != LEARNED_FROM:
            told = _tell(SplitPredictions(folder, split, given, labels, tally))
            sections.append((split, told.parts))
            measured = _with_intervals(measured, tally, len(given), bootstrap_samples, seed)
        metrics.update({f"{split}/{name}": value for name, value in (measured | told.metrics).items()})
        files |= {path.name: path.name.partition("-")[0] for path in sorted(folder.glob(f"*-{split}.csv"))}
    drawn = curves.draw(folder, task.monitor)
    meanings = getattr(task, "meanings", {})
    report.write(folder, chosen, metrics, drawn, sections, files, meanings)
    report.print_summary(metrics, files, meanings)


def tell_unlabelled(split: str, answers: Sequence[Prediction]) -> None:
    """Of a split of which a part is labelled: that it isn't measured. Without any label it is a leaderboard's."""
    n_labelled = sum(not LABELS.isdisjoint(answer) for answer in answers)
    if n_labelled:
        console.warn(f"{split} isn't measured: {len(answers) - n_labelled:,} of {len(answers):,} have no label.")


def refuse_strange_names(folder: Path, task: Task, splits: Iterable[str]) -> None:
    """Splits and files to hand in are named by the config, which may be a stranger's, and lead elsewhere. Raises
    InputError where one would."""
    for split in splits:
        if not re.fullmatch(r"\w+", split):
            raise InputError(f"A split is called {split!r}: a name may only have letters, digits and _.")
        for handed_in in task.submission(split, ()):
            _inside(folder / SUBMISSION, handed_in)


def _inside(folder: Path, name: str) -> Path:
    if "\0" in name or folder.resolve() not in (folder / name).resolve().parents:
        raise InputError(f"The task's file to hand in is called {name!r}, which is no name of a file within {folder}.")
    return folder / name


def write_answers(folder: Path, task: Task, split: str, answers: Sequence[Prediction]) -> dict[str, str]:
    """predictions-<split>.jsonl, and the files to hand in: their names, and what they are."""
    name = f"predictions-{split}.jsonl"
    write_text(folder / name, "".join(json.dumps(answer, ensure_ascii=False) + "\n" for answer in answers))
    files = {name: f"{len(answers):,} answers"}
    for handed_in, content in task.submission(split, answers).items():
        path = _inside(folder / SUBMISSION, handed_in)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, content)
        files[f"{SUBMISSION}/{handed_in}"] = "to hand in"
    return files


def _tell(given: SplitPredictions) -> ReportSection:
    first = given.answers[0]
    return next(tell for keys, tell in KINDS if keys <= first.keys())(given)


def _with_intervals(
    measured: dict[str, float], tally: Scores, n: int, bootstrap_samples: int, seed: int
) -> dict[str, float]:
    """Each metric followed by its interval's ends"""
    found = intervals(tally.metrics, n, bootstrap_samples, seed)
    out: dict[str, float] = {}
    for name, value in measured.items():
        out[name] = value
        if name in found:
            out[f"{name}_low"], out[f"{name}_high"] = found[name]
    return out
