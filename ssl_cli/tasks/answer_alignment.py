"""Alignment of gold answers with tokens of the passage, and warnings about answers that no tokens match."""

from collections import Counter
from collections.abc import Callable

from ssl_cli.data.labelled.squad import Question, Questions
from ssl_cli.errors import InputError
from ssl_cli.tasks.passage_windows import EncodedPassage

# Keys of the counter of problems, and the end of their warnings.
NOT_IN_PASSAGE = "have an answer that isn't in the passage"
INSIDE_TOKEN = "have an answer that begins or ends within a token"
IN_NO_WINDOW = "have an answer that no window contains completely (max_length, task.doc_stride)"
UNLABELLED = "have no published answer"
QUESTION_CUT = "are cut at their end (task.max_question)"
MOVED = "have an answer that was found near its answer_start, not at it"
ANSWER_TOO_LONG = "long"

Tokens = tuple[int, int]  # the answer's first and last token of the passage


def align_answer(
    example: Question, passage: EncodedPassage, is_same: Callable[[str, str], bool]
) -> tuple[Tokens | None, str | None]:
    """Return the tokens of the first gold answer that whole tokens match, and the problem, None if there is none.

    `is_same` says whether the text of the tokens equals the answer by the task's metric.
    """
    if example.answers is None:
        return None, UNLABELLED
    problem = None if example.is_impossible else NOT_IN_PASSAGE
    for text, start in example.answers:
        if start is None:
            continue
        tokens = passage.tokens_of(start, start + len(text))
        if tokens is not None and is_same(passage.text_of(tokens, example.context), text):
            return tokens, None
        problem = INSIDE_TOKEN
    return None, problem


def labelled_questions(examples: Questions, source: str, unfound: str) -> Questions:
    """Return the questions of a split that have published answers, for training or evaluation.

    Raises InputError if a question has none and `unfound` is "refuse", or if no question is left.
    """
    labelled = Questions(example for example in examples if example.answers is not None)
    n_unlabelled = len(examples) - len(labelled)
    if n_unlabelled and unfound == "refuse":
        first = next(example for example in examples if example.answers is None)
        raise InputError(
            f"{source}: the question with id {first.id} has no answers: add them, set task.unfound=leave_out to skip "
            "such questions, or, if its passage contains none, set is_impossible and task.null_answers=true."
        )
    if not labelled:
        raise InputError(f"{source} has no question with an answer: there is nothing to train on or to evaluate.")
    labelled.warnings = (
        *examples.warnings,
        *([f"{n_unlabelled:,} of {len(examples):,} questions {UNLABELLED}: left out."] * bool(n_unlabelled)),
    )
    return labelled


def alignment_warnings(problems: Counter[str], n: int, training: bool, max_answer: int) -> list[str]:
    """Return a sentence for each kind of problem among `n` questions."""
    consequence = "left out of training" if training else "predicted nevertheless"
    unaligned = [
        problem
        for problem in (NOT_IN_PASSAGE, INSIDE_TOKEN, IN_NO_WINDOW, UNLABELLED)
        if problems[problem] and (training or problem != UNLABELLED)
    ]
    warnings = [f"{problems[problem]:,} of {n:,} questions {problem}: {consequence}." for problem in unaligned]
    warnings += [
        f"{problems[problem]:,} of {n:,} questions {problem}." for problem in (QUESTION_CUT, MOVED) if problems[problem]
    ]
    if problems[ANSWER_TOO_LONG]:
        warnings.append(
            f"{problems[ANSWER_TOO_LONG]:,} of {n:,} questions have an answer of more than "
            f"task.max_answer={max_answer} tokens, which is never predicted completely."
        )
    return warnings
