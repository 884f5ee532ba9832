"""Finished runs of ssl pretrain, ready for use: `ssl_cli.load("latest").fill("Birds can [MASK].")`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_type_hints

import numpy as np
import torch
from torch import Tensor

from ssl_cli.commands.finished import Finished, open_run
from ssl_cli.commands.pretrain.gap_kinds import gap_filler
from ssl_cli.commands.pretrain.gaps import MASK, MaskCandidate, quoted
from ssl_cli.config.typecheck import expected, fits
from ssl_cli.config.types import Count
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError
from ssl_cli.methods.protocols import ContinuesText, FillsMasks, WritesText
from ssl_cli.models.generation.decode import generate
from ssl_cli.models.generation.detokenize import Completion, Detokenizer
from ssl_cli.models.generation.packed_weights import InferenceModel, Precision
from ssl_cli.models.generation.request import GenerationRequest, check_beams
from ssl_cli.models.generation.sampling import Sampling
from ssl_cli.runs.folder import RunFilter, find_run

TOKENIZER = "tokenizer.json"
TEXTS_AT_A_TIME = 128


def reopen(
    run: str | Path, outputs: str | Path, trust: str | None, run_filter: RunFilter | None = None
) -> "PretrainRun":
    """Return the finished run of ssl pretrain that the options name. Raises InputError if there is none.

    `latest` is the newest run that passes the filter.
    """
    trusted = tuple((trust or "").split())
    return require_text(open_run(find_run(run, outputs, "pretrain", finished=True, run_filter=run_filter), trusted))


def require_text(finished: Finished) -> "PretrainRun":
    """Return the run if it is one on text. Raises InputError if it is not."""
    if not isinstance(finished, PretrainRun):
        kind = "speech" if "frames" in finished.model.reads else "images"
        raise InputError(f"{finished.folder} is a run on {kind}: this needs one on text.")
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
            elif isinstance(self.model, WritesText):
                self._check_finite(self.model.network(*torch.zeros(2, 1, 1, dtype=torch.long)))
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

        A run of an encoder-decoder gives phrases: see GapFiller. Raises InputError if the text has no mask, or is too
        long for the model.
        """
        if not isinstance(self.model, FillsMasks | WritesText):
            raise InputError(
                f"{self.folder}: model={self.config.choices.model} reads from left to right, so it can't fill in a "
                "mask; continue a text with `ssl generate prompt=...`, or use a run of model=bert."
            )
        if not fits(n, Count):
            raise InputError(f"n must be {expected(Count)}, not {n!r}.")
        if not isinstance(text, str):
            raise InputError(f"A text to fill in must be a text, not a {type(text).__name__}.")
        if isinstance(self.model, WritesText):
            return gap_filler(self.model, self.tokenizer, "32-true").fill(text, n)
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
        ids = self.tokenizer.encode(text.replace(MASK, self.tokenizer.token(mask)))
        if mask not in ids:
            raise InputError(f"{quoted(text)} has no {MASK}: write it in place of a word, as in Birds can {MASK}.")
        max_tokens = self.model.network.context - 2  # without [CLS] and [SEP]
        if len(ids) > max_tokens:
            raise InputError(
                f"{quoted(text)} has {len(ids):,} tokens, but the model reads at most {max_tokens:,}: shorten it."
            )
        return ids

    # --- vectors ---

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return the mean hidden state of each text's tokens in the last layer, (N, C) float32.

        Raises InputError for a text without tokens, or of more than the model reads.
        """
        tokens = [self.tokenizer.encode(text) for text in texts]
        most = self.model.network.context - 2  # beside the special tokens around a text
        for number, (text, ids) in enumerate(zip(texts, tokens, strict=True), start=1):
            if not 0 < len(ids) <= most:
                raise InputError(
                    f"Text {number:,}, {quoted(text)}, has {len(ids):,} tokens: the model reads 1 to {most:,}."
                )
        vectors = np.zeros((len(tokens), self.model.network.width), np.float32)
        of_length: dict[int, list[int]] = {}
        for row, ids in enumerate(tokens):
            of_length.setdefault(len(ids), []).append(row)
        for rows in of_length.values():  # texts of one length at a time have no padding
            for first in range(0, len(rows), TEXTS_AT_A_TIME):
                some = rows[first : first + TEXTS_AT_A_TIME]
                with torch.inference_mode():
                    found = self.model.embed_text({"ids": torch.tensor([tokens[row] for row in some])})
                vectors[some] = self._check_finite(found).float().numpy()
        return vectors

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

        An encoder-decoder restores the prompts instead, by default with the likeliest token at each place: a
        completion's `text` is the whole restored text, and `target` what the model wrote if that is only the missing
        part. The same seed gives the same texts, and a smaller n the first of them. `stop` and `on_text` are those of
        `Detokenizer`; `on_text` is for a single text.
        """
        request = request or GenerationRequest()
        sampling = sampling or Sampling(0 if self.draws_nothing(request) else 1.0)
        self.check_request(prompts, request, sampling, stop)
        if isinstance(self.model, WritesText):
            return gap_filler(self.model, self.tokenizer, precision).generate(prompts, request, sampling, stop, on_text)
        tokens = [self._encode_prompt(prompt, request) for prompt in prompts]
        detokenizer = Detokenizer(self.tokenizer.decode, self.tokenizer.specials.get("end"), tuple(stop), on_text)
        banned = self.tokenizer.special_ids_except_end
        return generate(InferenceModel(self.model.network, precision), tokens, request, sampling, detokenizer, banned)

    def draws_nothing(self, request: GenerationRequest) -> bool:
        """Return whether the likeliest text is wanted if nothing is said: of a search, or of a restored text."""
        return request.beams > 1 or (isinstance(self.model, WritesText) and request.n == 1)

    @property
    def writes_text(self) -> bool:
        """Return whether the model writes a text token by token, rather than only what is missing in one."""
        return not isinstance(self.model, WritesText) or gap_filler(self.model, self.tokenizer).writes_text

    def check_request(
        self, prompts: Sequence[str], request: GenerationRequest, sampling: Sampling, stop: Sequence[str] = ()
    ) -> None:
        """Raise InputError if `generate` can't do what is requested."""
        if not isinstance(self.model, ContinuesText | WritesText):
            raise InputError(
                f"{self.folder}: model={self.config.choices.model} sees both sides of a gap, so it can't continue a "
                "text; fill in a mask with `ssl fill text=...`, or use a run of model=gpt."
            )
        if isinstance(prompts, str) or not all(isinstance(prompt, str) for prompt in prompts):
            raise InputError("prompts must be a list of texts.")
        for options in (request, sampling):
            check_values(options)
        check_search(request, sampling, self.tokenizer.vocab_size)
        for prompt in prompts:
            if isinstance(self.model, WritesText):
                gap_filler(self.model, self.tokenizer).check(prompt, request, stop)
            else:
                self._encode_prompt(prompt, request)

    def _encode_prompt(self, text: str, request: GenerationRequest) -> list[int]:
        """Return at least one token: a document begins after the end token of the one before."""
        ids = self.tokenizer.encode(text)
        if not ids and "end" not in self.tokenizer.specials:
            raise InputError("prompt is empty, and the run's tokenizer has no token between texts: give one word.")
        ids = ids or [self.tokenizer.specials["end"]]
        room = self.model.network.context - len(ids)
        if request.beams > 1 and request.max_tokens > room:
            raise InputError(
                f"beams={request.beams} needs prompt and text to fit the model's context of "
                f"{self.model.network.context:,} tokens: set max_tokens to at most {max(room, 0):,}."
            )
        return ids


