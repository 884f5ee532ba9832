"""Token classification: a tag for each word, of entities (people, places; BIO and others) or parts of speech."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np

from ssl_cli.data.io.records import Record, read_records
from ssl_cli.data.io.text import ReadIssues, replace_surrogates
from ssl_cli.data.labelled.conll import Column, Sentence, TaggedSentences, read_sentences, sentences_from_records
from ssl_cli.data.labelled.conll_stream import has_columns, stream_sentences
from ssl_cli.data.labelled.packed_examples import IGNORE_INDEX, PackedExamples, TokenizedSequences
from ssl_cli.data.labelled.sources import LabelledFiles, PublishedLayout, hub_rows
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.data.labelled.word_pieces import WordTokenizer, add_spaces, sentence_windows, split_words
from ssl_cli.errors import InputError
from ssl_cli.evaluation.metrics.token_classification import OUTSIDE, TagScores, entities
from ssl_cli.tasks.examples import json_id
from ssl_cli.tasks.tag_schemes import Scheme, detect_scheme, to_bio
from ssl_cli.tasks.task import Prediction, RawPredictions

MAX_NAMED_TAGS = 5  # unknown tags that a warning names; the others are only counted


class TokenClassification:
    """Words and their tags, in CoNLL's columns, CoNLL-U or JSON lines.

    Each word is classified at its first token (arXiv 1810.04805, sec. 5.3). A sentence that is too long is read in
    windows, so that every word is learned and predicted. With a scheme, tags mark entities and are converted to BIO;
    with scheme=none each tag is a class, such as a part of speech.
    """

    method: ClassVar[str] = "ssl_cli.methods.supervised.token_classification.TokenClassificationHead"
    network: ClassVar[str] = "ssl_cli.models.transformer.Transformer"
    template = staticmethod(SequenceTemplate.for_network)
    source: ClassVar[type] = LabelledFiles
    meanings: ClassVar[dict[str, str]] = {"accuracy": "share of words with the right tag"}

    def __init__(
        self,
        scheme: Annotated[Scheme, "how tags mark entities; auto: detected in the train file; none: tags are classes"],
        word: Annotated[Column, "column of the words, from 0, or a JSON field; null: the first, form, tokens"] = None,
        tag: Annotated[
            Column, "column of the tags, from 0 (-1: the last), or a field such as xpos; null: the last, upos, tags"
        ] = None,
        layout: Annotated[PublishedLayout | None, "files as published; null: data.files names the files"] = None,
    ):
        self.scheme, self.word, self.tag, self.layout = scheme, word, tag, layout
        self.marks_entities = scheme != "none"
        self.monitor = "entity_f1" if self.marks_entities else "accuracy"

    # --- examples ---

    def read(self, files: LabelledFiles) -> dict[str, TaggedSentences]:
        """Return the sentences of each split. Raises InputError for tags that mark no entity, or only one tag."""
        paths = files.paths(self.layout)
        if paths is not None:
            splits = {
                split: read_sentences(path, self.word, self.tag, split != "test") for split, path in paths.items()
            }
        else:
            assert self.layout is not None
            splits = {split: self._from_hub(split, rows) for split, rows in hub_rows(self.layout).items()}
        if self.marks_entities:
            scheme = detect_scheme(splits["train"]) if self.scheme == "auto" else self.scheme
            splits = {split: to_bio(sentences, scheme) for split, sentences in splits.items()}
        tags = {tag for sentence in splits["train"] for tag in sentence.tags or ()}
        if len(tags) < 2:
            raise InputError(
                f"{splits['train'].source} has only one tag, {', '.join(tags)}: there are no classes to distinguish; "
                "set task.tag to the column with the tags."
            )
        return splits

    def _from_hub(self, split: str, rows: Iterable[dict[str, Any]]) -> TaggedSentences:
        records = ((f"row {k:,}", row) for k, row in enumerate(rows, 1))
        source = f"{split} of the hub"
        return sentences_from_records(source, records, self.word, self.tag, split != "test", ReadIssues())

    def records(self, path: Path, labels: Sequence[str]) -> Iterator[Record]:
        """Yield the records of a user's file. A .txt has columns if its first sentence has tags; else lines of text."""
        return stream_sentences(path, self.word) if has_columns(path, self.tag, set(labels)) else read_records(path)

    def to_example(self, record: Mapping[str, Any]) -> Sentence:
        """Return the sentence of a user's record: a list of `words` or `tokens`, or a `text`, split into words.

        The field of the words may also have its name in the training file.
        """
        names = (*([self.word] if isinstance(self.word, str) else []), "tokens", "words")
        words = next((record[name] for name in names if record.get(name) is not None), None)
        if words is None:
            text = record.get("text")
            if not isinstance(text, str):
                raise InputError("there must be a text, or a list of words")
            words = split_words(text)
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise InputError("words must be a list of texts")
        if not words:
            raise InputError("the text is empty")
        id = None if record.get("id") is None else json_id(record["id"])
        return Sentence(id, tuple(replace_surrogates(word, "", ReadIssues()) for word in words), None)

    def texts(self, examples: Sequence[Sentence]) -> Iterable[str]:
        """Yield the sentences as plain text."""
        return ("".join(add_spaces(sentence.words)) for sentence in examples)

    # --- rows and targets ---

    def labels(self, examples: Sequence[Sentence]) -> list[str]:
        """Return the tags in alphabetical order; for entities O, then B and I of each type."""
        tags = {tag for sentence in examples for tag in sentence.tags or ()}
        if not self.marks_entities:
            return sorted(tags)
        types = sorted({tag[2:] for tag in tags if tag != OUTSIDE})
        return [OUTSIDE, *(f"{prefix}-{type}" for type in types for prefix in "BI")]

    def options(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return the number of outputs of the head."""
        return {"n_labels": len(labels)}

    def rows(
        self, examples: Sequence[Sentence], template: SequenceTemplate, labels: Sequence[str], training: bool
    ) -> PackedExamples:
        """Return one row per window. By token: `word`, 1 at the token that stands for a word of the window, and its
        `label`.

        The token is the first of the word. In a causal model it is the last, as only that one has seen the whole word.
        """
        room = template.max_text_tokens(pair=False)
        tokenizer = WordTokenizer(
            template.tokenizer,
            fallback_id=template.suffix[0],
            max_word_tokens=room,
            use_last_token=template.causal,
        )
        index = {label: k for k, label in enumerate(labels)}
        columns: dict[str, list[list[int]]] = {"ids": [], "word": [], "label": []}
        row_ids, n_long = [], 0
        tokenizer.add_words(word for sentence in examples for word in add_spaces(sentence.words))
        for k, sentence in enumerate(examples):
            if training and sentence.tags is None:
                continue
            tokens = [tokenizer.tokens_of(word) for word in add_spaces(sentence.words)]
            targets = [index.get(tag, IGNORE_INDEX) for tag in sentence.tags or [""] * len(tokens)]
            windows = sentence_windows([len(ids) for ids, _ in tokens], room)
            n_long += len(windows) > 1
            for window in windows:
                row_ids.append(k)
                for name, values in _window_tokens(tokens, targets, window, template).items():
                    columns[name].append(values)
        warnings = _warnings(examples, labels, tokenizer, n_long, template.max_length)
        return PackedExamples(
            TokenizedSequences.from_lists(columns, {"label": IGNORE_INDEX}),
            {},
            np.array(row_ids, np.int64),
            warnings=(*getattr(examples, "warnings", ()), *warnings),
        ).with_row_length(template.max_length)

    # --- predictions ---

    def decode(
        self,
        examples: Sequence[Sentence],
        rows: PackedExamples,
        raw_predictions: RawPredictions,
        labels: Sequence[str],
    ) -> list[Prediction]:
        """Return `words`, `labels` if known, `predictions`, their `probabilities`, and `entities` of each sentence."""
        logits = np.concatenate(list(raw_predictions)).astype(np.float64)  # (W, n_labels); windows keep the word order
        probability = 1 / np.exp(logits - logits.max(1, keepdims=True)).sum(1)  # (W,)
        tags = [labels[k] for k in logits.argmax(1).tolist()]
        probabilities = np.round(probability, 6).tolist()
        ends = np.cumsum([len(sentence.words) for sentence in examples]).tolist()
        assert ends[-1] == len(tags), f"{ends[-1]} words, but {len(tags)} predictions"
        bounds = [slice(end - len(sentence.words), end) for sentence, end in zip(examples, ends, strict=True)]
        return [
            self._predicted(sentence, tags[words], probabilities[words])
            for sentence, words in zip(examples, bounds, strict=True)
        ]

    def _predicted(self, sentence: Sentence, tags: list[str], probabilities: list[float]) -> Prediction:
        prediction: Prediction = {"id": sentence.id, "words": list(sentence.words)}
        if sentence.tags is not None:
            prediction["labels"] = list(sentence.tags)
        prediction |= {"predictions": tags, "probabilities": probabilities}
        if self.marks_entities:
            texts = add_spaces(sentence.words)
            prediction["entities"] = [
                {"type": type, "text": "".join(texts[first : last + 1]).strip(), "first": first, "last": last}
                for type, first, last in entities(tags)
            ]
        return prediction

    def scores(self, predictions: Sequence[Prediction]) -> TagScores | None:
        """Return the scores of the predictions, or None if a sentence has no labels."""
        if not predictions or any("labels" not in prediction for prediction in predictions):
            return None
        truth, tags = ([prediction[name] for prediction in predictions] for name in ("labels", "predictions"))
        return TagScores.from_tags(truth, tags, self.marks_entities)

    def submission(self, split: str, predictions: Sequence[Prediction]) -> dict[str, str]:
        """Return a file with the columns word, label if known, and prediction, as conlleval.pl reads it."""
        blocks = []
        for prediction in predictions:
            columns = [prediction[name] for name in ("words", "labels", "predictions") if name in prediction]
            lines = (f"{word.strip() or '_'} {' '.join(tags)}\n" for word, *tags in zip(*columns, strict=True))
            blocks.append("".join(lines))
        return {f"{split}.conll": "\n".join(blocks)}


def _window_tokens(
    tokens: Sequence[tuple[list[int], int]],
    targets: Sequence[int],
    window: tuple[int, int, int, int],
    template: SequenceTemplate,
) -> dict[str, list[int]]:
    """Return the tokens of a window with prefix and suffix. Words outside `first`..`last` are only context."""
    begin, first, last, end = window
    ids, word, label = list(template.prefix), [0] * len(template.prefix), [IGNORE_INDEX] * len(template.prefix)
    for k in range(begin, end):
        word_ids, head = tokens[k]
        n_after = len(word_ids) - head - 1
        is_target = first <= k < last
        ids += word_ids
        word += [0] * head + [int(is_target)] + [0] * n_after
        label += [IGNORE_INDEX] * head + [targets[k] if is_target else IGNORE_INDEX] + [IGNORE_INDEX] * n_after
    n_suffix = len(template.suffix)
    return {"ids": [*ids, *template.suffix], "word": word + [0] * n_suffix, "label": label + [IGNORE_INDEX] * n_suffix}


def _warnings(
    examples: Sequence[Sentence], labels: Sequence[str], tokenizer: WordTokenizer, n_long: int, max_length: int
) -> list[str]:
    warnings = []
    if n_long:
        warnings.append(
            f"{n_long:,} sentence(s) longer than max_length={max_length} were read in overlapping windows; no word was "
            "left out."
        )
    if tokenizer.untokenized:
        n_words = sum(word in tokenizer.untokenized for sentence in examples for word in add_spaces(sentence.words))
        unknown = tokenizer.tokenizer.token(tokenizer.fallback_id)
        warnings.append(f"{n_words:,} word(s) have no tokens, and were read as {unknown}.")
    known = set(labels)
    unseen = Counter(tag for sentence in examples for tag in sentence.tags or () if tag not in known)
    if unseen:
        names = ", ".join([*sorted(unseen)[:MAX_NAMED_TAGS], *["..."] * (len(unseen) > MAX_NAMED_TAGS)])
        warnings.append(
            f"{unseen.total():,} word(s) have tags that the train file lacks ({names}): they count as wrong."
        )
    source = f"{examples.source}: " if isinstance(examples, TaggedSentences) else ""
    return [f"{source}{warning}" for warning in warnings]
