"""Questions on passages, from JSON of SQuAD or CMRC 2018 (plain or compressed), or from the Hugging Face hub."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_cli.data.io.text import ReadIssues, read_text, replace_surrogates
from ssl_cli.errors import InputError

MAX_OFFSET_CHARS = 32  # how far an answer may be from its answer_start; offsets counted in UTF-16 differ as much
NO_OFFSET = -1  # in CMRC 2018: it is not known where the answer starts
HIDDEN_ANSWER = "FAKE_ANSWER"  # in CLUE's test file, in place of the answers
RawQuestion = Mapping[str, Any]  # a question with its passage, flat, with SQuAD's names
RawQuestions = Iterable[tuple[str, RawQuestion]]  # each with its place in the file


@dataclass(frozen=True)
class Question:
    """A question on a passage (`context`).

    `answers`: each possible text with its first character in the passage (None: it is not there). An empty tuple means
    that the passage has no answer, as in SQuAD 2.0; None means that the answers are not published. `n_moved`: the
    number of answers that were found near their offset, not at it.
    """

    id: str
    question: str
    context: str
    title: str = ""
    answers: tuple[tuple[str, int | None], ...] | None = None
    n_moved: int = 0

    @property
    def is_impossible(self) -> bool:
        """Whether the passage has no answer."""
        return self.answers == ()

    @property
    def article(self) -> str:
        """The title of the article, or the passage if there is no title."""
        return self.title or self.context


class Questions(list[Question]):
    """A list of questions. `warnings`: one message for each kind of thing left out or replaced while reading."""

    warnings: tuple[str, ...] = ()


def read_squad(path: Path, null_answers: bool, require_found: bool) -> Questions:
    """Return the questions of a file, in order.

    `null_answers`: a question may have no answer. `require_found`: each answer must be in its passage. Raises
    InputError, with the question's place and id, if the file is malformed or breaks these rules. A question without a
    word, as CMRC's trial file has two, is left out and counted.
    """
    issues = ReadIssues()
    raw_questions = flatten_questions(path, _read_json(path, issues))
    return _make_questions(raw_questions, str(path), null_answers, require_found, issues)


def questions_from_hub(
    records: Iterable[Mapping[str, Any]], source: str, null_answers: bool, require_found: bool
) -> Questions:
    """Return the questions of the hub's records, whose answers are two lists: `text` and `answer_start`.

    The options and errors are those of `read_squad`.
    """
    return _make_questions(_flatten_records(records, source), source, null_answers, require_found, ReadIssues())


def locate_answer(context: str, text: str, start: int | None) -> int | None:
    """Return where an answer begins in its passage: at `start`, or at most MAX_OFFSET_CHARS from it.

    Without a start (None or NO_OFFSET) the first occurrence counts. Returns None if there is none.
    """
    if start is None or start < 0:
        places = [context.find(text)]
    elif context.startswith(text, start):
        places = [start]
    else:
        low, high = max(0, start - MAX_OFFSET_CHARS), start + MAX_OFFSET_CHARS + len(text)
        places = [context.rfind(text, low, start + len(text)), context.find(text, start, high)]
    return min((place for place in places if place >= 0), key=lambda place: abs(place - (start or 0)), default=None)


# --- files ---


def _read_json(path: Path, issues: ReadIssues) -> Any:
    """Return the content of a JSON file, with unpaired surrogates replaced."""

    def clean(fields: dict[str, Any]) -> dict[str, Any]:
        return {name: _replace_surrogates_in(value, str(path), issues) for name, value in fields.items()}

    text = "".join(read_text(path, issues))
    try:
        return json.loads(text, object_hook=clean)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}, line {error.lineno:,}: it is not JSON ({error.msg}); SQuAD's is one object with data."
        ) from error
    except RecursionError as error:
        raise InputError(f"{path} can't be read: its brackets are nested deeper than those of SQuAD's JSON.") from error
    except ValueError as error:
        raise InputError(f"{path} can't be read: it has a number of too many digits ({error}).") from error


def _replace_surrogates_in(value: Any, place: str, issues: ReadIssues) -> Any:
    """Replace unpaired surrogates in a text or a list of texts."""
    if isinstance(value, list):
        return [replace_surrogates(item, place, issues) if isinstance(item, str) else item for item in value]
    return replace_surrogates(value, place, issues) if isinstance(value, str) else value


def unpack_questions(path: Path, content: Any) -> Iterator[dict[str, Any]] | None:
    """Return the questions of a JSON document as flat records of `id`, `question` and `context`.

    Returns None if the document has no articles with questions in the layout of SQuAD or CMRC 2018. Raises InputError
    if an article is malformed.
    """
    items = content if isinstance(content, list) else []
    if not isinstance(content, dict) and not any(isinstance(item, dict) and "qas" in item for item in items):
        return None
    raw_questions = flatten_questions(path, content)
    return ({name: question[name] for name in ("id", "question", "context")} for _, question in raw_questions)


def flatten_questions(path: Path, content: Any) -> RawQuestions:
    """Yield each question of a JSON document with its passage, as one flat record.

    SQuAD: {data: [{title, paragraphs: [{context, qas: [...]}]}]}; CMRC 2018: [{title, context_text, qas: [...]}].
    Raises InputError if the document has another layout.
    """
    articles = content.get("data") if isinstance(content, dict) else content
    if not isinstance(articles, list):
        raise InputError(f'{path} is not a file of questions: SQuAD\'s JSON is {{"data": [...]}}, a list of articles.')
    for number, article in enumerate(articles, 1):
        place = f"{path}, article {number:,}"
        _check_object(article, place)
        paragraphs = _list_field(article, "paragraphs", place) if "paragraphs" in article else [article]
        for nth, paragraph in enumerate(paragraphs, 1):
            yield from _flatten_paragraph(paragraph, str(article.get("title") or ""), f"{place}, paragraph {nth:,}")


def _flatten_paragraph(paragraph: Any, title: str, place: str) -> RawQuestions:
    _check_object(paragraph, place)
    for nth, question in enumerate(_list_field(paragraph, "qas", place), 1):
        question_place = f"{place}, question {nth:,}"
        _check_object(question, question_place)
        yield (
            question_place,
            {
                **question,
                "id": question.get("id", question.get("query_id")),
                "question": question.get("question", question.get("query_text")),
                "context": paragraph.get("context", paragraph.get("context_text")),
                "title": title,
            },
        )


def _flatten_records(records: Iterable[Mapping[str, Any]], source: str) -> RawQuestions:
    for number, record in enumerate(records, 1):
        columns = record.get("answers") or {"text": [], "answer_start": []}
        pairs = zip(columns["text"], columns["answer_start"], strict=True)
        answers = [{"text": text, "answer_start": start} for text, start in pairs]
        yield f"{source}, row {number:,}", {**record, "answers": answers}


def _list_field(holder: Mapping[str, Any], name: str, place: str) -> list[Any]:
    if not isinstance(holder.get(name), list):
        raise InputError(f"{place}: it has no list called {name}, as SQuAD's JSON does.")
    return holder[name]


def _check_object(value: Any, place: str) -> None:
    if not isinstance(value, dict):
        raise InputError(f"{place}: it is not a JSON object, {{...}}.")


# --- questions ---


def _make_questions(
    raw_questions: RawQuestions, source: str, null_answers: bool, require_found: bool, issues: ReadIssues
) -> Questions:
    """Return the questions. Raises InputError if one is malformed, an id is used twice or there are none."""
    questions: dict[str, Question] = {}
    for place, raw in raw_questions:
        if isinstance(text := raw.get("question"), str) and not text.strip():
            issues.add_skipped(f"{place} (id {raw.get('id')}): its question is empty")
            continue
        question = _make_question(place, raw, null_answers)
        if question.id in questions:
            raise InputError(f"{place}: its id {question.id} is used twice; ids must be unique.")
        if require_found:
            _check_answers_found(question, place)
        questions[question.id] = question
    if not questions:
        raise InputError(" ".join([f"{source} has no questions.", *issues.messages()]))
    kept = Questions(questions.values())
    kept.warnings = tuple(issues.messages())
    return kept


def _make_question(place: str, raw: RawQuestion, null_answers: bool) -> Question:
    if raw.get("id") in (None, ""):
        raise InputError(f"{place}: it has no id.")
    place = f"{place} (id {raw['id']})"
    question, context = (_text_field(raw, name, place) for name in ("question", "context"))
    answers, n_moved = _locate_answers(raw, context, place, null_answers)
    return Question(str(raw["id"]), question, context, str(raw.get("title") or ""), answers, n_moved)


def _text_field(raw: RawQuestion, name: str, place: str) -> str:
    value = raw.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{place}: its {name} is {'empty' if isinstance(value, str) else 'missing or not a text'}.")
    return value


def _locate_answers(
    raw: RawQuestion, context: str, place: str, null_answers: bool
) -> tuple[tuple[tuple[str, int | None], ...] | None, int]:
    """Return the answers with their places in the passage, and how many of them were not exactly at their offset."""
    impossible, listed = raw.get("is_impossible"), raw.get("answers")
    if impossible not in (None, False, True):
        raise InputError(f"{place}: its is_impossible must be true or false, not {str(impossible)[:40]!r}.")
    if impossible and not null_answers:
        raise InputError(f"{place}: it has no answer (is_impossible); set task.null_answers=true, as in task=squad2.")
    if impossible or (null_answers and impossible is None and listed == []):
        return (), 0
    if not listed:
        return None, 0
    if not isinstance(listed, list):
        raise InputError(f"{place}: its answers are not a list.")
    published = [_parse_answer(answer, place) for answer in listed]
    if all(text.startswith(HIDDEN_ANSWER) for text, _ in published):
        return None, 0
    answers = tuple((text, locate_answer(context, text, start)) for text, start in published)
    n_moved = sum(
        start is not None and start >= 0 and at is not None and at != start
        for (_, start), (_, at) in zip(published, answers, strict=True)
    )
    return answers, n_moved


def _parse_answer(answer: Any, place: str) -> tuple[str, int | None]:
    """Return an answer's text and offset. CMRC's own file has texts alone, and some numbers among them."""
    fields = answer if isinstance(answer, dict) else {"text": answer}
    text, start = fields.get("text"), fields.get("answer_start")
    text = str(text) if isinstance(text, int | float) else text
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{place}: one of its answers has no text.")
    if start is not None and (isinstance(start, bool) or not isinstance(start, int)):
        raise InputError(f"{place}: the answer_start of {text[:50]!r} is not an integer.")
    if start is not None and start < NO_OFFSET:
        raise InputError(f"{place}: the answer_start of {text[:50]!r} is {start}: it counts from 0.")
    return text.strip(), start if start is None or start < 0 else start + len(text) - len(text.lstrip())


def _check_answers_found(question: Question, place: str) -> None:
    """Raise InputError if an answer is not in the passage."""
    missing: Iterator[str] = (text for text, at in question.answers or () if at is None)
    if (text := next(missing, None)) is not None:
        raise InputError(
            f"{place} (id {question.id}): its answer {text[:50]!r} isn't in the passage at or near its answer_start; "
            "correct it, or set task.unfound=leave_out to train without such questions."
        )
