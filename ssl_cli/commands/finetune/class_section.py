"""Report sections of predictions that are a class, a number, or one of several options."""

import numpy as np

from ssl_cli.commands.finetune import sections
from ssl_cli.commands.finetune.sections import ReportSection, SplitPredictions
from ssl_cli.evaluation.html import Figure
from ssl_cli.evaluation.plots import classification
from ssl_cli.tasks.task import Prediction

# The other fields of a prediction are those of its example.
OUTPUT_FIELDS = {"id", "label", "prediction", "probability", "probabilities"}


def class_section(split: SplitPredictions) -> ReportSection:
    """Return per-class metrics, calibration, and the most confident mistakes."""
    truth, predicted = ([str(each[name]) for each in split.predictions] for name in ("label", "prediction"))
    confidence = np.array([each["probability"] for each in split.predictions])  # (N,)
    right = np.array(truth) == np.array(predicted)
    worst = [
        {
            **_example_fields(split.predictions[k]),
            "truth": truth[k],
            "prediction": predicted[k],
            "probability": f"{confidence[k]:.4f}",
        }
        for k in sections.worst_first(confidence, ~right)
    ]
    return (
        sections.confusion_section(split, truth, predicted)
        + sections.calibration_section(split, confidence, right)
        + sections.mistakes_section(split, "Most confident mistakes", worst)
    )


def regression_section(split: SplitPredictions) -> ReportSection:
    """Return a scatter plot of predictions against the truth, and the largest errors."""
    truth, predicted = (np.array([float(each[name]) for each in split.predictions]) for name in ("label", "prediction"))
    figure = Figure(f"scatter-{split.name}.png", "Predictions against the truth.")
    classification.scatter(split.folder / "figures" / figure.name, f"{split.name}: predictions", truth, predicted)
    error = predicted - truth
    worst = [
        {
            **_example_fields(split.predictions[k]),
            "truth": f"{truth[k]:g}",
            "prediction": f"{predicted[k]:.4g}",
            "error": f"{error[k]:+.4g}",
        }
        for k in sections.worst_first(np.abs(error), error != 0)
    ]
    return ReportSection(blocks=[figure]) + sections.mistakes_section(split, "Largest errors", worst)


def _example_fields(prediction: Prediction) -> dict[str, object]:
    fields = {name: value for name, value in prediction.items() if name not in OUTPUT_FIELDS}
    return {"id": prediction["id"]} | fields
