"""Find the answer to a question in a passage: SQuAD, DRCD, CMRC 2018, and any file in SQuAD's JSON."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from ssl_cli.config.types import Count, Natural
from ssl_cli.data.io.records import Record, read_records
from ssl_cli.data.io.text import ReadIssues, without_surrogates
from ssl_cli.data.labelled.squad import Question, Questions, questions_of_hub, read_squad, unpack_questions
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.errors import InputError
from ssl_cli.evaluation.metrics.question_answering import best_threshold, characters, cmrc2018, squad, squad2
from ssl_cli.tasks.answer_alignment import CUT, DIVIDED, LONG, MOVED, answer_tokens, told, with_answers
from ssl_cli.tasks.passage_windows import Cutting, PackedWindows, Window, encoded
from ssl_cli.tasks.sources import NEEDED, PublishedLayout, TaskFiles, hub_rows
from ssl_cli.tasks.span_decoding import ScoredSpan, best_answers, null_scores
from ssl_cli.tasks.task import Prediction, RawPredictions

Script = Literal["squad", "cmrc2018"]
THRESHOLD = "null_threshold"
NOTHING = {"text": "", "start": None, "score": 0.0, "probability": 0.0}  # of a passage without a single token
WORST = -1e4  # the best score there

MEANINGS = {  # of the metrics, by the script that counts
    "squad": {
        "exact_match": "share of answers that are a true one, but for case, articles and punctuation (SQuAD's script)",
        "f1": "F1 of the words that an answer shares with a true one (SQuAD's script)",
    },
    "cmrc2018": {
        "exact_match": "share of answers that are a true one, but for punctuation (CMRC 2018's script)",
        "f1": "F1 of the longest run that an answer shares with a true one (CMRC 2018's script)",
        "exact_match_characters": "share of answers that are a true one, as DRCD's authors count it",
        "f1_characters": "F1 of the characters that an answer shares with a true one (DRCD's authors)",
    },
}


class QuestionAnswering:
    """Questions whose answers are a piece of a passage, which is cut into windows where it is long.

    A question is left out of training, and counted, where its answer isn't in the passage, or can't be told by whole
    tokens, or is in no window whole: otherwise it would be learned that there is none. Errors are InputErrors that name
    the file and the question.
    """

    method: ClassVar[str] = "ssl_cli.methods.supervised.span_extraction.SpanExtractionHead"

    def __init__(
        self,
        layout: Annotated[PublishedLayout | None, "how it is published; null: the files are given by data.files"],
        script: Annotated[Script, "whose script measures: squad for words, cmrc2018 for Chinese"],
        null_answers: Annotated[bool, "whether a question may have no answer in its passage, as in SQuAD 2.0"],
        null_threshold: Annotated[
            float | None, "null odds above which no answer is given; null: those of the best F1 on dev"
        ],
        dev_articles: Annotated[Count | None, "take the last so many articles of the train file for dev"],
        unfound: Annotated[Literal["refuse", "leave_out"], "what is done with an answer that isn't in its passage"],
        doc_stride: Annotated[Natural, "tokens of the passage that two windows share, at most half of one"],
        max_question: Annotated[Count, "tokens of a question; longer ones are cut"],
        max_answer: Annotated[Count, "tokens of an answer that is given"],
        n_best: Annotated[Count, "answers of each question that are kept, with their probabilities"],
        monitor: Annotated[Literal["f1", "exact_match"], "metric on dev by which the best weights are kept"],
        handed_in: Annotated[str, "name of the file of answers"],
    ):
        self.meanings = MEANINGS[script]
        self.layout, self.script, self.null_answers, self.unfound = layout, script, null_answers, unfound
        self.measure = cmrc2018 if script == "cmrc2018" else squad2 if null_answers else squad
        self.null_threshold, self.is_tuned = null_threshold or 0.0, null_answers and null_threshold is None
        self.dev_articles, self.cutting = dev_articles, Cutting(doc_stride, max_question)
        self.max_answer, self.n_best = max_answer, n_best
        self.monitor, self.handed_in = monitor, handed_in

    # --- files ---

    def read(self, published: TaskFiles) -> dict[str, Questions]:
        """The questions by split."""
        is_parted, given = self.dev_articles is not None, published.files
        if is_parted and given.get("dev", given.get("train")) != given.get("train"):
            raise InputError("data.files.dev and task.dev_articles both say what dev is: leave out one of them.")
        wanted = ("train", "test") if is_parted else (*NEEDED, "test")
        reading = (self.null_answers, self.unfound == "refuse")
        paths = published.paths(self.layout, ("train",) if is_parted else NEEDED)
        if paths is None:
            assert self.layout is not None
            records = {split: some for split, some in hub_rows(self.layout).items() if split in wanted}
            sources = {split: f"{self.layout.hub}, {split}" for split in records}
            found = {split: questions_of_hub(some, sources[split], *reading) for split, some in records.items()}
        else:
            sources = {split: str(path) for split, path in paths.items() if split in wanted}
            found = {split: read_squad(paths[split], *reading) for split in sources}
        for split in (split for split in NEEDED if split in found):
            found[split] = with_answers(found[split], sources[split], self.unfound)
        return found if self.dev_articles is None else parted(found, self.dev_articles)

    def texts(self, examples: Sequence[Question]) -> Iterable[str]:
        yield from dict.fromkeys(example.context for example in examples)
        for example in examples:
            yield example.question

    def labels(self, examples: Sequence[Question]) -> list[str]:
        return []

    def options(self, labels: Sequence[str]) -> dict[str, Any]:
        return {}

    def records(self, path: Path, labels: Sequence[str]) -> Iterator[Record]:
        return read_records(path, unpack=unpack_questions)

    def given(self, record: Mapping[str, Any]) -> Question:
        """Raises InputError in a few words where there is no question or no passage."""
        for name in ("question", "context"):
            if not isinstance(record.get(name), str) or not record[name].strip():
                raise InputError(f"its {name} is {'empty' if name in record else 'missing'}")
        texts = ("" if record.get("id") is None else str(record["id"]), record["question"], record["context"])
        known_by, question, context = (without_surrogates(text, "", ReadIssues()) for text in texts)
        return Question(known_by, question, context)

    # --- rows ---

    def rows(
        self, examples: Sequence[Question], frame: SequenceTemplate, labels: Sequence[str], training: bool
    ) -> PackedWindows:
        """A row a window."""
        questions = encoded(frame.tokenizer, (example.question for example in examples))
        passages = encoded(frame.tokenizer, (example.context for example in examples))
        windows, lost = list[Window](), Counter[str]()
        for number, example in enumerate(examples):
            asked, passage = questions[example.question].ids, passages[example.context]
            question = self.cutting.question(asked, frame)
            answer, fault = answer_tokens(example, passage, self._is_same)
            made = self.cutting.windows(number, question, passage, answer, frame)
            if answer is not None and all(window.inside is None for window in made):
                fault = DIVIDED
            lost[CUT] += len(question) < len(asked)
            lost[MOVED] += example.moved > 0
            lost[LONG] += answer is not None and answer[1] - answer[0] >= self.max_answer
            if fault is not None:
                lost[fault] += 1
                made = [] if training else [window._replace(is_known=False) for window in made]
            windows += made
        sentences = told(lost, len(examples), training, self.max_answer)
        return PackedWindows(windows, frame, (*getattr(examples, "warnings", ()), *sentences))

    def _is_same(self, said: str, text: str) -> bool:
        return self.measure(said, [text])[0] == 1

    # --- answers ---

    def decode(
        self, examples: Sequence[Question], rows: PackedWindows, guesses: RawPredictions, labels: Sequence[str]
    ) -> list[Prediction]:
        """`answer`, its `start` in the passage (None where there is none), `score`, `probability`, the `n_best`, and
        with null answers `null_odds`: by how much the score of no answer is above the best one's."""
        contexts = [example.context for example in examples]
        found = best_answers(guesses, rows, contexts, self.n_best, self.max_answer)
        null = null_scores(guesses, rows, len(examples)).tolist()
        return self.decided([self._candidates(*three) for three in zip(examples, found, null, strict=True)])

    def _candidates(self, example: Question, found: Sequence[ScoredSpan], null: float) -> Prediction:
        answer: Prediction = {"id": example.id, "question": example.question, "context": example.context}
        if example.answers is not None:
            answer["labels"] = [text for text, _ in example.answers]
        scores = np.array([one.score for one in found] + [null] * self.null_answers)
        share = np.exp(scores - scores.max(initial=-np.inf))
        probability = (share / share.sum()).round(6).tolist()
        best = [
            {
                "text": example.context[one.start : one.end],
                "start": one.start,
                "score": round(one.score, 4),
                "probability": sure,
                "start_logit": one.start_logit,
                "end_logit": one.end_logit,
            }
            for one, sure in zip(found, probability, strict=False)
        ]
        if self.null_answers:
            best.append({"text": "", "start": None, "score": null, "probability": probability[-1]})
            answer["null_odds"] = round(null - (found[0].score if found else WORST), 4)
        return answer | {"n_best": best}

    def decided(self, answers: Sequence[Prediction]) -> list[Prediction]:
        """Each with its `answer`, by the threshold as it is now"""
        return [self._decided(answer) for answer in answers]

    def _decided(self, answer: Prediction) -> Prediction:
        """The best of the n best; or none, where the null odds are above the threshold"""
        best = answer["n_best"]
        chosen = best[-1] if self.null_answers and answer["null_odds"] > self.null_threshold else (best or [NOTHING])[0]
        told = {"answer": chosen["text"], **{name: chosen[name] for name in ("start", "score", "probability")}}
        rest = {name: value for name, value in answer.items() if name not in told and name != "n_best"}
        return rest | told | {"n_best": best}

    def tuned(self, answers: Sequence[Prediction]) -> list[Prediction]:
        """Answers of the dev split with the threshold that gives them the best F1, which is kept from now on."""
        if not self.is_tuned or not answers or "labels" not in answers[0]:
            return list(answers)
        f1 = [self.measure(answer["n_best"][0]["text"], answer["labels"])[1] for answer in answers]
        has_answer = np.array([bool(answer["labels"]) for answer in answers])
        odds = np.array([answer["null_odds"] for answer in answers])
        self.null_threshold = best_threshold(odds, np.array(f1), has_answer)
        return self.decided(answers)

    def learned(self) -> dict[str, Any]:
        return {THRESHOLD: self.null_threshold} if self.is_tuned else {}

    def restore(self, learned: Mapping[str, Any]) -> None:
        """Raises InputError where the threshold is no number."""
        if self.is_tuned:
            if not isinstance(learned.get(THRESHOLD), int | float):
                raise InputError(f"{THRESHOLD} is no number: what the run learned is damaged")
            self.null_threshold = float(learned[THRESHOLD])

    # --- what they are worth ---

    def scores(self, answers: Sequence[Prediction]) -> "AnswerScores | None":
        """By the script; for Chinese by characters too, and with null answers of those with and without one apart."""
        if not answers or any("labels" not in answer for answer in answers):
            return None
        measures = {"": self.measure} | ({"_characters": characters} if self.script == "cmrc2018" else {})
        values = dict[str, np.ndarray]()
        for suffix, measure in measures.items():
            scores = np.array([measure(answer["answer"], answer["labels"]) for answer in answers])
            values |= {f"exact_match{suffix}": scores[:, 0], f"f1{suffix}": scores[:, 1]}
        if self.null_answers:
            has_answer = np.array([bool(answer["labels"]) for answer in answers])
            values["has_answer_f1"] = np.where(has_answer, values["f1"], np.nan)
            abstained = np.array([not answer["answer"] for answer in answers])
            values["no_answer_accuracy"] = np.where(has_answer, np.nan, abstained)
        return AnswerScores(values)

    def submission(self, split: str, answers: Sequence[Prediction]) -> dict[str, str]:
        """{id: answer}, and the n best and the null odds, as transformers' run_qa writes them."""
        tables: dict[str, dict[str, Any]] = {
            self.handed_in: {answer["id"]: answer["answer"] for answer in answers},
            "n_best.json": {answer["id"]: answer["n_best"] for answer in answers},
        }
        if self.null_answers:
            tables["null_odds.json"] = {answer["id"]: answer["null_odds"] for answer in answers}
        return {f"{split}/{name}": json.dumps(table, ensure_ascii=False) for name, table in tables.items()}


class AnswerScores:
    """Metrics of each answer, (N,), NaN where it has no part in one"""

    def __init__(self, values: Mapping[str, np.ndarray]):
        self.values = {name: each for name, each in values.items() if not np.isnan(each).all()}

    def metrics(self, which: np.ndarray | None = None) -> dict[str, float]:
        chosen = {name: each if which is None else each[which] for name, each in self.values.items()}
        known = {name: each[~np.isnan(each)] for name, each in chosen.items()}
        return {name: float(each.mean()) if len(each) else float("nan") for name, each in known.items()}


def parted(found: Mapping[str, Questions], n_dev: int) -> dict[str, Questions]:
    """The last articles of the training file as dev. Raises InputError where none would be left to learn from."""
    articles = list(dict.fromkeys(example.article for example in found["train"]))
    if len(articles) <= n_dev:
        raise InputError(f"task.dev_articles={n_dev}: the train file has only {len(articles)} articles; give fewer.")
    held_out = set(articles[-n_dev:])
    dev = Questions(example for example in found["train"] if example.article in held_out)
    train = Questions(example for example in found["train"] if example.article not in held_out)
    train.warnings = found["train"].warnings
    return {"train": train, "dev": dev} | {split: some for split, some in found.items() if split == "test"}
