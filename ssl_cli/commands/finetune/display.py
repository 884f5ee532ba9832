"""Predictions on the terminal: tables of class probabilities, tagged words, answers highlighted in their passage.

Everything in colour also has plain signs: `[Jim Henson](PER)`, `Birds/NOUN`, `**the answer**`.
"""

from collections.abc import Iterator, Sequence

from ssl_cli import console
from ssl_cli.data.labelled.word_pieces import add_spaces
from ssl_cli.printable import Part, Styled
from ssl_cli.tasks.task import Prediction

MAX_CLASSES = 5  # most probable classes in a table
STYLES = ("bold green", "bold cyan", "bold magenta", "bold yellow", "bold blue", "bold red")
ANSWER_STYLE = "bold black on green"


def rendered(prediction: Prediction, labels: Sequence[str]) -> Iterator[Part]:
    """Yield the parts of a prediction to print. The colour of a tag depends on its index among the labels."""
    if "words" in prediction:
        yield _entities(prediction, labels) if "entities" in prediction else _tags(prediction, labels)
    elif "context" in prediction:
        yield from _answer(prediction)
    elif "source" in prediction:
        yield prediction["prediction"]
    else:
        yield _class_table(prediction)


def _class_table(prediction: Prediction) -> Part:
    """Return a table of the most probable classes or options of a text, or of its number."""
    title = " | ".join(prediction[name] for name in ("text", "pair") if name in prediction)
    if "probabilities" not in prediction:
        return console.table(title, ["prediction"], [[f"{prediction['prediction']:.4g}"]])
    probabilities, options = prediction["probabilities"], prediction.get("options")
    pairs = list(zip(options, probabilities, strict=True)) if options else list(probabilities.items())
    top = sorted(pairs, key=lambda pair: -pair[1])[:MAX_CLASSES]
    rows = [[name, f"{probability:.1%}"] for name, probability in top]
    return console.table(title, ["prediction", "probability"], rows, right={"probability"})


def _entities(prediction: Prediction, labels: Sequence[str]) -> Styled:
    """Return a sentence such as [Jim Henson](PER) was a puppeteer."""
    texts, out, end = add_spaces(prediction["words"]), Styled(), 0
    types = sorted({label[2:] for label in labels if label[1:2] == "-"})
    for entity in prediction["entities"]:
        first, last, type = entity["first"], entity["last"], entity["type"]
        name = "".join(texts[first : last + 1])
        space = name[: len(name) - len(name.lstrip())]
        out.append("".join(texts[end:first]) + space)
        out.append(f"[{name.lstrip()}]({type})", _style(type, types))
        end = last + 1
    return out.append("".join(texts[end:]))


def _tags(prediction: Prediction, labels: Sequence[str]) -> Styled:
    """Return a sentence such as Birds/NOUN fly/VERB."""
    out = Styled()
    for k, (word, tag) in enumerate(zip(prediction["words"], prediction["predictions"], strict=True)):
        out.append(" " * bool(k) + word)
        out.append(f"/{tag}", _style(tag, labels))
    return out


def _style(name: str, names: Sequence[str]) -> str:
    return STYLES[names.index(name) % len(STYLES)] if name in names else STYLES[0]


def _answer(prediction: Prediction) -> Iterator[Part]:
    """Yield the answer to a question, then the passage."""
    passage, start, answer = prediction["context"], prediction["start"], prediction["prediction"]
    row = [answer or "no answer in this passage", f"{prediction['probability']:.1%}"]
    yield console.table(prediction["question"], ["prediction", "probability"], [row], right={"probability"})
    if not answer:
        yield passage
        return
    end = start + len(answer)
    text = Styled().append(passage[:start]).append(f"**{answer}**", ANSWER_STYLE)
    yield text.append(passage[end:])
