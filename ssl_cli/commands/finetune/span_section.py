"""What is told of answers that are a piece of a passage."""

from html import escape

import numpy as np

from ssl_cli.commands.finetune import sections
from ssl_cli.commands.finetune.sections import ReportSection, SplitPredictions
from ssl_cli.evaluation.html import RIGHT, WRONG
from ssl_cli.tasks.task import Prediction

EXAMPLES = 5
AROUND = 160  # characters of the passage before and after an answer
NO_ANSWER = "(no answer)"
EXACT = "exact_match"


def span_section(given: SplitPredictions) -> ReportSection:
    """A few answers in their passages, calibration against exact match, and the most confidently wrong answers."""
    exact = next(name for name in given.tally.metrics() if name.startswith(EXACT))
    right = np.array([given.tally.metrics(np.array([k]))[exact] == 1 for k in range(len(given.answers))])  # (N,)
    confidence = np.array([answer["probability"] for answer in given.answers])
    some = np.unique(np.linspace(0, len(right) - 1, min(EXAMPLES, len(right))).round().astype(int))
    examples = [_highlighted(given.answers[k], bool(right[k])) for k in some]
    worst = [given.answers[k] for k in sections.worst_first(confidence, ~right)]
    rows: list[dict[str, object]] = [
        {
            "id": answer["id"],
            "question": answer["question"],
            "truth": _truth(answer),
            "answer": answer["answer"],
            "probability": f"{answer['probability']:.4f}",
        }
        for answer in worst
    ]
    cells = [_highlighted(answer, False) for answer in worst]
    return (
        sections.calibration(given, confidence, right)
        + ReportSection(parts=["<h3>Answers</h3>", *examples])
        + sections.mistakes(given, "Most confidently wrong", rows, cells)
    )


def _truth(answer: Prediction) -> str:
    return " | ".join(dict.fromkeys(answer["labels"])) or NO_ANSWER


def _highlighted(answer: Prediction, is_right: bool) -> str:
    """The question; the answer where it stands in its passage, on green or red; the truth where it is another"""
    said, start, context = answer["answer"], answer["start"], answer["context"]
    if not said or start is None or context[start : start + len(said)] != said:
        passage = sections.marked(said or NO_ANSWER, RIGHT if is_right else WRONG)
    else:
        end = start + len(said)
        before, after = context[max(0, start - AROUND) : start], context[end : end + AROUND]
        ends = "…" if start > AROUND else "", "…" if end + AROUND < len(context) else ""
        highlighted = sections.marked(said, RIGHT if is_right else WRONG, f"{answer['probability']:.0%}")
        passage = ends[0] + escape(before) + highlighted + escape(after) + ends[1]
    truth = "" if is_right else f" Truth: <b>{escape(_truth(answer))}</b>"
    asked = f"<b>{escape(answer['question'])}</b> ({answer['probability']:.0%})"
    return f'<p>{asked}<br><span class="fine">{passage}</span>{truth}</p>'
