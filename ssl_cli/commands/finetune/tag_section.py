"""What is told of answers that are a tag for each word."""

from html import escape

import numpy as np

from ssl_cli.commands.finetune import sections
from ssl_cli.commands.finetune.sections import ReportSection, SplitPredictions
from ssl_cli.data.labelled.word_pieces import spelled
from ssl_cli.evaluation.html import RIGHT, WRONG
from ssl_cli.evaluation.metrics.confusion import ByClass
from ssl_cli.tasks.task import Prediction

OUTSIDE = "O"


def tag_section(given: SplitPredictions) -> ReportSection:
    """Figures by type of entity or by tag, calibration of the tags, and the sentences with the worst words."""
    places = [(k, word) for k, answer in enumerate(given.answers) for word in range(len(answer["words"]))]
    truth, said = ([given.answers[k][name][word] for k, word in places] for name in ("labels", "answers"))
    right = np.array(truth) == np.array(said)  # (W,)
    confidence = np.array([given.answers[k]["probabilities"][word] for k, word in places])
    types = _types(given, {*truth, *said})
    return (
        types
        + sections.classes(given, truth, said, "tags" if types.parts else "classes")
        + sections.calibration(given, confidence, right)
        + _mistakes(given, [places[k] for k in sections.worst_first(confidence, ~right)])
    )


def _types(given: SplitPredictions, tags: set[str]) -> ReportSection:
    """Entities by their type, where there are such besides the tags"""
    by_type = given.tally.by_type() if hasattr(given.tally, "by_type") else {}
    if by_type.keys() <= tags:
        return ReportSection()
    columns = (np.array(column) for column in zip(*by_type.values(), strict=True))
    return ReportSection(
        parts=["<h3>By type</h3>", sections.by_name(given, "classes", list(by_type), ByClass(*columns))]
    )


def _mistakes(given: SplitPredictions, places: list[tuple[int, int]]) -> ReportSection:
    """`places` are words, the worst first: their sentence and their place in it."""
    rows = [_row(given.answers[k], word) for k, word in places]
    sentences = dict.fromkeys(k for k, _ in places)
    title = "Sentences with the most confidently wrong words"
    return sections.mistakes(given, title, rows, [_coloured(given.answers[k]) for k in sentences])


def _row(answer: Prediction, word: int) -> dict[str, object]:
    return {
        "id": answer["id"],
        "place": word + 1,
        "word": answer["words"][word],
        "truth": answer["labels"][word],
        "answer": answer["answers"][word],
        "probability": f"{answer['probabilities'][word]:.4f}",
        "sentence": "".join(spelled(answer["words"])).strip(),
    }


def _coloured(answer: Prediction) -> str:
    """A sentence: tags on green where they are right, on red with the truth beside them where they are not"""
    text = ""
    for word, truth, said in zip(spelled(answer["words"]), answer["labels"], answer["answers"], strict=True):
        text += " " * word.startswith(" ")
        if truth == said:
            text += sections.marked(word.strip(), RIGHT, said) if said != OUTSIDE else escape(word.strip())
        else:
            text += f"{sections.marked(word.strip(), WRONG)} <sub>{escape(said)}, not {escape(truth)}</sub> "
    return f"<p>{text}</p>"
