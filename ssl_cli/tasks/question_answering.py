"""Extractive question answering: SQuAD, DRCD, CMRC 2018, and any file in SQuAD's JSON."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from ssl_cli.config.types import Count, Natural
from ssl_cli.data.io.records import Record, read_records
from ssl_cli.data.io.text import ReadIssues, replace_surrogates
from ssl_cli.data.labelled.sources import REQUIRED_SPLITS, LabelledFiles, PublishedLayout, hub_rows
from ssl_cli.data.labelled.squad import Question, Questions, questions_from_hub, read_squad, unpack_questions
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.errors import InputError
from ssl_cli.evaluation.metrics.question_answering import best_threshold, cmrc2018, drcd, squad, squad2
from ssl_cli.tasks.answer_alignment import (
    ANSWER_TOO_LONG,
    IN_NO_WINDOW,
    MOVED,
    QUESTION_CUT,
    align_answer,
    alignment_warnings,
    labelled_questions,
)
from ssl_cli.tasks.passage_windows import PackedWindows, Window, WindowCutter, encode_texts
from ssl_cli.tasks.span_decoding import ScoredSpan, best_answers, null_scores
from ssl_cli.tasks.task import Prediction, RawPredictions

Script = Literal["squad", "cmrc2018"]
THRESHOLD = "null_threshold"
NO_ANSWER = {"text": "", "start": None, "score": 0.0, "probability": 0.0}  # for a passage without tokens
NO_SPAN_SCORE = -1e4  # the score of the best span of such a passage

MEANINGS = {  # of the metrics, by evaluation script
    "squad": {
        "exact_match": "share of predictions equal to a true answer, ignoring case, articles, marks (SQuAD's script)",
        "f1": "F1 of the words that a prediction shares with a true answer (SQuAD's script)",
    },
    "cmrc2018": {
        "exact_match": "share of predictions equal to a true answer, ignoring punctuation (CMRC 2018's script)",
        "f1": "F1 of the longest run that a prediction shares with a true answer (CMRC 2018's script)",
        "exact_match_characters": "share of predictions equal to a true answer, as DRCD's authors count it",
        "f1_characters": "F1 of the characters that a prediction shares with a true answer (DRCD's authors)",
    },
}


class QuestionAnswering:
    """Questions whose answer is a span of a passage. Long passages are read in windows.

    A question is left out of training, and counted, if its answer isn't in the passage, doesn't match whole tokens, or
    fits no window: otherwise the model would learn that it has no answer. All errors are InputErrors that name the file
    and the question.
    """

    method: ClassVar[str] = "ssl_cli.methods.supervised.span_extraction.SpanExtractionHead"
    network: ClassVar[str] = "ssl_cli.models.transformer.Transformer"
    template = staticmethod(SequenceTemplate.for_network)
    source: ClassVar[type] = LabelledFiles

    def __init__(
        self,
        layout: Annotated[PublishedLayout | None, "files as published; null: data.files names the files"],
        script: Annotated[Script, "evaluation script: squad for words, cmrc2018 for Chinese"],
        null_answers: Annotated[bool, "whether a question may have no answer in its passage, as in SQuAD 2.0"],
        null_threshold: Annotated[
            float | None, "null odds above which no answer is predicted; null: tuned for the best F1 on dev"
        ],
        dev_articles: Annotated[Count | None, "number of last articles of the train file to use as dev"],
        unfound: Annotated[Literal["refuse", "leave_out"], "what to do with an answer that isn't in its passage"],
        doc_stride: Annotated[Natural, "tokens of the passage that two windows share, at most half of one"],
        max_question: Annotated[Count, "tokens of a question; longer ones are cut"],
        max_answer: Annotated[Count, "tokens of a predicted answer"],
        n_best: Annotated[Count, "answers kept for each question, with their probabilities"],
        monitor: Annotated[Literal["f1", "exact_match"], "metric on dev that selects the best weights"],
        handed_in: Annotated[str, "name of the submission file"],
    ):
        self.meanings = MEANINGS[script]
        self.layout, self.script, self.null_answers, self.unfound = layout, script, null_answers, unfound
        self.metric = cmrc2018 if script == "cmrc2018" else squad2 if null_answers else squad
        self.null_threshold, self.tunes_threshold = null_threshold or 0.0, null_answers and null_threshold is None
        self.dev_articles, self.cutter = dev_articles, WindowCutter(doc_stride, max_question)
        self.max_answer, self.n_best = max_answer, n_best
        self.monitor, self.handed_in = monitor, handed_in

    # --- files ---

    def read(self, files: LabelledFiles) -> dict[str, Questions]:
        """Return the questions of each split."""
        splits_train, named = self.dev_articles is not None, files.files
        if splits_train and named.get("dev", named.get("train")) != named.get("train"):
            raise InputError("data.files.dev and task.dev_articles both define the dev split: set only one of them.")
        wanted = ("train", "test") if splits_train else (*REQUIRED_SPLITS, "test")
        options = (self.null_answers, self.unfound == "refuse")
        paths = files.paths(self.layout, ("train",) if splits_train else REQUIRED_SPLITS)
        if paths is None:
            assert self.layout is not None
            records = {split: rows for split, rows in hub_rows(self.layout).items() if split in wanted}
            sources = {split: f"{self.layout.hub}, {split}" for split in records}
            examples = {split: questions_from_hub(rows, sources[split], *options) for split, rows in records.items()}
        else:
            sources = {split: str(path) for split, path in paths.items() if split in wanted}
            examples = {split: read_squad(paths[split], *options) for split in sources}
        for split in (split for split in REQUIRED_SPLITS if split in examples):
            examples[split] = labelled_questions(examples[split], sources[split], self.unfound)
        return examples if self.dev_articles is None else split_off_dev(examples, self.dev_articles)

    def texts(self, examples: Sequence[Question]) -> Iterable[str]:
        """Yield each passage once, then all questions."""
        yield from dict.fromkeys(example.context for example in examples)
        for example in examples:
            yield example.question

    def labels(self, examples: Sequence[Question]) -> list[str]:
        """Return no labels: the targets are tokens."""
        return []

    def options(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return no further arguments: the head needs none."""
        return {}

    def records(self, path: Path, labels: Sequence[str]) -> Iterator[Record]:
        """Yield the records of a user's file; a document in SQuAD's JSON has one record a question."""
        return read_records(path, unpack=unpack_questions)

    def to_example(self, record: Mapping[str, Any]) -> Question:
        """Return the question of a user's record. Raises InputError if it lacks a question or a passage."""
        for name in ("question", "context"):
            if not isinstance(record.get(name), str) or not record[name].strip():
                raise InputError(f"its {name} is {'empty' if name in record else 'missing'}")
        texts = ("" if record.get("id") is None else str(record["id"]), record["question"], record["context"])
        id, question, context = (replace_surrogates(text, "", ReadIssues()) for text in texts)
        return Question(id, question, context)

    # --- rows ---

    def rows(
        self, examples: Sequence[Question], template: SequenceTemplate, labels: Sequence[str], training: bool
    ) -> PackedWindows:
        """Return one row per window."""
        questions = encode_texts(template.tokenizer, (example.question for example in examples))
        passages = encode_texts(template.tokenizer, (example.context for example in examples))
        rows, problems = list[Window](), Counter[str]()
        for k, example in enumerate(examples):
            full_question, passage = questions[example.question].ids, passages[example.context]
            question = self.cutter.question(full_question, template)
            answer, problem = align_answer(example, passage, self._is_same)
            windows = self.cutter.windows(k, question, passage, answer, template)
            if answer is not None and all(window.answer_in_window is None for window in windows):
                problem = IN_NO_WINDOW
            problems[QUESTION_CUT] += len(question) < len(full_question)
            problems[MOVED] += example.n_moved > 0
            problems[ANSWER_TOO_LONG] += answer is not None and answer[1] - answer[0] >= self.max_answer
            if problem is not None:
                problems[problem] += 1
                windows = [] if training else [window._replace(is_known=False) for window in windows]
            rows += windows
        warnings = alignment_warnings(problems, len(examples), training, self.max_answer)
        packed = PackedWindows(rows, template, (*getattr(examples, "warnings", ()), *warnings))
        return packed.with_row_length(template.max_length)

    def _is_same(self, prediction: str, answer: str) -> bool:
        return self.metric(prediction, [answer])[0] == 1

    # --- predictions ---

    def decode(
        self,
        examples: Sequence[Question],
        rows: PackedWindows,
        raw_predictions: RawPredictions,
        labels: Sequence[str],
    ) -> list[Prediction]:
        """Return each question with its `prediction`, the `start` in the passage (None without an answer), `score`,
        `probability`, and the `n_best`.

        With null answers also `null_odds`: the score of no answer minus that of the best span.
        """
        contexts = [example.context for example in examples]
        spans = best_answers(raw_predictions, rows, contexts, self.n_best, self.max_answer)
        null = null_scores(raw_predictions, rows, len(examples)).tolist()
        return self.apply_threshold([self._candidates(*args) for args in zip(examples, spans, null, strict=True)])

    def _candidates(self, example: Question, spans: Sequence[ScoredSpan], null: float) -> Prediction:
        prediction: Prediction = {"id": example.id, "question": example.question, "context": example.context}
        if example.answers is not None:
            prediction["labels"] = [text for text, _ in example.answers]
        scores = np.array([span.score for span in spans] + [null] * self.null_answers)
        exponentials = np.exp(scores - scores.max(initial=-np.inf))
        probabilities = (exponentials / exponentials.sum()).round(6).tolist()
        n_best = [
            {
                "text": example.context[span.start : span.end],
                "start": span.start,
                "score": round(span.score, 4),
                "probability": probability,
                "start_logit": span.start_logit,
                "end_logit": span.end_logit,
            }
            for span, probability in zip(spans, probabilities, strict=False)
        ]
        if self.null_answers:
            n_best.append({"text": "", "start": None, "score": null, "probability": probabilities[-1]})
            prediction["null_odds"] = round(null - (spans[0].score if spans else NO_SPAN_SCORE), 4)
        return prediction | {"n_best": n_best}

    def apply_threshold(self, predictions: Sequence[Prediction]) -> list[Prediction]:
        """Return the predictions, each with its `prediction` by the current threshold."""
        return [self._select(prediction) for prediction in predictions]

    def _select(self, prediction: Prediction) -> Prediction:
        """Select the best of the n best, or no answer if the null odds are above the threshold."""
        n_best = prediction["n_best"]
        is_null = self.null_answers and prediction["null_odds"] > self.null_threshold
        best = n_best[-1] if is_null else (n_best or [NO_ANSWER])[0]
        selected = {"prediction": best["text"], **{name: best[name] for name in ("start", "score", "probability")}}
        rest = {name: value for name, value in prediction.items() if name not in selected and name != "n_best"}
        return rest | selected | {"n_best": n_best}

    def tune(self, predictions: Sequence[Prediction]) -> list[Prediction]:
        """Set the threshold to the best F1 on these predictions of the dev split, and return them by it."""
        if not self.tunes_threshold or not predictions or "labels" not in predictions[0]:
            return list(predictions)
        f1 = [self.metric(prediction["n_best"][0]["text"], prediction["labels"])[1] for prediction in predictions]
        has_answer = np.array([bool(prediction["labels"]) for prediction in predictions])
        odds = np.array([prediction["null_odds"] for prediction in predictions])
        self.null_threshold = best_threshold(odds, np.array(f1), has_answer)
        return self.apply_threshold(predictions)

    def learned(self) -> dict[str, Any]:
        """Return the tuned threshold, or nothing if it is fixed."""
        return {THRESHOLD: self.null_threshold} if self.tunes_threshold else {}

    def restore(self, learned: Mapping[str, Any]) -> None:
        """Restore the tuned threshold. Raises InputError if it is not a number."""
        if self.tunes_threshold:
            if not isinstance(learned.get(THRESHOLD), int | float):
                raise InputError(f"{THRESHOLD} is not a number: what the run learned is damaged")
            self.null_threshold = float(learned[THRESHOLD])

    # --- evaluation ---

    def scores(self, predictions: Sequence[Prediction]) -> "AnswerScores | None":
        """Return the scores of the evaluation script, or None without labels.

        Chinese is scored by characters too; with null answers, questions with and without an answer also separately.
        """
        if not predictions or any("labels" not in prediction for prediction in predictions):
            return None
        metrics = {"": self.metric} | ({"_characters": drcd} if self.script == "cmrc2018" else {})
        values = dict[str, np.ndarray]()
        for suffix, metric in metrics.items():
            scores = np.array([metric(prediction["prediction"], prediction["labels"]) for prediction in predictions])
            values |= {f"exact_match{suffix}": scores[:, 0], f"f1{suffix}": scores[:, 1]}
        if self.null_answers:
            has_answer = np.array([bool(prediction["labels"]) for prediction in predictions])
            values["has_answer_f1"] = np.where(has_answer, values["f1"], np.nan)
            is_null = np.array([not prediction["prediction"] for prediction in predictions])
            values["no_answer_accuracy"] = np.where(has_answer, np.nan, is_null)
        return AnswerScores(values)

    def submission(self, split: str, predictions: Sequence[Prediction]) -> dict[str, str]:
        """Return {id: answer}, the n best and the null odds as JSON files, as transformers' run_qa writes them."""
        tables: dict[str, dict[str, Any]] = {
            self.handed_in: {prediction["id"]: prediction["prediction"] for prediction in predictions},
            "n_best.json": {prediction["id"]: prediction["n_best"] for prediction in predictions},
        }
        if self.null_answers:
            tables["null_odds.json"] = {prediction["id"]: prediction["null_odds"] for prediction in predictions}
        return {f"{split}/{name}": json.dumps(table, ensure_ascii=False) for name, table in tables.items()}


