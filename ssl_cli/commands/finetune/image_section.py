"""Report section of classified images: those with the most confident mistakes."""

from collections.abc import Mapping

import numpy as np

from ssl_cli.commands.finetune import sections
from ssl_cli.commands.finetune.sections import ReportSection, SectionBuilder, SplitPredictions
from ssl_cli.evaluation.html import Figure, Section
from ssl_cli.evaluation.plots import images
from ssl_cli.evaluation.plots.curves import truncate

COLUMNS, MAX_NAME_CHARS = 10, 14
CAPTION = "Above each image its class, and below that the one that was predicted."


def section_of_images(x: Mapping[str, np.ndarray]) -> SectionBuilder:
    """Return what shows the mistakes of a split, given the images (N, C, H, W) uint8 of each."""

    def build(split: SplitPredictions) -> ReportSection:
        confidence = np.array([each["probability"] for each in split.predictions])
        wrong = np.array([each["label"] != each["prediction"] for each in split.predictions])
        worst = sections.worst_first(confidence, wrong)
        if not worst:
            return ReportSection()
        captions = [mistake_caption(split.predictions[k]) for k in worst]
        figure = Figure(f"mistakes-{split.name}.png", CAPTION)
        path, title = split.folder / "figures" / figure.name, f"{split.name}: the most confident mistakes"
        images.contact_sheet(path, title, x[split.name][worst], COLUMNS, captions)
        return ReportSection(blocks=[Section("Images with the most confident mistakes", [figure])])

    return build


def mistake_caption(prediction: Mapping[str, object]) -> str:
    """Return the class of an image, and below it the predicted one."""
    truth, predicted = (truncate(str(prediction[name]), MAX_NAME_CHARS) for name in ("label", "prediction"))
    return f"{truth}\nas {predicted}"
