"""Report section of predictions that are a tag for each word."""

import numpy as np

from ssl_cli.commands.finetune import sections
from ssl_cli.commands.finetune.sections import ReportSection, SplitPredictions
from ssl_cli.data.labelled.word_pieces import add_spaces
from ssl_cli.evaluation.html import Passage, Piece, Section
from ssl_cli.evaluation.metrics.confusion import PerClassMetrics
from ssl_cli.tasks.task import Prediction, ScoresByType

OUTSIDE = "O"


def tag_section(split: SplitPredictions) -> ReportSection:
    """Return metrics by entity type or by tag, calibration of the tags, and the sentences with the worst words."""
    words = [(k, word) for k, each in enumerate(split.predictions) for word in range(len(each["words"]))]
    truth, predicted = ([split.predictions[k][name][word] for k, word in words] for name in ("labels", "predictions"))
    right = np.array(truth) == np.array(predicted)  # (W,)
    confidence = np.array([split.predictions[k]["probabilities"][word] for k, word in words])
    types = _type_section(split, {*truth, *predicted})
    return (
        types
        + sections.confusion_section(split, truth, predicted, "tags" if types.blocks else "classes")
        + sections.calibration_section(split, confidence, right)
        + _mistakes_section(split, [words[k] for k in sections.worst_first(confidence, ~right)])
    )


def _type_section(split: SplitPredictions, tags: set[str]) -> ReportSection:
    """Return metrics by entity type; nothing if the types are the tags."""
    by_type = split.scores.by_type() if isinstance(split.scores, ScoresByType) else {}
    if by_type.keys() <= tags:
        return ReportSection()
    columns = (np.array(column) for column in zip(*by_type.values(), strict=True))
    per_type = sections.class_table(split, "classes", list(by_type), PerClassMetrics(*columns))
    return ReportSection(blocks=[Section("By type", [sections.UNDEFINED, per_type])])


def _mistakes_section(split: SplitPredictions, words: list[tuple[int, int]]) -> ReportSection:
    """Return the section of these words, worst first: (sentence, index of the word in it)."""
    rows = [_row(split.predictions[k], word) for k, word in words]
    passages = [_passage(split.predictions[k]) for k in dict.fromkeys(k for k, _ in words)]
    return sections.mistakes_section(split, "Sentences with the most confident mistakes", rows, passages)


def _row(prediction: Prediction, word: int) -> dict[str, object]:
    return {
        "id": prediction["id"],
        "place": word + 1,
        "word": prediction["words"][word],
        "truth": prediction["labels"][word],
        "prediction": prediction["predictions"][word],
        "probability": f"{prediction['probabilities'][word]:.4f}",
        "sentence": "".join(add_spaces(prediction["words"])).strip(),
    }


def _passage(prediction: Prediction) -> Passage:
    """Return a sentence with its tags: right ones in green, wrong ones in red with the truth beside them."""
    words, labels, predicted = add_spaces(prediction["words"]), prediction["labels"], prediction["predictions"]
    pieces = list[Piece]()
    for word, truth, tag in zip(words, labels, predicted, strict=True):
        pieces += [Piece(" ")] * word.startswith(" ")
        if truth != tag:
            pieces.append(Piece(word.strip(), False, note=f"{tag}, not {truth}"))
        else:
            pieces.append(Piece(word.strip(), None if tag == OUTSIDE else True, hint=tag))
    return Passage(pieces)
