"""Which tokens an answer is, and what is told of answers that no tokens are."""

from collections import Counter
from collections.abc import Callable

from ssl_cli.data.labelled.squad import Question, Questions
from ssl_cli.errors import InputError
from ssl_cli.tasks.passage_windows import EncodedPassage

ABSENT = "have an answer that isn't in the passage"
WITHIN = "have an answer that begins or ends within a token"
DIVIDED = "have an answer that no window holds whole (max_length, task.doc_stride)"
UNKNOWN = "have no published answer"
CUT = "are cut at their end (task.max_question)"
MOVED = "have an answer beside its answer_start, where it was found"
LONG = "long"

Tokens = tuple[int, int]  # of the passage: the answer's first and last


def answer_tokens(
    example: Question, passage: EncodedPassage, is_same: Callable[[str, str], bool]
) -> tuple[Tokens | None, str | None]:
    """The tokens of the first answer that has such; and what is amiss, None where nothing is.

    `is_same`: whether what the tokens say is the answer, by the measure of the task.
    """
    if example.answers is None:
        return None, UNKNOWN
    fault = None if example.is_impossible else ABSENT
    for text, start in example.answers:
        if start is None:
            continue
        tokens = passage.tokens_of(start, start + len(text))
        if tokens is not None and is_same(passage.said_by(tokens, example.context), text):
            return tokens, None
        fault = WITHIN
    return None, fault


def with_answers(examples: Questions, source: str, unfound: str) -> Questions:
    """Those of a split that is learned from or measured. Raises InputError where a question has no published answers,
    or with `unfound` as leave_out none has any."""
    known = Questions(example for example in examples if example.answers is not None)
    n_lost = len(examples) - len(known)
    if n_lost and unfound == "refuse":
        first = next(example for example in examples if example.answers is None)
        raise InputError(
            f"{source}: the question of id {first.id} has no answers: add them, say task.unfound=leave_out to do "
            "without such questions, or, where its passage holds none, is_impossible and task.null_answers=true."
        )
    if not known:
        raise InputError(f"{source} has no question with an answer: there is nothing to learn, or to measure by.")
    known.warnings = (
        *examples.warnings,
        *([f"{n_lost:,} of {len(examples):,} questions {UNKNOWN}: left out."] * bool(n_lost)),
    )
    return known


def told(lost: Counter[str], n: int, learning: bool, max_answer: int) -> list[str]:
    """A sentence for each kind of loss among so many questions."""
    consequence = "left out of training" if learning else "asked all the same"
    faults = [fault for fault in (ABSENT, WITHIN, DIVIDED, UNKNOWN) if lost[fault] and (learning or fault != UNKNOWN)]
    sentences = [f"{lost[fault]:,} of {n:,} questions {fault}: {consequence}." for fault in faults]
    sentences += [f"{lost[what]:,} of {n:,} questions {what}." for what in (CUT, MOVED) if lost[what]]
    if lost[LONG]:
        sentences.append(
            f"{lost[LONG]:,} of {n:,} questions have an answer of more than task.max_answer={max_answer} tokens, which "
            "is never given whole."
        )
    return sentences
