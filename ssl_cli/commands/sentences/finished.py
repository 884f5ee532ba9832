"""A finished run on sentences: `ssl_cli.load("latest").reconstruct([text])`."""

from collections.abc import Sequence

import numpy as np

from ssl_cli.commands.finished import Finished
from ssl_cli.commands.pretrain.finished import TOKENIZER
from ssl_cli.commands.sentences.codec import SentenceCodec, interpolate
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError


class SentenceRun(Finished):
    """An auto-encoder of sentences. Its methods raise InputError for a sentence without words, or of too many."""

    def restore(self) -> None:
        """Restore the tokenizer, and encode one sentence, to check that the run is whole."""
        self.codec = SentenceCodec(self.model, Tokenizer.load(self.folder / TOKENIZER), self.config.data.lowercase)
        if self.codec.tokenizer.vocab_size != self.config.facts.vocab_size:
            raise InputError(f"{self.folder / TOKENIZER} is damaged: it is not the model's tokenizer.")
        self.codec.posterior(self.codec.rows(["a"]))

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return the mean code of each sentence, (N, Z) float32."""
        self._require_code()
        if not texts:
            return np.zeros((0, self.model.latent), np.float32)
        return self.codec.posterior(self.codec.rows(texts))[0]

    def decode(self, codes: np.ndarray) -> list[str]:
        """Return the likeliest sentence of each code (N, Z). Raises InputError for codes of another shape."""
        self._require_code()
        codes = np.asarray(codes)
        if codes.ndim != 2 or codes.shape[1] != self.model.latent or not np.isfinite(codes).all():
            raise InputError(f"Codes must be an array (N, {self.model.latent}) of finite numbers.")
        return self.codec.decode(codes)

    def reconstruct(self, texts: Sequence[str]) -> list[str]:
        """Return what the model writes from the code of each sentence."""
        return self.decode(self.embed(texts))

    def sample(self, n: int, seed: int = 0) -> list[str]:
        """Return the likeliest sentences of `n` random codes."""
        return self.decode(np.random.default_rng([seed, 22]).standard_normal((n, self.model.latent)))

    def interpolate(self, first: str, last: str, steps: int = 6) -> list[str]:
        """Return the sentences of `steps` codes on the line from that of one sentence to that of another."""
        codes = self.embed([first, last])
        return self.decode(interpolate(codes[0], codes[1], steps))

    def _require_code(self) -> None:
        if not self.model.latent:
            raise InputError(f"{self.folder} has no code: it was trained with model.code=none.")
