"""Questions on passages, in SQuAD's JSON or CMRC 2018's, plain or compressed, or as the hub has them."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssl_cli.data.io.text import ReadIssues, pieces, without_surrogates
from ssl_cli.errors import InputError

NEAR = 32  # characters by which an answer may stand beside its answer_start: offsets counted in UTF-16 are as wrong
NO_PLACE = -1  # as CMRC 2018 has it: where an answer starts isn't known
HIDDEN = "FAKE_ANSWER"  # what CLUE's test file has in place of answers
Entry = Mapping[str, Any]  # a question with its passage, flat, named as in SQuAD
Entries = Iterable[tuple[str, Entry]]  # and where it stands


@dataclass(frozen=True)
class Question:
    """`answers`: each possible text, and its first character in the passage (None: it isn't there). No answers: there
    is none in the passage, as in SQuAD 2.0; None: they aren't published. `moved`: answers that stood near their place.
    """

    id: str
    question: str
    context: str
    title: str = ""
    answers: tuple[tuple[str, int | None], ...] | None = None
    moved: int = 0

    @property
    def is_impossible(self) -> bool:
        return self.answers == ()

    @property
    def article(self) -> str:
        return self.title or self.context


class Questions(list[Question]):
    """`lost`: what was left out or replaced while they were read, a sentence each."""

    warnings: tuple[str, ...] = ()


def read_squad(path: Path, null_answers: bool, refuse_unfound: bool) -> Questions:
    """The questions of a file, in its order. Raises InputError, which names the question, for what is amiss.

    `null_answers`: a question may have none. `refuse_unfound`: an answer that isn't in its passage is an error.
    """
    faults = ReadIssues()
    found = _questions(asked_in(path, _content(path, faults)), str(path), null_answers, refuse_unfound)
    found.warnings = tuple(faults.sentences())
    return found


def questions_of_hub(
    records: Iterable[Mapping[str, Any]], source: str, null_answers: bool, refuse_unfound: bool
) -> Questions:
    """The same from the hub's records, where answers are two lists: `text` and `answer_start`."""
    return _questions(_of_hub(records, source), source, null_answers, refuse_unfound)


def located(context: str, text: str, start: int | None) -> int | None:
    """Where an answer stands: where it is said to, or at most NEAR characters from there, or, where nothing is said
    (NO_PLACE), where its text first comes. None: nowhere."""
    if start is None or start < 0:
        found = [context.find(text)]
    elif context.startswith(text, start):
        found = [start]
    else:
        low, high = max(0, start - NEAR), start + NEAR + len(text)
        found = [context.rfind(text, low, start + len(text)), context.find(text, start, high)]
    return min((place for place in found if place >= 0), key=lambda place: abs(place - (start or 0)), default=None)


# --- files ---


def _content(path: Path, faults: ReadIssues) -> Any:
    def written(found: dict[str, Any]) -> dict[str, Any]:
        return {name: _written(value, str(path), faults) for name, value in found.items()}

    text = "".join(pieces(path, faults))
    try:
        return json.loads(text, object_hook=written)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}, line {error.lineno:,}: it is no JSON ({error.msg}); SQuAD's is one object with data."
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets within brackets
        raise InputError(f"{path} can't be read: {str(error).rstrip('.')}.") from error


def _written(value: Any, place: str, faults: ReadIssues) -> Any:
    """The same without halves of characters, where it is a text or a list of such"""
    if isinstance(value, list):
        return [without_surrogates(one, place, faults) if isinstance(one, str) else one for one in value]
    return without_surrogates(value, place, faults) if isinstance(value, str) else value


def unpack_questions(path: Path, content: Any) -> Iterator[dict[str, Any]] | None:
    """Return the questions of a JSON document as flat records of `id`, `question` and `context`; None where it has no
    articles with questions, as SQuAD and CMRC 2018 have them. Raises InputError where an article is damaged."""
    listed = content if isinstance(content, list) else []
    if not isinstance(content, dict) and not any(isinstance(item, dict) and "qas" in item for item in listed):
        return None
    asked = asked_in(path, content)
    return ({name: question[name] for name in ("id", "question", "context")} for _, question in asked)


def asked_in(path: Path, content: Any) -> Entries:
    """Each question with its passage, flat.

    SQuAD: {data: [{title, paragraphs: [{context, qas: [...]}]}]}; CMRC 2018: [{title, context_text, qas: [...]}]
    """
    articles = content.get("data") if isinstance(content, dict) else content
    if not isinstance(articles, list):
        raise InputError(f'{path} is no file of questions: SQuAD\'s JSON is {{"data": [...]}}, of articles.')
    for number, article in enumerate(articles, 1):
        place = f"{path}, article {number:,}"
        _refuse_other(article, dict, place)
        paragraphs = _listed(article, "paragraphs", place) if "paragraphs" in article else [article]
        for nth, paragraph in enumerate(paragraphs, 1):
            yield from _of_paragraph(paragraph, str(article.get("title") or ""), f"{place}, paragraph {nth:,}")


