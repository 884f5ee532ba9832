"""Tag each word: names of people and places (entities, in BIO and the like), or parts of speech."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np

from ssl_cli.data.io.records import Record, read_records
from ssl_cli.data.io.text import ReadIssues, without_surrogates
from ssl_cli.data.labelled.conll import Column, Sentence, TaggedSentences, read_sentences, sentences_of
from ssl_cli.data.labelled.conll_stream import has_columns, sentences
from ssl_cli.data.labelled.packed_examples import IGNORED, PackedExamples, TokenizedSequences
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.data.labelled.word_pieces import WordTokenizer, spelled, windows, words_of
from ssl_cli.errors import InputError
from ssl_cli.evaluation.metrics.token_classification import OUTSIDE, TagScores, entities
from ssl_cli.tasks.examples import known_by
from ssl_cli.tasks.sources import PublishedLayout, TaskFiles, hub_rows
from ssl_cli.tasks.tag_schemes import Scheme, as_bio, scheme_of
from ssl_cli.tasks.task import Prediction, RawPredictions

NAMED = 5  # unknown tags that are named; the others are counted


class TokenClassification:
    """Words and their tags, in CoNLL's columns, CoNLL-U or JSON lines. Each word is judged by its first token (arXiv
    1810.04805, sec. 5.3); a sentence that is too long is read in windows, so that every word is learned and answered.

    With a scheme, tags mark entities and are turned into BIO; scheme=none: each tag is a class (parts of speech).
    """

    method: ClassVar[str] = "ssl_cli.methods.supervised.token_classification.TokenClassificationHead"
    meanings: ClassVar[dict[str, str]] = {"accuracy": "share of words with the right tag"}

    def __init__(
        self,
        scheme: Annotated[Scheme, "how tags mark entities; auto: as the train file has it; none: they mark words"],
        word: Annotated[Column, "words' column, from 0, or a JSON field; null: the first, form, tokens"] = None,
        tag: Annotated[
            Column, "tags' column, from 0 (-1: the last), or a field such as xpos; null: the last, upos, tags"
        ] = None,
        layout: Annotated[
            PublishedLayout | None, "how the files are published; null: only data.files say where they are"
        ] = None,
    ):
        self.scheme, self.word, self.tag, self.layout = scheme, word, tag, layout
        self.marks_entities = scheme != "none"
        self.monitor = "entity_f1" if self.marks_entities else "accuracy"

    # --- examples ---

    def read(self, published: TaskFiles) -> dict[str, TaggedSentences]:
        paths = published.paths(self.layout)
        if paths is not None:
            found = {split: read_sentences(path, self.word, self.tag, split != "test") for split, path in paths.items()}
        else:
            assert self.layout is not None
            found = {split: self._of_hub(split, rows) for split, rows in hub_rows(self.layout).items()}
        if self.marks_entities:
            scheme = scheme_of(found["train"]) if self.scheme == "auto" else self.scheme
            found = {split: as_bio(sentences, scheme) for split, sentences in found.items()}
        tags = {tag for sentence in found["train"] for tag in sentence.tags or ()}
        if len(tags) < 2:
            raise InputError(
                f"{found['train'].source} has only one tag, {', '.join(tags)}: there is nothing to tell apart; say "
                "which column holds the tags by task.tag."
            )
        return found

    def _of_hub(self, split: str, rows: Iterable[dict[str, Any]]) -> TaggedSentences:
        records = ((f"row {number:,}", row) for number, row in enumerate(rows, 1))
        return sentences_of(f"{split} of the hub", records, self.word, self.tag, split != "test", ReadIssues())

    def records(self, path: Path, labels: Sequence[str]) -> Iterator[Record]:
        """A .txt is one of columns where its first sentence has tags; otherwise each line of it is a text."""
        return sentences(path, self.word) if has_columns(path, self.tag, set(labels)) else read_records(path)

    def given(self, record: Mapping[str, Any]) -> Sentence:
        """Of `words` or `tokens`, or as the training file calls it, a list; or of a `text`, by its `words_of`."""
        names = (*([self.word] if isinstance(self.word, str) else []), "tokens", "words")
        words = next((record[name] for name in names if record.get(name) is not None), None)
        if words is None:
            text = record.get("text")
            if not isinstance(text, str):
                raise InputError("there must be a text, or a list of words")
            words = words_of(text)
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise InputError("words must be a list of texts")
        if not words:
            raise InputError("the text is empty")
        own = None if record.get("id") is None else known_by(record["id"])
        return Sentence(own, tuple(without_surrogates(word, "", ReadIssues()) for word in words), None)

    def texts(self, examples: Sequence[Sentence]) -> Iterable[str]:
        return ("".join(spelled(sentence.words)) for sentence in examples)

    # --- what a model reads and must say ---

    def labels(self, examples: Sequence[Sentence]) -> list[str]:
        """Tags by name; of entities O, and B and I of each type."""
        tags = {tag for sentence in examples for tag in sentence.tags or ()}
        if not self.marks_entities:
            return sorted(tags)
        types = sorted({tag[2:] for tag in tags if tag != OUTSIDE})
        return [OUTSIDE, *(f"{kind}-{of}" for of in types for kind in "BI")]

    def options(self, labels: Sequence[str]) -> dict[str, Any]:
        return {"n_labels": len(labels)}

    def rows(
        self, examples: Sequence[Sentence], frame: SequenceTemplate, labels: Sequence[str], training: bool
    ) -> PackedExamples:
        """A row a window, by token: `word`, 1 at the first token of each word that is to be tagged, and its `label`.

        A causal model has not read the word there: it tags it at its last token.
        """
        room = frame.room(pair=False)
        table = WordTokenizer(frame.tokenizer, instead=frame.suffix[0], longest=room, at_last=not frame.prefix)
        number_of = {label: number for number, label in enumerate(labels)}
        listed: dict[str, list[list[int]]] = {"ids": [], "word": [], "label": []}
        number, n_long = [], 0
        table.learn(word for sentence in examples for word in spelled(sentence.words))
        for index, sentence in enumerate(examples):
            if training and sentence.tags is None:
                continue
            tokens = [table.of(word) for word in spelled(sentence.words)]
            targets = [number_of.get(tag, IGNORED) for tag in sentence.tags or [""] * len(tokens)]
            parts = windows([len(ids) for ids, _ in tokens], room)
            n_long += len(parts) > 1
            for part in parts:
                number.append(index)
                for name, values in _window(tokens, targets, part, frame).items():
                    listed[name].append(values)
        told = (*getattr(examples, "warnings", ()), *_told(examples, number_of, table, n_long, frame.max_length))
        return PackedExamples(
            TokenizedSequences.of(listed, {"label": IGNORED}), {}, np.array(number, np.int64), warnings=told
        )

    # --- what it said ---

    def decode(
        self, examples: Sequence[Sentence], rows: PackedExamples, guesses: RawPredictions, labels: Sequence[str]
    ) -> list[Prediction]:
        """`words`, `labels` where they are known, `answers`, the `probabilities` of these, and `entities`."""
        scores = np.concatenate(list(guesses)).astype(np.float64)  # (W, n_labels), windows in order, so words are too
        best = scores.argmax(1)
        probability = 1 / np.exp(scores - scores.max(1, keepdims=True)).sum(1)  # (W,)
        told, certain = [labels[number] for number in best.tolist()], np.round(probability, 6).tolist()
        ends = np.cumsum([len(sentence.words) for sentence in examples]).tolist()
        assert ends[-1] == len(told), f"{ends[-1]} words, but {len(told)} answers"
        return [
            self._answer(sentence, told[end - len(sentence.words) : end], certain[end - len(sentence.words) : end])
            for sentence, end in zip(examples, ends, strict=True)
        ]

    def _answer(self, sentence: Sentence, told: list[str], certain: list[float]) -> Prediction:
        answer: Prediction = {"id": sentence.id, "words": list(sentence.words)}
        if sentence.tags is not None:
            answer["labels"] = list(sentence.tags)
        answer |= {"answers": told, "probabilities": certain}
        if self.marks_entities:
            texts = spelled(sentence.words)
            answer["entities"] = [
                {"type": of, "text": "".join(texts[first : last + 1]).strip(), "first": first, "last": last}
                for of, first, last in entities(told)
            ]
        return answer

    def scores(self, answers: Sequence[Prediction]) -> TagScores | None:
        if not answers or any("labels" not in answer for answer in answers):
            return None
        truth, told = ([answer[name] for answer in answers] for name in ("labels", "answers"))
        return TagScores.of_tags(truth, told, self.marks_entities)

    def submission(self, split: str, answers: Sequence[Prediction]) -> dict[str, str]:
        """Columns of word, truth where it is known, and answer: what conlleval.pl reads."""
        columns = ("words", "labels", "answers")
        blocks = []
        for answer in answers:
            kept = [answer[name] for name in columns if name in answer]
            blocks.append("".join(f"{row[0].strip() or '_'} {' '.join(row[1:])}\n" for row in zip(*kept, strict=True)))
        return {f"{split}.conll": "\n".join(blocks)}


def _window(
    tokens: Sequence[tuple[list[int], int]],
    targets: Sequence[int],
    part: tuple[int, int, int, int],
    frame: SequenceTemplate,
) -> dict[str, list[int]]:
    """The tokens of a window, framed; words outside `first` to `last` are only read."""
    begin, first, last, end = part
    ids, word, label = list(frame.prefix), [0] * len(frame.prefix), [IGNORED] * len(frame.prefix)
    for place in range(begin, end):
        own, head = tokens[place]
        if first <= place < last:
            word += [0] * head + [1] + [0] * (len(own) - head - 1)
            label += [IGNORED] * head + [targets[place]] + [IGNORED] * (len(own) - head - 1)
        ids += own
        word += [0] * (len(ids) - len(word))
        label += [IGNORED] * (len(ids) - len(label))
    over = len(frame.suffix)
    return {"ids": [*ids, *frame.suffix], "word": word + [0] * over, "label": label + [IGNORED] * over}


def _told(
    examples: Sequence[Sentence], number_of: Mapping[str, int], table: WordTokenizer, n_long: int, max_length: int
) -> list[str]:
    told = []
    if n_long:
        told.append(
            f"{n_long:,} sentence(s) longer than max_length={max_length} were read in overlapping windows, and no word "
            "left out."
        )
    if table.vanished:
        n_words = sum(word in table.vanished for sentence in examples for word in spelled(sentence.words))
        told.append(f"{n_words:,} word(s) became no token, and were read as {table.tokenizer.token(table.unknown)}.")
    unknown = Counter(tag for sentence in examples for tag in sentence.tags or () if tag not in number_of)
    if unknown:
        names = ", ".join([*sorted(unknown)[:NAMED], *["..."] * (len(unknown) > NAMED)])
        told.append(f"{unknown.total():,} word(s) have tags that the train file lacks ({names}): they count as wrong.")
    where = f"{examples.source}: " if isinstance(examples, TaggedSentences) else ""
    return [f"{where}{sentence}" for sentence in told]