def check_values(options: GenerationRequest | Sampling) -> None:
    """Raise InputError if a value does not fit its annotation."""
    for name, annotation in get_type_hints(type(options), include_extras=True).items():
        value = getattr(options, name)
        if not fits(value, annotation):
            raise InputError(f"{name} must be {expected(annotation)}, not {value!r}.")


def check_search(request: GenerationRequest, sampling: Sampling, vocab_size: int) -> None:
    """Raise InputError if options of a beam search contradict each other."""
    if request.min_tokens > request.max_tokens:
        raise InputError(f"min_tokens={request.min_tokens} is above max_tokens={request.max_tokens}: lower it.")
    if request.beams == 1:
        if request.length_penalty != 1:
            raise InputError(f"length_penalty={request.length_penalty:g} is for a beam search: set beams above 1.")
        return
    drawn = [
        f"{name}={value:g}"
        for name in ("temperature", "top_p", "min_p", "repetition_penalty")
        if (value := getattr(sampling, name)) != getattr(Sampling(0), name)
    ]
    if drawn:
        raise InputError(
            f"beams={request.beams} searches for the likeliest text and draws nothing: leave out {', '.join(drawn)}."
        )
    if request.n > request.beams:
        raise InputError(f"n={request.n} texts are more than a search with beams={request.beams} finds: raise beams.")
    check_beams(request.beams, vocab_size)
