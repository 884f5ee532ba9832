"""A finished run of ssl pretrain: `ssl_cli.load("latest").fill("Birds can [MASK].")`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_type_hints

import torch
from torch import Tensor

from ssl_cli.commands.finished import Finished
from ssl_cli.config.typecheck import expected, fits
from ssl_cli.config.types import Count
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError
from ssl_cli.models.generation.decode import GenerationRequest, generate
from ssl_cli.models.generation.detokenize import Completion, Detokenizer
from ssl_cli.models.generation.packed_weights import InferenceModel, Precision
from ssl_cli.models.generation.sampling import Sampling
from ssl_cli.runs.folder import RunFilter, find_run

TOKENIZER = "tokenizer.json"
MASK = "[MASK]"  # however the run's tokenizer writes it


@dataclass(frozen=True)
class MaskCandidate:
    """What may stand for a mask, and how likely it is."""

    token: str
    probability: float


def reopen(run: str | Path, outputs: str | Path, trust: str | None, able: RunFilter | None = None) -> "PretrainRun":
    """The finished run of ssl pretrain that a verb's options name; `latest` is one that is `able`. Raises InputError
    where it is none."""
    trusted = tuple((trust or "").split())
    return PretrainRun(find_run(run, outputs, "pretrain", finished=True, run_filter=able), trusted)


class PretrainRun(Finished):
    """A model of text and its tokenizer. A method raises InputError where the run's model can't do it."""

    def restore(self) -> None:
        self.tokenizer = Tokenizer.load(self.folder / TOKENIZER)
        found, known = self.tokenizer.vocab_size, self.model.network.vocab_size
        if not 0 < found <= known:
            raise InputError(f"{self.folder / TOKENIZER} is damaged: it has {found:,} tokens, the model {known:,}.")
        if hasattr(self.model, "mask_logits") and self.tokenizer.specials.get("mask") != self.model.mask_token:
            raise InputError(f"{self.folder / TOKENIZER} is damaged: its mask token isn't the model's.")
        with torch.inference_mode():
            try_it = getattr(self.model, "mask_logits", self.model.network)
            self._sound(try_it(torch.full((1, 1), getattr(self.model, "mask_token", 0))))
        if found != self.config.facts.get("vocab_size", found):  # a checkpoint's table may be larger than its tokenizer
            raise InputError(f"{self.folder / TOKENIZER} is damaged: it isn't that of the text that was learned.")

    # --- blanks ---

    def fill(self, text: str, n: int = 5) -> list[list[MaskCandidate]]:
        """The `n` likeliest answers for each [MASK] of a text, the likeliest first; each mask by itself."""
        if not hasattr(self.model, "mask_logits"):
            raise InputError(
                f"{self.folder}: model={self.config.choices.model} reads from left to right, so it can't fill in a "
                "mask; let it go on with `ssl generate prompt=...`, or use a run of model=bert."
            )
        if not fits(n, Count):
            raise InputError(f"n must be {expected(Count)}, not {n!r}.")
        ids = self._masked(text)
        with torch.inference_mode():
            share = self._sound(self.model.mask_logits(torch.tensor([ids]))).softmax(-1)  # (M, V)
        likeliest = share.topk(min(n, share.shape[1]))
        return [
            [MaskCandidate(self.spelt(token), probability) for token, probability in zip(tokens, shares, strict=True)]
            for tokens, shares in zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
        ]

    def spelt(self, token: int) -> str:
        """A token by itself, for people: without the blanks beside it, but where it is nothing else"""
        name, text = self.tokenizer.token(token), self.tokenizer.decode([token])
        return name if name.startswith("##") else text.strip() or text or name

    def _masked(self, text: str) -> list[int]:
        """The tokens of a text with masks. Raises InputError where it has none, or is too long."""
        mask = self.model.mask_token
        if not isinstance(text, str):
            raise InputError(f"A text to fill in must be a text, not a {type(text).__name__}.")
        ids = self.tokenizer.encode(text.replace(MASK, self.tokenizer.token(mask)))
        if mask not in ids:
            raise InputError(f"{_brief(text)} has no {MASK}: write it where a word is wanted, as in Birds can {MASK}.")
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
        wish: GenerationRequest | None = None,
        sampling: Sampling | None = None,
        stop: Sequence[str] = (),
        precision: Precision = "auto",
        hear: Callable[[str], None] | None = None,
    ) -> list[list[Completion]]:
        """`wish.n` texts that go on from each prompt; an empty one begins a text. See Wish, Sampling, Spelling.

        The same seed gives the same texts, and fewer of them are the first of more. `hear` is for one text alone.
        """
        wish, sampling = wish or GenerationRequest(), sampling or Sampling()
        tokens = self.prompted(prompts, wish, sampling)
        spelling = Detokenizer(self.tokenizer.decode, self.tokenizer.specials.get("end"), tuple(stop), hear)
        barred = self.tokenizer.unwritten
        return generate(InferenceModel(self.model.network, precision), tokens, wish, sampling, spelling, barred)

    def prompted(self, prompts: Sequence[str], wish: GenerationRequest, sampling: Sampling) -> list[list[int]]:
        """The tokens of prompts that `generate` can go on from as it is asked. Raises InputError where it can't."""
        if not hasattr(self.model, "next_logits"):
            raise InputError(
                f"{self.folder}: model={self.config.choices.model} sees both sides of a gap, so it can't go on with a "
                f"text; ask it with `ssl fill text=...`, or use a run of model=gpt."
            )
        if isinstance(prompts, str) or not all(isinstance(prompt, str) for prompt in prompts):
            raise InputError("prompts must be a list of texts.")
        for asked in (wish, sampling):
            refuse_misfits(asked)
        return [self._prompt(prompt) for prompt in prompts]

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


def refuse_misfits(asked: GenerationRequest | Sampling) -> None:
    """Raise InputError where one of its values isn't what its annotation asks for."""
    for name, wanted in get_type_hints(type(asked), include_extras=True).items():
        value = getattr(asked, name)
        if not fits(value, wanted):
            raise InputError(f"{name} must be {expected(wanted)}, not {value!r}.")


def _brief(text: str) -> str:
    """A text as a message names it"""
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
