"""Pointer-generator: an encoder-decoder whose next token is one of its vocabulary, or a copy of one in the source."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.models.cross_attention import Seq2SeqCache
from ssl_cli.models.encoder_decoder import PADDING, EncoderDecoder

IMPOSSIBLE = -1e9  # the score of padding
TINY = 1e-20  # probability of a copy that can't be, so that its logarithm is finite


@dataclass(frozen=True)
class ReadSource:
    """A source as it was read: its tokens (B, S), encoded vectors and pointer keys (B, S, C), and documents (B, S).

    `choices` (B, S, V) are the tokens as one-hot vectors with a gradient; None if they have none.
    """

    ids: Tensor
    document: Tensor
    memory: Tensor
    keys: Tensor
    choices: Tensor | None = None

    def repeat(self, n: int) -> "ReadSource":
        """Return each source `n` times, one after the other."""
        ids, document, memory, keys = (
            x.repeat_interleave(n, 0) for x in (self.ids, self.document, self.memory, self.keys)
        )
        return ReadSource(ids, document, memory, keys)

    def equals(self, targets: Tensor) -> Tensor:
        """Return how much of each source token is the target (B, T): 1 or 0, (B, T, S)."""
        if self.choices is None:
            return (self.ids[:, None] == targets[..., None]).to(self.keys.dtype)
        index = targets[:, None].expand(-1, self.ids.shape[1], -1)  # (B, S, T)
        return self.choices.gather(2, index).transpose(1, 2)


class PointerGenerator(nn.Module):
    """Mixture of writing and copying (See et al., arXiv 1704.04368, eq. 8 and 9), over an encoder-decoder.

    p(w) = (1 - copy) * p_vocabulary(w) + copy * (attention to the source tokens that are w). The decoder's vector and
    the token that it has just read decide both where the attention looks and how much is copied.
    """

    def __init__(self, network: EncoderDecoder):
        super().__init__()
        self.network = network
        self.query = nn.Linear(2 * network.width, network.width)
        self.key = nn.Linear(network.width, network.width)
        self.copy = nn.Linear(2 * network.width, 1)

    def read(self, ids: Tensor, length: Tensor, choices: Tensor | None = None) -> ReadSource:
        """Read sources (B, S) of these lengths (B,). `choices`: see ReadSource."""
        document = torch.where(torch.arange(ids.shape[1], device=ids.device) < length[:, None], 0, PADDING)
        vectors = None if choices is None else choices @ self.network.token_table.weight
        memory = self.network.encode(ids, document, vectors)
        return ReadSource(ids, document, memory, self.key(memory), choices)

    def log_probability(self, source: ReadSource, targets: Tensor, prefix: Sequence[int]) -> Tensor:
        """Return the log-probability of each target token given those before it: (B, T).

        The decoder reads the tokens of `prefix` before them.
        """
        hidden, ids = self._decode(source, targets, prefix)
        write, copy, attention = self._mix(source, hidden, ids)
        logits = self.network.logits(hidden).float()
        written = logits.gather(2, targets[..., None])[..., 0] - logits.logsumexp(2) + write
        copied = (attention.exp() * source.equals(targets)).sum(2).clamp(min=TINY).log() + copy
        return torch.logaddexp(written, copied)

    def log_distribution(self, source: ReadSource, targets: Tensor, prefix: Sequence[int]) -> Tensor:
        """Return the log-probability of every token at the place of each target, given those before it: (B, T, V)."""
        return self._log_distribution(source, *self._decode(source, targets, prefix))

    def next_log_probabilities(self, source: ReadSource, ids: Tensor, cache: Seq2SeqCache) -> Tensor:
        """Return the log-probabilities (B, V) of the token that follows the next ones (B, T), and add them to a cache.

        The cache is made by `new_cache`.
        """
        hidden = self.network.decode(ids, None, cache=cache)
        return self._log_distribution(source, hidden[:, -1:], ids[:, -1:])[:, 0]

    def new_cache(self, source: ReadSource, capacity: int) -> Seq2SeqCache:
        """Return a cache for targets of up to `capacity` tokens."""
        return self.network.new_cache(source.memory, source.document, capacity)

    def _decode(self, source: ReadSource, targets: Tensor, prefix: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the vector (B, T, C) from which each target is predicted, and the token that was read last (B, T)."""
        first = targets.new_tensor(prefix).expand(len(targets), -1)
        ids = torch.cat([first, targets[:, :-1]], 1)
        hidden = self.network.decode(ids, source.memory, None, source.document)
        return hidden[:, len(prefix) - 1 :], ids[:, len(prefix) - 1 :]

    def _log_distribution(self, source: ReadSource, hidden: Tensor, ids: Tensor) -> Tensor:
        write, copy, attention = self._mix(source, hidden, ids)
        written = self.network.logits(hidden).float().log_softmax(2) + write[..., None]
        index = source.ids[:, None].expand(-1, ids.shape[1], -1)  # (B, T, S)
        copied = torch.zeros_like(written).scatter_add(2, index, attention.exp())
        return torch.logaddexp(written, copied.clamp(min=TINY).log() + copy[..., None])

    def _mix(self, source: ReadSource, hidden: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the log-probabilities of writing and of copying (B, T), and of copying each source token (B, T, S)."""
        x = torch.cat([hidden, self.network.token_table(ids)], -1)  # (B, T, 2C)
        scores = (self.query(x) @ source.keys.transpose(1, 2)).float() * self.network.width**-0.5  # (B, T, S)
        attention = scores.masked_fill((source.document == PADDING)[:, None], IMPOSSIBLE).log_softmax(2)
        copy = self.copy(x)[..., 0].float()
        return functional.logsigmoid(-copy), functional.logsigmoid(copy), attention
