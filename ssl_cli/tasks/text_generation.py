"""Text generation: write a target from a source, such as the title of an article."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from ssl_cli.config.types import Count, Delimiter, LengthPenalty, Natural
from ssl_cli.data.io.delimited import CsvDialect
from ssl_cli.data.io.records import Record, read_records
from ssl_cli.data.labelled.packed_pairs import PackedPairs
from ssl_cli.data.labelled.pair_template import PairTemplate
from ssl_cli.data.labelled.sources import REQUIRED_SPLITS, LabelledFiles, PublishedLayout, hub_rows
from ssl_cli.data.labelled.word_pieces import add_spaces
from ssl_cli.data.tokenizers.seq2seq_template import Style
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError
from ssl_cli.evaluation.metrics.rouge import ROUGE, TextScores, rouge_f1
from ssl_cli.tasks.encode import encode_distinct
from ssl_cli.tasks.examples import ExampleSplit, InvalidExample, Names, as_sentence, column_names
from ssl_cli.tasks.pair_examples import SOURCE, TEXT, PairColumns, TextPair
from ssl_cli.tasks.splits import RecordSource, read_split
from ssl_cli.tasks.task import Examples, Prediction, RawPredictions

LABELLED = ("train", "dev")  # splits whose names begin like this have targets


class TextGeneration:
    """Sources and targets in the columns of any table. What is written is compared with the target by ROUGE.

    Of several names for a column, the first that a record has is used.
    """

    method: ClassVar[str] = "ssl_cli.methods.supervised.text_generation.TextGenerator"
    network: ClassVar[str] = "ssl_cli.models.encoder_decoder.EncoderDecoder"
    source: ClassVar[type] = LabelledFiles
    meanings: ClassVar[dict[str, str]] = {
        "rouge1": "F1 of the words that a text shares with its target; of Chinese, of the characters",
        "rouge2": "the same of pairs of neighbouring words",
        "rougeL": "the same of the longest sequence of words, in their order, with gaps",
    } | {
        f"lead_{lead}_{name}": f"{name} of the source's first {meaning}"
        for lead, meaning in (("sentence", "sentence"), ("words", "words, as many as targets have on average"))
        for name in ROUGE
    }

    def __init__(
        self,
        source: Annotated[Names, "column of the text to read"],
        target: Annotated[Names, "column of the text to write"],
        max_target: Annotated[Count, "most tokens of a target, with special ones; longer ones are cut, and counted"],
        validation_examples: Annotated[Count, "examples of dev, evenly spaced, that a validation reads and writes"],
        monitor: Annotated[
            Literal["loss", "rouge1", "rouge2", "rougeL"],
            "metric on the validation_examples that selects the best weights",
        ],
        layout: Annotated[PublishedLayout | None, "files as published; null: data.files names the files"] = None,
        id: Annotated[Names | None, "column of the example's id; null: its position in the file"] = None,
        split: Annotated[str | None, "column that says to which split a record of a file belongs"] = None,
        splits: Annotated[dict[str, str] | None, "split -> its value in that column"] = None,
        dev_examples: Annotated[
            Count | None, "number of last examples of the train file to use as dev; null: there is a dev file"
        ] = None,
        lowercase: Annotated[
            bool, "read and write lower case: in titles all in capitals no token is one of their article"
        ] = False,
        beams: Annotated[Count, "beginnings of a text that the final predictions are searched with; 1: no search"] = 1,
        length_penalty: Annotated[
            LengthPenalty, "power of its length that a beam's log-probability is divided by"
        ] = 1.0,
        no_repeat_ngram: Annotated[Natural, "tokens in a row that a text has only once; 0: as often as it likes"] = 0,
        columns: Annotated[list[str] | None, "names of the columns, if a TSV or CSV has no header"] = None,
        delimiter: Annotated[Delimiter | None, "delimiter of the fields; null: by the suffix, .tsv or .csv"] = None,
        quoting: Annotated[bool | None, "whether fields may be quoted; null: only in .csv"] = None,
        skip_broken: Annotated[
            bool, "skip and count records that can't be read or lack a text; false: stop with an error"
        ] = False,
    ):
        for fault in self.option_faults(
            {"split": split, "splits": splits, "beams": beams, "length_penalty": length_penalty}
        ):
            raise InputError(f"task.{fault}")
        self.columns = PairColumns(column_names(source), column_names(target), () if id is None else column_names(id))
        header = None if columns is None else tuple(columns)
        self.dialect = CsvDialect(delimiter, quoting, header, text_columns=(*self.columns.source, SOURCE, TEXT))
        self.layout, self.lowercase = layout, lowercase
        self.max_target, self.monitor = max_target, monitor
        self.summary_metric = "rougeL" if monitor == "loss" else monitor
        self.split, self.splits = split, splits or {}
        self.search = {"beams": beams, "length_penalty": length_penalty, "no_repeat_ngram": no_repeat_ngram}
        self.validation_examples = validation_examples
        self.dev_examples, self.skip_broken = dev_examples, skip_broken

    @staticmethod
    def option_faults(options: Mapping[str, Any]) -> Iterator[str]:
        """Yield what is wrong with options together; `check` calls it before any data is read."""
        if (options.get("split") is None) != (not options.get("splits")):
            yield "split and task.splits go together: a column, and its value for each split, such as {train: TRAIN}."
        if options.get("beams", 1) == 1 and options.get("length_penalty", 1) != 1:
            yield f"length_penalty={options['length_penalty']:g} is for a beam search: set task.beams above 1."

    # --- files -> examples ---

    def read(self, files: LabelledFiles) -> dict[str, Examples]:
        """Return the pairs of each split. Raises InputError for a record without a source, or a target to learn."""
        if self.dev_examples is not None and files.files.get("dev") is not None:
            raise InputError("data.files.dev and task.dev_examples both define the dev split: set only one of them.")
        splits: dict[str, Examples] = {}
        for split, source in self._sources(files):
            if self.split is not None and split in self.splits:
                source = source.only(split, self.split, self.splits[split])
            is_labelled = split.startswith(LABELLED)
            splits[split] = read_split(source, self.columns, is_labelled, skips=self.skip_broken and is_labelled)
        return splits if self.dev_examples is None else self._with_dev(splits)

    def _sources(self, files: LabelledFiles) -> Iterator[tuple[str, RecordSource]]:
        """Yield the sources of the splits; not that of a dev split which is taken from the train file."""
        paths = files.paths(self.layout, REQUIRED_SPLITS if self.dev_examples is None else ("train",))
        if paths is not None:
            found = {split: RecordSource.of_file(path, self.dialect, False) for split, path in paths.items()}
        else:
            assert self.layout is not None
            found = {
                split: RecordSource.of_rows(f"{self.layout.hub} ({split})", rows, is_coded=False)
                for split, rows in hub_rows(self.layout).items()
            }
        yield from ((split, source) for split, source in found.items() if split != "dev" or self.dev_examples is None)

    def _with_dev(self, splits: dict[str, Examples]) -> dict[str, Examples]:
        """Return the splits with the last examples of train as dev. Raises InputError if nothing is left of train."""
        n, train = self.dev_examples or 0, splits["train"]
        if n >= len(train):
            raise InputError(
                f"task.dev_examples={n:,} leaves nothing to train on: the train file has {len(train):,} examples."
            )
        rest = ExampleSplit(train[:-n])
        rest.warnings = getattr(train, "warnings", ())
        return {"train": rest, "dev": ExampleSplit(train[-n:])} | {k: v for k, v in splits.items() if k != "train"}

    def texts(self, examples: Examples) -> Iterator[str]:
        """Yield the sources and the targets, as a model reads and writes them."""
        for pair in examples:
            yield from map(self._as_read, filter(None, (pair.source, pair.target)))

    def _as_read(self, text: str) -> str:
        return text.lower() if self.lowercase else text

    def labels(self, examples: Examples) -> list[str]:
        """Return no labels: texts are written."""
        return []

    def options(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return how long a text may be, and how it is searched for."""
        return {"max_target": self.max_target, **self.search}

    # --- examples -> rows -> predictions ---

    def template(
        self, tokenizer: Tokenizer, network: Mapping[str, Any], style: Style | None, max_length: int
    ) -> PairTemplate:
        """Return the template of an encoder-decoder, for sources of at most `max_length` tokens."""
        assert style is not None, "an encoder-decoder has a style"
        return PairTemplate.for_network(tokenizer, style, max_length, self.max_target, network["context"])

    def rows(self, examples: Examples, template: PairTemplate, labels: Sequence[str], training: bool) -> PackedPairs:
        """Return one row per pair."""
        ids_of = encode_distinct(template.tokenizer, self.texts(examples))
        sources = [ids_of[self._as_read(pair.source)].tolist() if pair.source else [] for pair in examples]
        targets = [ids_of[self._as_read(pair.target)].tolist() if pair.target else None for pair in examples]
        warnings = getattr(examples, "warnings", ())
        n_cut = {
            f"sources are longer than max_length={template.max_source}": template.n_cut_sources(sources),
            f"targets are longer than task.max_target={template.max_target}": template.n_cut_targets(targets),
        }
        warnings += tuple(f"{n:,} of {len(examples):,} {what} tokens and were cut." for what, n in n_cut.items() if n)
        return PackedPairs(sources, targets, template, warnings)

    def decode(
        self, examples: Examples, rows: PackedPairs, raw_predictions: RawPredictions, labels: Sequence[str]
    ) -> list[Prediction]:
        """Return `source`, `target` if it is known, and the `prediction` of each pair: the text that was written."""
        tokenizer = rows.template.tokenizer
        texts = tokenizer.library.decode_batch([ids.tolist() for ids in raw_predictions], skip_special_tokens=True)
        if not tokenizer.is_lossless:  # BERT's puts a space between any two tokens
            texts = ["".join(add_spaces(text.split())) for text in texts]
        predictions = []
        for example, text in zip(examples, texts, strict=True):
            prediction: Prediction = {"id": example.id, "source": example.source}
            if example.target is not None:
                prediction["target"] = example.target
            predictions.append(prediction | {"prediction": text.strip()})
        return predictions

    def scores(self, predictions: Sequence[Prediction]) -> TextScores | None:
        """Return ROUGE of the predictions, or None if a target is unknown."""
        if not predictions or any("target" not in prediction for prediction in predictions):
            return None
        written, targets = ([prediction[name] for prediction in predictions] for name in ("prediction", "target"))
        return TextScores(rouge_f1(written, targets))

    def submission(self, split: str, predictions: Sequence[Prediction]) -> dict[str, str]:
        """Return no files: there is no leaderboard."""
        return {}

    # --- records of a user ---

    def records(self, path: Path, labels: Sequence[str]) -> Iterator[Record]:
        """Yield the records of a user's file, in the dialect of the training file."""
        return read_records(path, self.dialect)

    def to_example(self, record: Mapping[str, Any]) -> TextPair:
        """Return the pair of a user's record, whose target may be missing."""
        try:
            return self.columns.example_of_user(record)
        except InvalidExample as reason:
            raise InputError(as_sentence(str(reason))) from None
