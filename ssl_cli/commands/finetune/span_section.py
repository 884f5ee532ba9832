"""Report section of predictions that are a span of a passage."""

import numpy as np

from ssl_cli.commands.finetune import sections
from ssl_cli.commands.finetune.sections import ReportSection, SplitPredictions
from ssl_cli.evaluation.html import Passage, Piece, Section
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
    examples = [_passage(predictions[k], bool(right[k])) for k in shown]
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
        + ReportSection(blocks=[Section("Answers in their passages", examples)])
        + sections.mistakes_section(split, "Most confident mistakes", rows, [_passage(each, False) for each in worst])
    )


def _truth(prediction: Prediction) -> str:
    return " | ".join(dict.fromkeys(prediction["labels"])) or NO_ANSWER


def _passage(prediction: Prediction, is_right: bool) -> Passage:
    """Return the question and the predicted answer in its passage; if it is wrong, also the truth."""
    answer, start, context = prediction["prediction"], prediction["start"], prediction["context"]
    probability = f"{prediction['probability']:.0%}"
    pieces = [Piece(answer or NO_ANSWER, is_right, probability)]
    if answer and start is not None and context[start : start + len(answer)] == answer:
        end = start + len(answer)
        before, after = context[max(0, start - CONTEXT_CHARS) : start], context[end : end + CONTEXT_CHARS]
        ellipses = "…" if start > CONTEXT_CHARS else "", "…" if end + CONTEXT_CHARS < len(context) else ""
        pieces = [Piece(ellipses[0] + before), *pieces, Piece(after + ellipses[1])]
    truth = "" if is_right else f"Truth: {_truth(prediction)}"
    return Passage(pieces, f"{prediction['question']} ({probability})", truth)
