"""Report section of predictions that are a span of a passage."""

from html import escape

import numpy as np

from ssl_cli.commands.finetune import sections
from ssl_cli.commands.finetune.sections import ReportSection, SplitPredictions
from ssl_cli.evaluation.html import CORRECT_STYLE, WRONG_STYLE
from ssl_cli.tasks.task import Prediction

N_EXAMPLES = 5
CONTEXT_CHARS = 160  # characters of the passage before and after an answer
NO_ANSWER = "(no answer)"
EXACT_MATCH = "exact_match"


def span_section(split: SplitPredictions) -> ReportSection:
    """Return a few answers in their passages, calibration by exact match, and the most confident mistakes."""
    predictions, scores = split.predictions, split.scores
    exact_match = next(name for name in scores.metrics() if name.startswith(EXACT_MATCH))
    right = np.array([scores.metrics(np.array([k]))[exact_match] == 1 for k in range(len(predictions))])  # (N,)
    confidence = np.array([each["probability"] for each in predictions])
    shown = np.unique(np.linspace(0, len(right) - 1, min(N_EXAMPLES, len(right))).round().astype(int))
    examples = [_highlighted(predictions[k], bool(right[k])) for k in shown]
    worst = [predictions[k] for k in sections.worst_first(confidence, ~right)]
    rows: list[dict[str, object]] = [
        {
            "id": each["id"],
            "question": each["question"],
            "truth": _truth(each),
            "prediction": each["prediction"],
            "probability": f"{each['probability']:.4f}",
        }
        for each in worst
    ]
    return (
        sections.calibration_section(split, confidence, right)
        + ReportSection(parts=["<h3>Predictions</h3>", *examples])
        + sections.mistakes_section(
            split, "Most confident mistakes", rows, [_highlighted(each, False) for each in worst]
        )
    )


def _truth(prediction: Prediction) -> str:
    return " | ".join(dict.fromkeys(prediction["labels"])) or NO_ANSWER


def _highlighted(prediction: Prediction, is_right: bool) -> str:
    """Return the question and the predicted answer in its passage, on green or red; if it is wrong, also the truth."""
    answer, start, context = prediction["prediction"], prediction["start"], prediction["context"]
    style = CORRECT_STYLE if is_right else WRONG_STYLE
    if not answer or start is None or context[start : start + len(answer)] != answer:
        passage = sections.highlight(answer or NO_ANSWER, style)
    else:
        end = start + len(answer)
        before, after = context[max(0, start - CONTEXT_CHARS) : start], context[end : end + CONTEXT_CHARS]
        ellipses = "…" if start > CONTEXT_CHARS else "", "…" if end + CONTEXT_CHARS < len(context) else ""
        highlighted = sections.highlight(answer, style, f"{prediction['probability']:.0%}")
        passage = ellipses[0] + escape(before) + highlighted + escape(after) + ellipses[1]
    truth = "" if is_right else f" Truth: <b>{escape(_truth(prediction))}</b>"
    question = f"<b>{escape(prediction['question'])}</b> ({prediction['probability']:.0%})"
    return f'<p>{question}<br><span class="fine">{passage}</span>{truth}</p>'
