"""Outputs of a finished `ssl finetune` run: predictions, submission files, metrics, figures and a report."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ssl_cli import console
from ssl_cli.commands.finetune import curves, report
from ssl_cli.commands.finetune.class_section import class_section, regression_section
from ssl_cli.commands.finetune.sections import Intervals, ReportSection, SectionBuilder, SplitPredictions
from ssl_cli.commands.finetune.span_section import span_section
from ssl_cli.commands.finetune.tag_section import tag_section
from ssl_cli.commands.finetune.text_section import text_section
from ssl_cli.errors import InputError
from ssl_cli.evaluation.html import Section
from ssl_cli.files import write_text
from ssl_cli.runs.folder import HISTORY, read_history
from ssl_cli.tasks.task import DescribesMetrics, Prediction, ScoredTask

TRAIN_SPLIT = "train"  # has metrics, but no section in the report
SUBMISSION = "submission"
LABEL_FIELDS = {"label", "labels", "target"}  # of a prediction, if the truth is known
SECTIONS: tuple[tuple[set[str], SectionBuilder], ...] = (  # the first whose fields a prediction has is used
    ({"words", "predictions"}, tag_section),
    ({"source", "target"}, text_section),
    ({"context", "start"}, span_section),
    ({"probabilities"}, class_section),
    (set(), regression_section),
)


def write(
    folder: Path,
    task: ScoredTask,
    labels: Sequence[str],
    predictions: Mapping[str, Sequence[Prediction]],
    metrics: dict[str, float],
    chosen: Mapping[str, object],
    bootstrap_samples: int,
    seed: int,
    escape_formulas: bool = False,
    more: SectionBuilder | None = None,
) -> None:
    """Write everything but metrics.json: the predictions of each split, figures and the report.

    The metrics of each labelled split, with 95 % intervals, are added to `metrics`. `chosen` are the choices to show,
    such as model and data. `escape_formulas` concerns the texts of CSV files. `more` builds what else the page shows
    of a split. Raises InputError, as `check_file_names` does, before anything is written.
    """
    check_file_names(folder, task, predictions)
    (folder / "figures").mkdir(exist_ok=True)
    files, sections = dict[str, str](), list[Section]()
    for split, split_predictions in predictions.items():
        files |= write_predictions(folder, task, split, split_predictions)
        scores = task.scores(split_predictions) if split_predictions else None
        if scores is None:
            warn_unlabelled(split, split_predictions)
            continue
        values, section = scores.metrics(), ReportSection()
        if split != TRAIN_SPLIT:
            intervals = Intervals(bootstrap_samples, seed)
            shown = SplitPredictions(folder, split, split_predictions, labels, scores, intervals, escape_formulas)
            section = _build_section(shown) + (ReportSection() if more is None else more(shown))
            sections.append(Section(f"Predictions: {split}", section.blocks))
            values = intervals.beside(scores, len(split_predictions))
        metrics.update({f"{split}/{name}": value for name, value in (values | section.metrics).items()})
        files |= {path.name: path.name.partition("-")[0] for path in sorted(folder.glob(f"*-{split}.csv"))}
    figures = curves.draw(folder, task.monitor)
    meanings = task.meanings if isinstance(task, DescribesMetrics) else {}
    history = read_history(folder / HISTORY)
    kept = report.kept_sentence(curves.kept_step(history, task.monitor), history, task.monitor)
    report.write(folder, chosen, metrics, kept, figures, sections, files, meanings)
    report.print_summary(metrics, kept, files, meanings)


def warn_unlabelled(split: str, predictions: Sequence[Prediction]) -> None:
    """Warn that a partly labelled split has no metrics. A split without any label is a leaderboard's test set."""
    n_labelled = sum(not LABEL_FIELDS.isdisjoint(prediction) for prediction in predictions)
    if n_labelled:
        n_all = len(predictions)
        console.warn(f"{split} has no metrics: {n_all - n_labelled:,} of {n_all:,} examples have no label.")


def check_file_names(folder: Path, task: ScoredTask, splits: Iterable[str]) -> None:
    """Raise InputError if the name of a split or of a submission file leads outside the run.

    They come from the config, which may be untrusted.
    """
    for split in splits:
        if not re.fullmatch(r"\w+", split):
            raise InputError(f"A split is named {split!r}: a name may only have letters, digits and _.")
        for name in task.submission(split, ()):
            _path_inside(folder / SUBMISSION, name)


def _path_inside(folder: Path, name: str) -> Path:
    if "\0" in name or folder.resolve() not in (folder / name).resolve().parents:
        raise InputError(f"The task's submission file {name!r} must be inside {folder}.")
    return folder / name


def write_predictions(folder: Path, task: ScoredTask, split: str, predictions: Sequence[Prediction]) -> dict[str, str]:
    """Write predictions-<split>.jsonl and the submission files. Return name -> description."""
    name = f"predictions-{split}.jsonl"
    write_text(folder / name, "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in predictions))
    files = {name: f"{len(predictions):,} predictions"}
    for submitted, content in task.submission(split, predictions).items():
        path = _path_inside(folder / SUBMISSION, submitted)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, content)
        files[f"{SUBMISSION}/{submitted}"] = "to submit"
    return files


def _build_section(split: SplitPredictions) -> ReportSection:
    fields = split.predictions[0].keys()
    return next(build for required, build in SECTIONS if required <= fields)(split)