def _of_paragraph(paragraph: Any, title: str, place: str) -> Entries:
    _refuse_other(paragraph, dict, place)
    for nth, asked in enumerate(_listed(paragraph, "qas", place), 1):
        here = f"{place}, question {nth:,}"
        _refuse_other(asked, dict, here)
        yield (
            here,
            {
                **asked,
                "id": asked.get("id", asked.get("query_id")),
                "question": asked.get("question", asked.get("query_text")),
                "context": paragraph.get("context", paragraph.get("context_text")),
                "title": title,
            },
        )


def _of_hub(records: Iterable[Mapping[str, Any]], source: str) -> Entries:
    for number, record in enumerate(records, 1):
        listed = record.get("answers") or {"text": [], "answer_start": []}
        pairs = zip(listed["text"], listed["answer_start"], strict=True)
        answers = [{"text": text, "answer_start": start} for text, start in pairs]
        yield f"{source}, row {number:,}", {**record, "answers": answers}


def _listed(holder: Mapping[str, Any], name: str, place: str) -> list[Any]:
    if not isinstance(holder.get(name), list):
        raise InputError(f"{place}: it has no list called {name}, as SQuAD's JSON does.")
    return holder[name]


def _refuse_other(value: Any, kind: type, place: str) -> None:
    if not isinstance(value, kind):
        raise InputError(f"{place}: it is no JSON object, {{...}}.")


# --- questions ---


def _questions(entries: Entries, source: str, null_answers: bool, refuse_unfound: bool) -> Questions:
    made: dict[str, Question] = {}
    for place, entry in entries:
        question = _question(place, entry, null_answers)
        if question.id in made:
            raise InputError(f"{place}: its id {question.id} comes twice; answers are told apart by it.")
        if refuse_unfound:
            _refuse_unfound(question, place)
        made[question.id] = question
    if not made:
        raise InputError(f"{source} holds no questions.")
    return Questions(made.values())


def _question(place: str, entry: Entry, null_answers: bool) -> Question:
    if entry.get("id") in (None, ""):
        raise InputError(f"{place}: it has no id.")
    place = f"{place} (id {entry['id']})"
    question, context = (_text(entry, name, place) for name in ("question", "context"))
    answers, moved = _answers(entry, context, place, null_answers)
    return Question(str(entry["id"]), question, context, str(entry.get("title") or ""), answers, moved)


def _text(entry: Entry, name: str, place: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{place}: its {name} is {'empty' if isinstance(value, str) else 'no text, or missing'}.")
    return value


def _answers(
    entry: Entry, context: str, place: str, null_answers: bool
) -> tuple[tuple[tuple[str, int | None], ...] | None, int]:
    """And how many of them did not stand exactly where they are said to."""
    impossible, listed = entry.get("is_impossible"), entry.get("answers")
    if impossible and not null_answers:
        raise InputError(f"{place}: it has no answer (is_impossible); say task.null_answers=true, as task=squad2 does.")
    if impossible or (null_answers and impossible is None and listed == []):
        return (), 0
    if not listed:
        return None, 0
    if not isinstance(listed, list):
        raise InputError(f"{place}: its answers are no list.")
    said = [_said(answer, place) for answer in listed]
    if all(text.startswith(HIDDEN) for text, _ in said):
        return None, 0
    found = tuple((text, located(context, text, start)) for text, start in said)
    moved = sum(
        start is not None and start >= 0 and at is not None and at != start
        for (_, start), (_, at) in zip(said, found, strict=True)
    )
    return found, moved


def _said(answer: Any, place: str) -> tuple[str, int | None]:
    """CMRC's own file gives texts alone, and writes some that are numbers as such."""
    fields = answer if isinstance(answer, dict) else {"text": answer}
    text, start = fields.get("text"), fields.get("answer_start")
    text = str(text) if isinstance(text, int | float) else text
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{place}: an answer of it has no text.")
    if start is not None and not isinstance(start, int):
        raise InputError(f"{place}: the answer_start of {text[:50]!r} is no whole number.")
    if start is not None and start < NO_PLACE:
        raise InputError(f"{place}: the answer_start of {text[:50]!r} is {start}: it counts from 0.")
    return text.strip(), start if start is None or start < 0 else start + len(text) - len(text.lstrip())


def _refuse_unfound(question: Question, place: str) -> None:
    lost: Iterator[str] = (text for text, at in question.answers or () if at is None)
    if (text := next(lost, None)) is not None:
        raise InputError(
            f"{place} (id {question.id}): its answer {text[:50]!r} isn't in the passage at its answer_start, nor near; "
            "mend it, or say task.unfound=leave_out to learn without such questions."
        )
