"""Sentences <-> codes: a model and its tokenizer, many sentences at a time."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_cli.data.batches import ordered_loader
from ssl_cli.data.sentences.rows import SentenceRows, sentence_rows
from ssl_cli.data.sentences.words import normalize
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError
from ssl_cli.methods.scoring import device_of

CODES_AT_A_TIME = 128


class SentenceCodec:
    """A model of sentences with the tokenizer that it reads and writes by. `lowercase`: what its data were."""

    def __init__(self, model: Any, tokenizer: Tokenizer, lowercase: bool):
        self.model, self.tokenizer, self.lowercase = model, tokenizer, lowercase

    def rows(self, texts: Sequence[str]) -> SentenceRows:
        """Return sentences as rows. Raises InputError for one without words, or longer than the model can read."""
        tokens = self.tokenizer.encode_inside(normalize(text, self.lowercase) for text in texts)
        most = self.model.decoder.max_tokens
        for number, (text, ids) in enumerate(zip(texts, tokens, strict=True), start=1):
            if not ids or not text.strip():
                raise InputError(f"Sentence {number:,} has no words.")
            if len(ids) > most:
                raise InputError(
                    f"Sentence {number:,}, {text[:50]!r}, has {len(ids):,} tokens: the model reads at most {most:,}."
                )
        return sentence_rows(tokens)

    def posterior(self, rows: SentenceRows) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the log variance of the codes of rows, (N, Z) each."""
        parts = list(self.map(self.model.posterior_of, rows))
        mean, log_var = (torch.cat(each).float().cpu().numpy() for each in zip(*parts, strict=True))
        return mean, log_var

    def decode(self, codes: np.ndarray, temperature: float = 0.0) -> list[str]:
        """Return the sentence of each code (N, Z): the likeliest words, or drawn ones if the temperature is above 0."""
        texts, device = list[str](), device_of(self.model)
        for first in range(0, len(codes), CODES_AT_A_TIME):
            z = torch.from_numpy(np.asarray(codes[first : first + CODES_AT_A_TIME], np.float32)).to(device)
            with torch.inference_mode():
                ids, length = self.model.write(z, self.model.decoder.max_tokens, temperature)
            rows = [row[:n].tolist() for row, n in zip(ids, length.tolist(), strict=True)]
            texts += [text.strip() for text in self.tokenizer.library.decode_batch(rows, skip_special_tokens=True)]
        return texts

    def map(self, function: Callable[[dict[str, Any]], Any], rows: SentenceRows) -> Iterator[Any]:
        """Yield a function's value of each batch of rows, on the model's device and without gradients."""
        placed = rows.on(device_of(self.model))
        with torch.inference_mode():
            for batch in ordered_loader(placed, placed.eval_batch_size):
                yield function(batch)

    def sum_of(self, function: Callable[[dict[str, Any]], Tensor], rows: SentenceRows) -> float:
        """Return the sum of a function's values (B,) over all rows."""
        return sum(float(values.double().sum()) for values in self.map(function, rows))


def interpolate(first: np.ndarray, last: np.ndarray, steps: int) -> np.ndarray:
    """Return codes on the line from one (Z,) to another, both included: (steps, Z)."""
    share = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    return (1 - share) * first + share * last
