"""Held-out text with the model's answers: hidden tokens guessed, or a passage continued."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_cli.commands.pretrain.batch_view import visible
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.files import write_text
from ssl_cli.methods.scoring import device_of
from ssl_cli.models.generation.decode import generate_tokens
from ssl_cli.models.losses import IGNORED
from ssl_cli.training.seeding import reseed

EXAMPLES = "examples.txt"
SHOWN = 8  # passages
PROMPT = 4  # a prompt is one part in so many of a row
TEMPERATURE = 0.8


@dataclass(frozen=True)
class TextPiece:
    """A piece of text as it stands; or a `guess` with its probability `share`, and the `truth` where there is one."""

    text: str = ""
    guess: str | None = None
    truth: str | None = None
    share: float | None = None

    @property
    def is_right(self) -> bool:
        return self.guess is not None and self.truth in (None, self.guess)

    def __str__(self) -> str:
        if self.guess is None:
            return self.text
        share = "" if self.share is None else f" {self.share:.0%}"
        return f"[{self.guess}{share}]" if self.is_right else f"[{self.guess}{share}, not {self.truth}]"


@dataclass(frozen=True)
class PredictedText:
    parts: list[TextPiece]

    def __str__(self) -> str:
        return "".join(map(str, self.parts))


def write(folder: Path, model: Any, tokenizer: Tokenizer, rows: ArrayDataset, seed: int) -> list[PredictedText]:
    """A few passages of `rows`, into the run's folder too."""
    some = torch.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).round().long()
    batch = rows[0, some, 1.0]
    answer = guesses if hasattr(model, "masked_predictions") else continued
    made = answer(model, tokenizer, batch, seed)
    write_text(folder / EXAMPLES, "\n\n---\n\n".join(map(str, made)) + "\n")
    return made


def guesses(model: Any, tokenizer: Tokenizer, batch: Mapping[str, Tensor], seed: int) -> list[PredictedText]:
    """Each hidden token with the model's first answer."""
    device = device_of(model)
    reseed(seed, 0, 0, device)
    arrays = {name: array.to(device) for name, array in batch.items() if isinstance(array, Tensor)}
    with torch.inference_mode():
        given, logits = model.masked_predictions(arrays)  # (B, n, V)
        share, answer = (array.cpu() for array in logits.float().softmax(2).max(2))  # (B, n)
    given = {name: array.cpu() for name, array in given.items()}
    found = []
    for row in range(len(answer)):
        places = zip(given["positions"][row].tolist(), given["targets"][row].tolist(), strict=True)
        at = {place: (target, n) for n, (place, target) in enumerate(places) if target != IGNORED}
        parts, plain = list[TextPiece](), list[int]()
        for place, token in enumerate(given["inputs"][row].tolist()):
            if place not in at:
                plain += [token] if place else []  # a row begins with [CLS]
                continue
            parts.append(TextPiece(_joined(tokenizer, plain)))
            target, n = at[place]
            said, truth = (visible(tokenizer, int(one)) for one in (answer[row, n], target))
            parts.append(TextPiece(guess=said, truth=truth, share=float(share[row, n])))
            plain = []
        found.append(PredictedText([*parts, TextPiece(_joined(tokenizer, plain))]))
    return found


def _joined(tokenizer: Tokenizer, tokens: list[int]) -> str:
    """Text between two answers, apart from both"""
    text = tokenizer.decode(tokens)
    return f" {text} " if text else " "


def continued(model: Any, tokenizer: Tokenizer, batch: Mapping[str, Tensor], seed: int) -> list[PredictedText]:
    """The start of each row, and how the model goes on, drawn at TEMPERATURE."""
    length = model.row_length // PROMPT
    prompts = [row[:length].tolist() for row in batch["ids"]]
    more, barred = model.row_length - length, tokenizer.unwritten
    drawn = generate_tokens(model, prompts, max_tokens=more, temperature=TEMPERATURE, seed=seed, barred=barred)
    pairs = zip(prompts, drawn, strict=True)
    return [
        PredictedText([TextPiece(tokenizer.decode(prompt)), TextPiece(guess=tokenizer.decode(said))])
        for prompt, said in pairs
    ]
