"""Texts and pairs of texts: which class each is of, how much of something it has, or which of its options fits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from ssl_cli.config.types import Delimiter
from ssl_cli.data.io.delimited import CsvDialect
from ssl_cli.data.io.records import Record, read_records
from ssl_cli.data.labelled.packed_examples import IGNORED, PackedExamples
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.errors import InputError
from ssl_cli.evaluation.metrics.classification import OF_CLASSES, OF_NUMBERS, ClassScores, NumberScores
from ssl_cli.tasks.encode import sequences
from ssl_cli.tasks.examples import Columns, InvalidExample, Kind, LabelledExample, class_name, sentence
from ssl_cli.tasks.sources import PublishedLayout, TaskFiles, hub_rows
from ssl_cli.tasks.splits import RecordSource, classes_of, read_split
from ssl_cli.tasks.submissions import Submission
from ssl_cli.tasks.task import Examples, Prediction, RawPredictions, Scores

Names = str | list[str]
Metric = Literal["accuracy", "f1", "macro_f1", "matthews", "pearson", "spearman"]
MEASURES = {"classification": OF_CLASSES, "regression": OF_NUMBERS, "multiple_choice": ("accuracy",)}
TEXT, PAIR = "text", "pair"  # what a user's own record may call them
LABELLED = ("train", "dev")  # splits whose names begin so have labels: dev_mismatched too


class SequenceClassification:
    """Single texts, pairs, regression and multiple choice. Of several names for a column the first counts that a
    record has: the hub's columns differ from the published files', and a test file's from both."""

    method: ClassVar[str] = "ssl_cli.methods.supervised.sequence_classification.SequenceClassificationHead"

    def __init__(
        self,
        text: Annotated[Names, "column of the text"],
        label: Annotated[Names, "column of the label"],
        metrics: Annotated[list[Metric], "what is measured"],
        monitor: Annotated[Metric, "the metric of dev by which the best weights are kept"],
        layout: Annotated[PublishedLayout | None, "where its published files are; null: data.files names them"] = None,
        also: Annotated[PublishedLayout | None, "further splits, which the hub has elsewhere"] = None,
        pair: Annotated[Names | None, "column of the second text, where there are pairs"] = None,
        id: Annotated[Names | None, "column of what an answer is known by; null: its place"] = None,
        kind: Annotated[Kind, "what is answered: a class, a number, or which of several options"] = "classification",
        labels: Annotated[
            list[str | int | bool] | None, "the classes, in order; null: those of the training file"
        ] = None,
        dropped: Annotated[list[str] | None, "labels that mean there is none: such examples are left out"] = None,
        options: Annotated[Names | None, "column with a list of options, or a column each"] = None,
        blank: Annotated[str | None, "sign in the text that an option fills in; null: it follows the text"] = None,
        spans: Annotated[
            str | None, "column with span1_text, span1_index and so on, which are marked in the text"
        ] = None,
        columns: Annotated[list[str] | None, "names of the columns, where a TSV or CSV has no header"] = None,
        delimiter: Annotated[Delimiter | None, "what parts the fields; null: as .tsv or .csv says"] = None,
        quoting: Annotated[bool | None, "whether quotes enclose a field; null: in .csv alone"] = None,
        skip_broken: Annotated[
            bool, "leave out, and count, what can't be read or lacks a text; false: refuse it"
        ] = False,
        submission: Annotated[Submission | None, "files for a leaderboard"] = None,
    ):
        self.layout, self.also, self.kind, self.blank = layout, also, kind, blank
        self.measured, self.monitor, self.submits, self.skips = tuple(metrics), monitor, submission, skip_broken
        headerless = None if columns is None else tuple(columns)
        self.sheet = CsvDialect(delimiter, quoting, headerless, texts=(*_names(text), TEXT))
        self.columns = Columns(
            kind,
            _names(text),
            None if pair is None else _names(pair),
            _names(label),
            () if id is None else _names(id),
            None if options is None else _names(options),
            blank,
            spans,
            None if labels is None else tuple(map(class_name, labels)),
            tuple(dropped or ()),
        )
        self._refuse_contradictions()

    def _refuse_contradictions(self) -> None:
        if unfit := [name for name in self.measured if name not in MEASURES[self.kind]]:
            fit = ", ".join(MEASURES[self.kind])
            raise InputError(f"task.metrics has {unfit[0]}, which task.kind={self.kind} has not: take of {fit}.")
        if self.monitor not in self.measured:
            raise InputError(f"task.monitor={self.monitor} is none of task.metrics: {', '.join(self.measured)}.")
        if (self.kind == "multiple_choice") != (self.columns.options is not None):
            raise InputError(
                "task.kind=multiple_choice needs task.options, the column with the options; other kinds have none."
            )
        if self.blank is not None and (self.kind != "multiple_choice" or self.columns.pair is not None):
            raise InputError(
                "task.blank is a sign that options fill in: it needs task.kind=multiple_choice, and no task.pair."
            )

    # --- files -> examples ---

    def read(self, published: TaskFiles) -> dict[str, Examples]:
        """Every split; a class that the training file (or `labels`) lacks is refused in all others."""
        found: dict[str, Examples] = {}
        columns = self.columns
        for split, source in self._sources(published):
            is_labelled = split.startswith(LABELLED)
            examples = read_split(source, columns, is_labelled, skips=self.skips and is_labelled)
            if split == "train" and self.kind == "classification":
                columns = replace(columns, labels=tuple(classes_of(source.name, examples, columns.labels)))
                self._refuse_f1(columns.labels or ())
            found[split] = examples
        return found

    def _refuse_f1(self, labels: Sequence[str]) -> None:
        if "f1" in self.measured and len(labels) != 2:
            raise InputError(f"task.metrics has f1, which is of two classes; there are {len(labels)}: take macro_f1.")

    def _sources(self, published: TaskFiles) -> Iterator[tuple[str, RecordSource]]:
        """The training split first: the classes of the others are held against it."""
        paths = published.paths(self.layout)
        if paths is not None:
            for split in sorted(paths, key=lambda split: split != "train"):
                yield split, RecordSource.of_file(paths[split], self.sheet, self.columns.labels is not None)
            return
        for layout in (self.layout, self.also):
            for split, rows in ({} if layout is None else hub_rows(layout)).items():
                placed = ((f"row {number:,}", row) for number, row in enumerate(rows, 1))
                name = f"{layout.hub} ({layout.name}, {split})" if layout else split
                yield split, RecordSource(name, placed, is_coded=True)

    def texts(self, examples: Examples) -> Iterator[str]:
        for example in examples:
            yield from (example.text, *([example.pair] if example.pair else []), *(example.options or ()))

    def labels(self, examples: Examples) -> list[str]:
        if self.kind != "classification":
            return []
        return classes_of("the training file", examples, self.columns.labels)  # type: ignore[arg-type]

    def options(self, labels: Sequence[str]) -> dict[str, Any]:
        return {"n_labels": max(len(labels), 1), "kind": self.kind}

    # --- examples -> rows ---

    def rows(
        self, examples: Examples, frame: SequenceTemplate, labels: Sequence[str], training: bool
    ) -> PackedExamples:
        """Targets: `label` (E,), where any is known."""
        packed, is_cut = sequences(examples, frame, self.blank)
        lost = getattr(examples, "warnings", ())
        if is_cut.any():
            share = f"{is_cut.sum():,} of {len(examples):,} examples"
            lost += (f"{share} are longer than {frame.max_length} tokens and were cut.",)
        parts = None
        if self.kind == "multiple_choice":
            parts = np.r_[0, np.cumsum([len(example.options) for example in examples])]
        return PackedExamples(packed, self._targets(examples, labels), np.arange(len(examples)), parts, lost)

    def _targets(self, examples: Examples, labels: Sequence[str]) -> dict[str, np.ndarray]:
        if all(example.label is None for example in examples):
            return {}
        if self.kind == "regression":  # nothing stands for no number; dev and train have all of theirs
            return {"label": np.array([example.label or 0 for example in examples], np.float32)}
        number = {label: k for k, label in enumerate(labels)} if self.kind == "classification" else None
        known = [example.label if number is None else number.get(example.label) for example in examples]
        return {"label": np.array([IGNORED if label is None else label for label in known], np.int64)}

    # --- guesses -> answers ---

    def decode(
        self, examples: Examples, rows: PackedExamples, guesses: RawPredictions, labels: Sequence[str]
    ) -> list[Prediction]:
        """`probability` is that of the answer; `probabilities` are by class, or a list of the options'."""
        found = []
        for number, guess in zip(rows.row_ids, guesses, strict=True):
            example: LabelledExample = examples[number]
            asked = {"id": example.id, "text": example.text, "pair": example.pair, "options": example.options}
            answer: Prediction = {name: value for name, value in asked.items() if value is not None}
            if example.label is not None:
                answer["label"] = example.label
            found.append(answer | self._answered(guess, labels))
        return found

    def _answered(self, guess: np.ndarray, labels: Sequence[str]) -> Prediction:
        if self.kind == "regression":
            return {"answer": float(guess[0])}
        raised = np.exp(guess.astype(float) - guess.max())
        shares = [round(share, 6) for share in (raised / raised.sum()).tolist()]
        best = int(guess.argmax())
        if self.kind == "multiple_choice":
            return {"answer": best, "probability": shares[best], "probabilities": shares}
        by_class = dict(zip(labels, shares, strict=True))
        return {"answer": labels[best], "probability": shares[best], "probabilities": by_class}

    def scores(self, answers: Sequence[Prediction]) -> Scores | None:
        if not answers or any("label" not in answer for answer in answers):
            return None
        label, answer = ([one[name] for one in answers] for name in ("label", "answer"))
        if self.kind == "regression":
            return NumberScores(np.array(label), np.array(answer), self.measured)
        if self.kind == "classification":
            number = {name: k for k, name in enumerate(answers[0]["probabilities"])}
            label, answer = ([number[name] for name in names] for names in (label, answer))
        n_classes = max(len(one["probabilities"]) for one in answers)
        return ClassScores(np.array(label), np.array(answer), n_classes, self.measured)

    def submission(self, split: str, answers: Sequence[Prediction]) -> dict[str, str]:
        return {} if self.submits is None else self.submits.files_of(split, answers)

    @property
    def has_pair(self) -> bool:
        """Whether it is about two texts."""
        return self.columns.pair is not None

    def records(self, path: Path, labels: Sequence[str]) -> Iterator[Record]:
        return read_records(path, self.sheet)

    def given(self, record: Mapping[str, Any]) -> LabelledExample:
        """A user's own record may also call its texts `text` and `pair`."""
        columns = self.columns
        text = tuple(dict.fromkeys((*columns.text, TEXT)))
        pair = None if columns.pair is None else tuple(dict.fromkeys((*columns.pair, PAIR)))
        try:
            return replace(columns, text=text, pair=pair).shown(record, None)
        except InvalidExample as reason:
            raise InputError(sentence(str(reason))) from None


def _names(given: Names) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
