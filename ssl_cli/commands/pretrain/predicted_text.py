"""Predicted texts: passages in pieces, some of them a model's predictions."""

from dataclasses import dataclass

BREAKS = str.maketrans({"\n": "⏎", "\r": "⏎", "\t": "→"})


@dataclass(frozen=True)
class TextPiece:
    """Either a piece of text, or a prediction with its probability, and with its target if there is one."""

    text: str = ""
    prediction: str | None = None
    target: str | None = None
    probability: float | None = None

    @property
    def is_correct(self) -> bool:
        """Whether the prediction is the target, or has none."""
        return self.prediction is not None and self.target in (None, self.prediction)

    def __str__(self) -> str:
        if self.prediction is None:
            return self.text
        percent = "" if self.probability is None else f" {self.probability:.0%}"
        wrong = "" if self.is_correct else f", not {self.target}"
        return f"[{self.prediction}{percent}{wrong}]"


@dataclass(frozen=True)
class PredictedText:
    """A passage of text in pieces, some of them predicted."""

    pieces: list[TextPiece]

    def __str__(self) -> str:
        return "".join(map(str, self.pieces))


def visible_breaks(text: str) -> str:
    """Return a text on one line, with signs in place of line breaks and tabs."""
    return text.translate(BREAKS)
