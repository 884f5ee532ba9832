"""Sequence classification: the class or number of a text or a pair, or which of several options fits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from ssl_cli.config.types import Delimiter
from ssl_cli.data.io.delimited import CsvDialect
from ssl_cli.data.io.records import Record, read_records
from ssl_cli.data.labelled.packed_examples import IGNORE_INDEX, PackedExamples
from ssl_cli.data.labelled.sources import LabelledFiles, PublishedLayout, hub_rows
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.errors import InputError
from ssl_cli.evaluation.metrics.classification import (
    CLASSIFICATION_METRICS,
    REGRESSION_METRICS,
    ClassScores,
    NumberScores,
)
from ssl_cli.tasks.encode import encode_examples
from ssl_cli.tasks.examples import (
    Columns,
    InvalidExample,
    Kind,
    LabelledExample,
    Names,
    as_sentence,
    class_name,
    column_names,
)
from ssl_cli.tasks.splits import RecordSource, classes_of, read_split
from ssl_cli.tasks.submissions import Submission
from ssl_cli.tasks.task import Examples, Prediction, RawPredictions, Scores

Metric = Literal["accuracy", "f1", "macro_f1", "matthews", "pearson", "spearman"]
METRICS = {"classification": CLASSIFICATION_METRICS, "regression": REGRESSION_METRICS, "multiple_choice": ("accuracy",)}
TEXT, PAIR = "text", "pair"  # names that a user's own record may also use
LABELLED = ("train", "dev")  # splits whose names begin like this have labels, such as dev_mismatched


class SequenceClassification:
    """Classification and regression of texts and pairs, and multiple choice.

    Of several names for a column, the first that a record has is used: the columns on the hub differ from those of the
    published files, and those of a test file from both.
    """

    method: ClassVar[str] = "ssl_cli.methods.supervised.sequence_classification.SequenceClassificationHead"
    network: ClassVar[str] = "ssl_cli.models.transformer.Transformer"
    template = staticmethod(SequenceTemplate.for_network)
    source: ClassVar[type] = LabelledFiles

    def __init__(
        self,
        text: Annotated[Names, "column of the text"],
        label: Annotated[Names, "column of the label"],
        metrics: Annotated[list[Metric], "metrics to compute"],
        monitor: Annotated[Metric, "metric on dev that selects the best weights"],
        layout: Annotated[PublishedLayout | None, "files as published; null: data.files names the files"] = None,
        also: Annotated[PublishedLayout | None, "further splits that the hub has in another data set"] = None,
        pair: Annotated[Names | None, "column of the second text, if there are pairs"] = None,
        id: Annotated[Names | None, "column of the example's id; null: its position in the file"] = None,
        kind: Annotated[Kind, "what to predict: a class, a number, or one of several options"] = "classification",
        labels: Annotated[
            list[str | int | bool] | None, "the classes, in order; null: those of the training file"
        ] = None,
        dropped: Annotated[list[str] | None, "labels that mean no label: such examples are left out"] = None,
        options: Annotated[Names | None, "column with a list of options, or one column per option"] = None,
        blank: Annotated[str | None, "sign in the text that an option replaces; null: options follow the text"] = None,
        spans: Annotated[
            str | None, "column with span1_text, span1_index and so on, which are marked in the text"
        ] = None,
        columns: Annotated[list[str] | None, "names of the columns, if a TSV or CSV has no header"] = None,
        delimiter: Annotated[Delimiter | None, "delimiter of the fields; null: by the suffix, .tsv or .csv"] = None,
        quoting: Annotated[bool | None, "whether fields may be quoted; null: only in .csv"] = None,
        skip_broken: Annotated[
            bool, "skip and count records that can't be read or lack a text; false: stop with an error"
        ] = False,
        submission: Annotated[Submission | None, "files for a leaderboard"] = None,
    ):
        self.layout, self.also, self.kind, self.blank = layout, also, kind, blank
        self.metrics, self.monitor = tuple(metrics), monitor
        self.submission_files, self.skip_broken = submission, skip_broken
        header = None if columns is None else tuple(columns)
        self.dialect = CsvDialect(delimiter, quoting, header, text_columns=(*column_names(text), TEXT))
        self.columns = Columns(
            kind,
            column_names(text),
            None if pair is None else column_names(pair),
            column_names(label),
            () if id is None else column_names(id),
            None if options is None else column_names(options),
            blank,
            spans,
            None if labels is None else tuple(map(class_name, labels)),
            tuple(dropped or ()),
        )
        self._check_options()

    def _check_options(self) -> None:
        available = METRICS[self.kind]
        if unavailable := [name for name in self.metrics if name not in available]:
            raise InputError(
                f"task.metrics has {unavailable[0]}, which task.kind={self.kind} doesn't have: choose from "
                f"{', '.join(available)}."
            )
        if self.monitor not in self.metrics:
            raise InputError(f"task.monitor={self.monitor} is not one of task.metrics: {', '.join(self.metrics)}.")
        if (self.kind == "multiple_choice") != (self.columns.options is not None):
            raise InputError(
                "task.kind=multiple_choice needs task.options, the column with the options; other kinds have none."
            )
        if self.blank is not None and (self.kind != "multiple_choice" or self.columns.pair is not None):
            raise InputError(
                "task.blank is a sign that options replace: it needs task.kind=multiple_choice, and no task.pair."
            )

    # --- files -> examples ---

    def read(self, files: LabelledFiles) -> dict[str, Examples]:
        """Return the examples of each split. Raises InputError for a class that train (or `labels`) doesn't have."""
        splits: dict[str, Examples] = {}
        columns = self.columns
        for split, source in self._sources(files):
            is_labelled = split.startswith(LABELLED)
            examples = read_split(source, columns, is_labelled, skips=self.skip_broken and is_labelled)
            if split == "train" and self.kind == "classification":
                columns = replace(columns, labels=tuple(classes_of(source.name, examples, columns.labels)))
                self._check_f1(columns.labels or ())
            splits[split] = examples
        return splits

    def _check_f1(self, labels: Sequence[str]) -> None:
        if "f1" in self.metrics and len(labels) != 2:
            raise InputError(f"task.metrics has f1, which is for two classes; there are {len(labels)}: use macro_f1.")

    def _sources(self, files: LabelledFiles) -> Iterator[tuple[str, RecordSource]]:
        """Yield the sources of the splits, train first: the classes of the others are checked against it."""
        paths = files.paths(self.layout)
        if paths is not None:
            for split in sorted(paths, key=lambda split: split != "train"):
                yield split, RecordSource.of_file(paths[split], self.dialect, self.columns.labels is not None)
            return
        for layout in (self.layout, self.also):
            for split, rows in ({} if layout is None else hub_rows(layout)).items():
                name = f"{layout.hub} ({layout.name}, {split})" if layout else split
                yield split, RecordSource.of_rows(name, rows, is_coded=True)

    def texts(self, examples: Examples) -> Iterator[str]:
        """Yield the texts, pairs and options of the examples."""
        for example in examples:
            yield from (example.text, *([example.pair] if example.pair else []), *(example.options or ()))

    def labels(self, examples: Examples) -> list[str]:
        """Return the classes, in order; none for numbers and options."""
        if self.kind != "classification":
            return []
        return classes_of("the training file", examples, self.columns.labels)  # type: ignore[arg-type]

    def options(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return the number of outputs and the kind of the head."""
        return {"n_labels": max(len(labels), 1), "kind": self.kind}

    # --- examples -> rows ---

    def rows(
        self, examples: Examples, template: SequenceTemplate, labels: Sequence[str], training: bool
    ) -> PackedExamples:
        """Return one row per example. The target is `label` (E,), if any label is known."""
        sequences, is_cut = encode_examples(examples, template, self.blank)
        warnings = getattr(examples, "warnings", ())
        if is_cut.any():
            share = f"{is_cut.sum():,} of {len(examples):,} examples"
            warnings += (f"{share} are longer than {template.max_length} tokens and were cut.",)
        parts = None
        if self.kind == "multiple_choice":
            parts = np.r_[0, np.cumsum([len(example.options) for example in examples])]
        rows = PackedExamples(sequences, self._targets(examples, labels), np.arange(len(examples)), parts, warnings)
        return rows.with_row_length(template.max_length)

    def _targets(self, examples: Examples, labels: Sequence[str]) -> dict[str, np.ndarray]:
        if all(example.label is None for example in examples):
            return {}
        if self.kind == "regression":  # a missing number becomes 0; train and dev have all of theirs
            return {"label": np.array([example.label or 0 for example in examples], np.float32)}
        index = {label: k for k, label in enumerate(labels)} if self.kind == "classification" else None
        targets = [example.label if index is None else index.get(example.label) for example in examples]
        return {"label": np.array([IGNORE_INDEX if target is None else target for target in targets], np.int64)}

    # --- raw predictions -> predictions ---

    def decode(
        self, examples: Examples, rows: PackedExamples, raw_predictions: RawPredictions, labels: Sequence[str]
    ) -> list[Prediction]:
        """Return each example with its `prediction`.

        `probability` is that of the prediction; `probabilities` are by class, or a list of those of the options.
        """
        predictions = []
        for k, logits in zip(rows.row_ids, raw_predictions, strict=True):
            example: LabelledExample = examples[k]
            fields = {"id": example.id, "text": example.text, "pair": example.pair, "options": example.options}
            prediction: Prediction = {name: value for name, value in fields.items() if value is not None}
            if example.label is not None:
                prediction["label"] = example.label
            predictions.append(prediction | self._predicted(logits, labels))
        return predictions

    def _predicted(self, logits: np.ndarray, labels: Sequence[str]) -> Prediction:
        if self.kind == "regression":
            return {"prediction": float(logits[0])}
        exponentials = np.exp(logits.astype(float) - logits.max())
        probabilities = [round(share, 6) for share in (exponentials / exponentials.sum()).tolist()]
        best = int(logits.argmax())
        if self.kind == "multiple_choice":
            return {"prediction": best, "probability": probabilities[best], "probabilities": probabilities}
        by_class = dict(zip(labels, probabilities, strict=True))
        return {"prediction": labels[best], "probability": probabilities[best], "probabilities": by_class}

    def scores(self, predictions: Sequence[Prediction]) -> Scores | None:
        """Return the scores of the predictions, or None if a label is unknown."""
        if not predictions or any("label" not in prediction for prediction in predictions):
            return None
        truth, predicted = ([prediction[name] for prediction in predictions] for name in ("label", "prediction"))
        if self.kind == "regression":
            return NumberScores(np.array(truth), np.array(predicted), self.metrics)
        if self.kind == "classification":
            index = {name: k for k, name in enumerate(predictions[0]["probabilities"])}
            truth, predicted = ([index[name] for name in names] for names in (truth, predicted))
        n_classes = max(len(prediction["probabilities"]) for prediction in predictions)
        return ClassScores(np.array(truth), np.array(predicted), n_classes, self.metrics)

    def submission(self, split: str, predictions: Sequence[Prediction]) -> dict[str, str]:
        """Return the files to submit for a split: name -> content."""
        return {} if self.submission_files is None else self.submission_files.files_of(split, predictions)

    # --- records of a user ---

    @property
    def has_pair(self) -> bool:
        """Whether its examples are pairs of texts."""
        return self.columns.pair is not None

    def records(self, path: Path, labels: Sequence[str]) -> Iterator[Record]:
        """Yield the records of a user's file, in the dialect of the training file."""
        return read_records(path, self.dialect)

    def to_example(self, record: Mapping[str, Any]) -> LabelledExample:
        """Return the example of a user's record, which may also name its texts `text` and `pair`."""
        columns = self.columns
        text = tuple(dict.fromkeys((*columns.text, TEXT)))
        pair = None if columns.pair is None else tuple(dict.fromkeys((*columns.pair, PAIR)))
        try:
            return replace(columns, text=text, pair=pair).unlabelled_example(record, None)
        except InvalidExample as reason:
            raise InputError(as_sentence(str(reason))) from None
