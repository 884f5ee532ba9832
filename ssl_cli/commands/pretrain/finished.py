"""Finished runs of ssl pretrain, ready for use: `ssl_cli.load("latest").fill("Birds can [MASK].")`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_type_hints

import torch
from torch import Tensor

from ssl_cli.commands.finished import Finished, open_run
from ssl_cli.config.typecheck import expected, fits
from ssl_cli.config.types import Count
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError
from ssl_cli.methods.protocols import ContinuesText, FillsMasks
from ssl_cli.models.generation.decode import generate
from ssl_cli.models.generation.detokenize import Completion, Detokenizer
from ssl_cli.models.generation.packed_weights import InferenceModel, Precision
from ssl_cli.models.generation.request import GenerationRequest
from ssl_cli.models.generation.sampling import Sampling
from ssl_cli.runs.folder import RunFilter, find_run

TOKENIZER = "tokenizer.json"
MASK = "[MASK]"  # in a text to fill in, whatever the name of the tokenizer's mask token
MAX_QUOTED_CHARS = 60


@dataclass(frozen=True)
class MaskCandidate:
    """A token for a mask, and its probability."""

    token: str
    probability: float


def reopen(
    run: str | Path, outputs: str | Path, trust: str | None, run_filter: RunFilter | None = None
) -> "PretrainRun":
    """Return the finished run of ssl pretrain that the options name. Raises InputError if there is none.

    `latest` is the newest run that passes the filter.
    """
    trusted = tuple((trust or "").split())
    finished = open_run(find_run(run, outputs, "pretrain", finished=True, run_filter=run_filter), trusted)
    if not isinstance(finished, PretrainRun):
        raise InputError(f"{finished.folder} is a run on speech: this needs one on text.")
    return finished


class PretrainRun(Finished):
    """A language model and its tokenizer. A method raises InputError if the run's model can't do it."""

    def restore(self) -> None:
        """Restore the tokenizer, and run one token through the model. Raises InputError if the run is damaged."""
        self.tokenizer = Tokenizer.load(self.folder / TOKENIZER)
        n_tokens, n_embeddings = self.tokenizer.vocab_size, self.model.network.vocab_size
        if not 0 < n_tokens <= n_embeddings:
            raise self._damaged(f"it has {n_tokens:,} tokens, the model {n_embeddings:,}")
        if isinstance(self.model, FillsMasks) and self.tokenizer.specials.get("mask") != self.model.mask_token:
            raise self._damaged("its mask token isn't the model's")
        with torch.inference_mode():
            if isinstance(self.model, FillsMasks):
                self._check_finite(self.model.mask_logits(torch.full((1, 1), self.model.mask_token)))
            else:
                self._check_finite(self.model.network(torch.zeros(1, 1, dtype=torch.long)))
        # Compared with the config, since the embeddings of a checkpoint may be more than the tokens of its tokenizer.
        if n_tokens != self.config.facts.get("vocab_size", n_tokens):
            raise self._damaged("it isn't the tokenizer that the run was trained with")

    def _damaged(self, reason: str) -> InputError:
        return InputError(f"{self.folder / TOKENIZER} is damaged: {reason}.")

    def _check_finite(self, out: Tensor) -> Tensor:
        """Return the model's output. Raises InputError if it has numbers that are NaN or infinite."""
        if not torch.isfinite(out).all():
            raise InputError(f"The model of {self.folder} gives numbers that are NaN or infinite: train it again.")
        return out

    # --- masks ---

    def fill(self, text: str, n: int = 5) -> list[list[MaskCandidate]]:
        """Return the `n` most likely tokens for each [MASK] of a text, best first. Each mask is filled independently.

        Raises InputError if the text has no mask, or is too long for the model.
        """
        if not isinstance(self.model, FillsMasks):
            raise InputError(
                f"{self.folder}: model={self.config.choices.model} reads from left to right, so it can't fill in a "
                "mask; continue a text with `ssl generate prompt=...`, or use a run of model=bert."
            )
        if not fits(n, Count):
            raise InputError(f"n must be {expected(Count)}, not {n!r}.")
        ids = self._encode_masked(text)
        with torch.inference_mode():
            probabilities = self._check_finite(self.model.mask_logits(torch.tensor([ids]))).softmax(-1)  # (M, V)
        top = probabilities.topk(min(n, probabilities.shape[1]))
        return [
            [MaskCandidate(self.token_text(token), value) for token, value in zip(tokens, values, strict=True)]
            for tokens, values in zip(top.indices.tolist(), top.values.tolist(), strict=True)
        ]

    def token_text(self, token: int) -> str:
        """Return a token as people read it: without the whitespace around it, unless it is only whitespace."""
        name, text = self.tokenizer.token(token), self.tokenizer.decode([token])
        return name if name.startswith("##") else text.strip() or text or name

    def _encode_masked(self, text: str) -> list[int]:
        """Return the tokens of a text with masks. Raises InputError if it has no mask, or is too long."""
        mask = self.model.mask_token
        if not isinstance(text, str):
            raise InputError(f"A text to fill in must be a text, not a {type(text).__name__}.")
        ids = self.tokenizer.encode(text.replace(MASK, self.tokenizer.token(mask)))
        if mask not in ids:
            raise InputError(f"{_quoted(text)} has no {MASK}: write it in place of a word, as in Birds can {MASK}.")
        max_tokens = self.model.network.context - 2  # without [CLS] and [SEP]
        if len(ids) > max_tokens:
            raise InputError(
                f"{_quoted(text)} has {len(ids):,} tokens, but the model reads at most {max_tokens:,}: shorten it."
            )
        return ids

    # --- generation ---

    def generate(
        self,
        prompts: Sequence[str],
        request: GenerationRequest | None = None,
        sampling: Sampling | None = None,
        stop: Sequence[str] = (),
        precision: Precision = "auto",
        on_text: Callable[[str], None] | None = None,
    ) -> list[list[Completion]]:
        """Return `request.n` completions of each prompt. An empty prompt is the beginning of a document.

        The same seed gives the same texts, and a smaller n the first of them. `stop` and `on_text` are those of
        `Detokenizer`; `on_text` is for a single text.
        """
        request, sampling = request or GenerationRequest(), sampling or Sampling()
        tokens = self.encode_prompts(prompts, request, sampling)
        detokenizer = Detokenizer(self.tokenizer.decode, self.tokenizer.specials.get("end"), tuple(stop), on_text)
        banned = self.tokenizer.special_ids_except_end
        return generate(InferenceModel(self.model.network, precision), tokens, request, sampling, detokenizer, banned)

    def encode_prompts(self, prompts: Sequence[str], request: GenerationRequest, sampling: Sampling) -> list[list[int]]:
        """Return the tokens of prompts. Raises InputError if `generate` can't do what is requested."""
        if not isinstance(self.model, ContinuesText):
            raise InputError(
                f"{self.folder}: model={self.config.choices.model} sees both sides of a gap, so it can't continue a "
                "text; fill in a mask with `ssl fill text=...`, or use a run of model=gpt."
            )
        if isinstance(prompts, str) or not all(isinstance(prompt, str) for prompt in prompts):
            raise InputError("prompts must be a list of texts.")
        for options in (request, sampling):
            check_values(options)
        return [self._encode_prompt(prompt) for prompt in prompts]

    def _encode_prompt(self, text: str) -> list[int]:
        """Return at least one token: a document begins after the end token of the one before."""
        ids = self.tokenizer.encode(text)
        if not ids and "end" not in self.tokenizer.specials:
            raise InputError("prompt is empty, and the run's tokenizer has no token between texts: give one word.")
        return ids or [self.tokenizer.specials["end"]]


def check_values(options: GenerationRequest | Sampling) -> None:
    """Raise InputError if a value does not fit its annotation."""
    for name, annotation in get_type_hints(type(options), include_extras=True).items():
        value = getattr(options, name)
        if not fits(value, annotation):
            raise InputError(f"{name} must be {expected(annotation)}, not {value!r}.")


def _quoted(text: str) -> str:
    """Return a text as a message quotes it: shortened if it is long."""
    return repr(text if len(text) <= MAX_QUOTED_CHARS else f"{text[: MAX_QUOTED_CHARS - 3]}...")
