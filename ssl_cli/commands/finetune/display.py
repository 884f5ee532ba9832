"""Answers for people: a table of classes, words with their tags, a passage in which the answer stands out.

What a terminal shows in colour is marked by signs too: `[Jim Henson](PER)`, `Birds/NOUN`, `**the answer**`.
"""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from ssl_cli import console
from ssl_cli.data.labelled.word_pieces import spelled
from ssl_cli.tasks.task import Prediction

MOST = 5  # classes of a table, the likeliest
STYLES = ("bold green", "bold cyan", "bold magenta", "bold yellow", "bold blue", "bold red")
CHOSEN = "bold black on green"


def told(answer: Prediction, labels: Sequence[str]) -> Iterator[RenderableType]:
    """What is said of an answer, a part at a time; a tag's colour follows from its place among the labels."""
    if "words" in answer:
        yield _entities(answer, labels) if "entities" in answer else _tags(answer, labels)
    elif "context" in answer:
        yield from _found(answer)
    else:
        yield from _judged(answer)


def _judged(answer: Prediction) -> Iterator[RenderableType]:
    """A text's classes, its number, or which of its options fits"""
    title = " | ".join(answer[name] for name in ("text", "pair") if name in answer)
    if "probabilities" not in answer:
        yield console.table(title, ["answer"], [[f"{answer['answer']:.4g}"]])
        return
    given, names = answer["probabilities"], answer.get("options")
    shares = list(zip(names, given, strict=True)) if names else list(given.items())
    likeliest = sorted(shares, key=lambda pair: -pair[1])[:MOST]
    rows = [[name, f"{share:.1%}"] for name, share in likeliest]
    yield console.table(title, ["answer", "probability"], rows, right={"probability"})


def _entities(answer: Prediction, labels: Sequence[str]) -> Text:
    """[Jim Henson](PER) was a puppeteer"""
    texts, out, place = spelled(answer["words"]), Text(), 0
    kinds = sorted({label[2:] for label in labels if label[1:2] == "-"})
    for entity in answer["entities"]:
        first, last = entity["first"], entity["last"]
        within = "".join(texts[first : last + 1])
        blank = within[: len(within) - len(within.lstrip())]
        out.append(console.harmless("".join(texts[place:first]) + blank))
        out.append(f"[{console.harmless(within.lstrip())}]({entity['type']})", _style(entity["type"], kinds))
        place = last + 1
    return out.append(console.harmless("".join(texts[place:])))


def _tags(answer: Prediction, labels: Sequence[str]) -> Text:
    """Birds/NOUN fly/VERB"""
    out = Text()
    for number, (word, tag) in enumerate(zip(answer["words"], answer["answers"], strict=True)):
        out.append(" " * bool(number) + console.harmless(word))
        out.append(f"/{tag}", _style(tag, labels))
    return out


def _style(kind: str, kinds: Sequence[str]) -> str:
    return STYLES[kinds.index(kind) % len(STYLES)] if kind in kinds else STYLES[0]


def _found(answer: Prediction) -> Iterator[RenderableType]:
    """The answer to a question, then the passage"""
    passage, start, found = answer["context"], answer["start"], answer["answer"]
    shown = found if found else "no answer in this passage"
    yield console.table(
        answer["question"], ["answer", "probability"], [[shown, f"{answer['probability']:.1%}"]], right={"probability"}
    )
    if not found:
        yield console.harmless(passage)
        return
    end = start + len(found)
    marked = Text(console.harmless(passage[:start])).append(f"**{console.harmless(found)}**", CHOSEN)
    yield marked.append(console.harmless(passage[end:]))
