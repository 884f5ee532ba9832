"""What is told of answers that are a class, or a number, of a text or several."""

import numpy as np

from ssl_cli.commands.finetune import sections
from ssl_cli.commands.finetune.sections import ReportSection, SplitPredictions
from ssl_cli.evaluation.html import Figure, shown
from ssl_cli.evaluation.plots import classification
from ssl_cli.tasks.task import Prediction

NOT_ASKED = {"id", "label", "answer", "probability", "probabilities"}  # all else of an answer is what was asked


def class_section(given: SplitPredictions) -> ReportSection:
    """Figures by class, calibration, and the most confidently wrong answers."""
    truth, said = ([str(answer[name]) for answer in given.answers] for name in ("label", "answer"))
    confidence = np.array([answer["probability"] for answer in given.answers])  # (N,)
    right = np.array(truth) == np.array(said)
    worst = [
        {**_asked(given.answers[k]), "truth": truth[k], "answer": said[k], "probability": f"{confidence[k]:.4f}"}
        for k in sections.worst_first(confidence, ~right)
    ]
    return (
        sections.classes(given, truth, said)
        + sections.calibration(given, confidence, right)
        + sections.mistakes(given, "Most confidently wrong", worst)
    )


def number_section(given: SplitPredictions) -> ReportSection:
    """Answers against the truth, and the largest errors."""
    truth, said = (np.array([float(answer[name]) for answer in given.answers]) for name in ("label", "answer"))
    figure = Figure(f"scatter-{given.split}.png", "Answers against the truth.")
    classification.scatter(given.folder / "figures" / figure.name, f"{given.split}: answers", truth, said)
    error = said - truth
    worst = [
        {**_asked(given.answers[k]), "truth": f"{truth[k]:g}", "answer": f"{said[k]:.4g}", "error": f"{error[k]:+.4g}"}
        for k in sections.worst_first(np.abs(error), error != 0)
    ]
    return ReportSection(parts=[shown(figure)]) + sections.mistakes(given, "Largest errors", worst)


def _asked(answer: Prediction) -> dict[str, object]:
    return {"id": answer["id"]} | {name: value for name, value in answer.items() if name not in NOT_ASKED}