class AnswerScores:
    """Scores of each prediction by metric, (N,); NaN if the metric doesn't apply to it."""

    def __init__(self, values: Mapping[str, np.ndarray]):
        self.values = {name: scores for name, scores in values.items() if not np.isnan(scores).all()}

    def metrics(self, which: np.ndarray | None = None) -> dict[str, float]:
        """Return the mean of each metric over all predictions, or over those with the indices `which`."""
        chosen = {name: scores if which is None else scores[which] for name, scores in self.values.items()}
        known = {name: scores[~np.isnan(scores)] for name, scores in chosen.items()}
        return {name: float(scores.mean()) if len(scores) else float("nan") for name, scores in known.items()}


def split_off_dev(examples: Mapping[str, Questions], n_dev: int) -> dict[str, Questions]:
    """Return the splits with the last `n_dev` articles of train as dev. Raises InputError if none are left to train."""
    articles = list(dict.fromkeys(example.article for example in examples["train"]))
    if len(articles) <= n_dev:
        raise InputError(f"task.dev_articles={n_dev}: the train file has only {len(articles)} articles; set fewer.")
    held_out = set(articles[-n_dev:])
    dev = Questions(example for example in examples["train"] if example.article in held_out)
    train = Questions(example for example in examples["train"] if example.article not in held_out)
    train.warnings = examples["train"].warnings
    return {"train": train, "dev": dev} | {split: some for split, some in examples.items() if split == "test"}
