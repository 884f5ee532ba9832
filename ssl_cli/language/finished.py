"""A finished run of ssl pretrain: `ssl_cli.load("latest").fill("Birds can [MASK].")`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_type_hints

import torch
from torch import Tensor

from ssl_cli.annotations import expected, fits
from ssl_cli.bounds import Count
from ssl_cli.data.tokenizer import Tokenizer
from ssl_cli.errors import InputError
from ssl_cli.language.generation import Wish, written
from ssl_cli.language.packed import Packed, Precision
from ssl_cli.language.sampling import Sampling
from ssl_cli.language.writing import Spelling, Writer
from ssl_cli.loading import Finished
from ssl_cli.runs import find_run

TOKENIZER = "tokenizer.json"
MASK = "[MASK]"  # however the run's tokenizer writes it
SPACES = ("Ġ", "▁")  # tokens that are a space alone; before a word it belongs to the word's token


@dataclass(frozen=True)
class Answer:
    """What may stand for a mask, and how likely it is."""

    token: str
    probability: float


def reopen(run: str | Path, outputs: str | Path, trust: str | None) -> "PretrainRun":
    """The finished run of ssl pretrain that a verb's options name. Raises InputError where it is none."""
    return PretrainRun(find_run(run, outputs, "pretrain", finished=True), tuple((trust or "").split()))


class PretrainRun(Finished):
    """A model of text and its tokenizer. A method raises InputError where the run's model can't do it."""

    def restore(self) -> None:
        self.tokenizer = Tokenizer.load(self.folder / TOKENIZER)
        found, known = self.tokenizer.vocab_size, self.model.network.vocab_size
        if not 0 < found <= known:
            raise InputError(f"{self.folder / TOKENIZER} is damaged: it has {found:,} tokens, the model {known:,}.")
        if hasattr(self.model, "predict") and self.tokenizer.specials.get("mask") != self.model.mask_token:
            raise InputError(f"{self.folder / TOKENIZER} is damaged: its mask token isn't the model's.")
        with torch.inference_mode():
            self._sound(self.model.network(torch.zeros(1, 1, dtype=torch.long)))

    # --- blanks ---

    def fill(self, text: str, n: int = 5) -> list[list[Answer]]:
        """The `n` likeliest answers for each [MASK] of a text, the likeliest first; each mask by itself."""
        if not hasattr(self.model, "predict"):
            raise InputError(
                f"{self.folder}: model={self.config.choices.model} reads from left to right, so it can't fill in a "
                "mask; let it go on with `ssl generate prompt=...`, or use a run of model=bert."
            )
        if not fits(n, Count):
            raise InputError(f"n must be {expected(Count)}, not {n!r}.")
        ids = self._masked(text)
        with torch.inference_mode():
            share = self._sound(self.model.predict(torch.tensor([ids]))).softmax(-1)  # (M, V)
        likeliest = share.topk(min(n, share.shape[1]))
        return [
            [Answer(self.spelt(token), probability) for token, probability in zip(tokens, shares, strict=True)]
            for tokens, shares in zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
        ]

    def spelt(self, token: int) -> str:
        """A token by itself, for people"""
        name = self.tokenizer.token(token)
        return name if name.startswith("##") else self.tokenizer.decode([token]).strip() or name

    def _masked(self, text: str) -> list[int]:
        """The tokens of a text with masks. Raises InputError where it has none, or is too long."""
        mask = self.model.mask_token
        if not isinstance(text, str):
            raise InputError(f"A text to fill in must be a text, not a {type(text).__name__}.")
        ids = self.tokenizer.encode(text.replace(MASK, self.tokenizer.token(mask)))
        if mask not in ids:
            raise InputError(f"{_brief(text)} has no {MASK}: write it where a word is wanted, as in Birds can {MASK}.")
        beside = [mask in ids[max(0, place - 1) : place + 2] for place in range(len(ids))]
        spaces = [near and self.tokenizer.token(token) in SPACES for token, near in zip(ids, beside, strict=True)]
        ids = [token for token, is_space in zip(ids, spaces, strict=True) if not is_space]
        room = self.model.network.context - 2  # what frames a text takes two
        if len(ids) > room:
            raise InputError(
                f"{_brief(text)} has {len(ids):,} tokens, and the model reads {room:,} at most: shorten it."
            )
        return ids

    # --- going on ---

    def generate(
        self,
        prompts: Sequence[str],
        wish: Wish | None = None,
        sampling: Sampling | None = None,
        stop: Sequence[str] = (),
        precision: Precision = "auto",
        hear: Callable[[str], None] | None = None,
    ) -> list[list[Writer]]:
        """`wish.n` texts that go on from each prompt; an empty one begins a text. See Wish, Sampling, Spelling.

        The same seed gives the same texts, and fewer of them are the first of more. `hear` is for one text alone.
        """
        if not hasattr(self.model, "next_logits"):
            raise InputError(
                f"{self.folder}: model={self.config.choices.model} sees both sides of a gap, so it can't go on with a "
                f"text; ask it with `ssl fill text=...`, or use a run of model=gpt."
            )
        if isinstance(prompts, str) or not all(isinstance(prompt, str) for prompt in prompts):
            raise InputError("prompts must be a list of texts.")
        wish, sampling = wish or Wish(), sampling or Sampling()
        for asked in (wish, sampling):
            refuse_misfits(asked)
        spelling = Spelling(self.tokenizer.decode, self.tokenizer.specials.get("end"), tuple(stop), hear)
        tokens = [self._prompt(prompt) for prompt in prompts]
        return written(Packed(self.model.network, precision), tokens, wish, sampling, spelling)

    def _prompt(self, text: str) -> list[int]:
        """At least one token: what ends a document stands before the next one."""
        ids = self.tokenizer.encode(text)
        if not ids and "end" not in self.tokenizer.specials:
            raise InputError("prompt is empty, and the run's tokenizer has no token that parts texts: give one word.")
        return ids or [self.tokenizer.specials["end"]]

    def _sound(self, out: Tensor) -> Tensor:
        if not torch.isfinite(out).all():
            raise InputError(f"The model of {self.folder} gives numbers that are NaN or infinite: train it again.")
        return out


def refuse_misfits(asked: Wish | Sampling) -> None:
    """Raise InputError where one of its values isn't what its annotation asks for."""
    for name, wanted in get_type_hints(type(asked), include_extras=True).items():
        value = getattr(asked, name)
        if not fits(value, wanted):
            raise InputError(f"{name} must be {expected(wanted)}, not {value!r}.")


def _brief(text: str) -> str:
    """A text as a message names it"""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
