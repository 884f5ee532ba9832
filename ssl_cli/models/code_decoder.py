"""Decoder of sentences: a causal transformer that reads a code with every token."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.models.encoder import INITIAL_STD
from ssl_cli.models.generation.pointer_writing import Written
from ssl_cli.models.transformer import Transformer


class CodeDecoder(nn.Module):
    """Distribution of sentences given a code (B, Z); with `latent=0` a language model without one.

    The code, projected to the width of the network, is added to the embedding of every token that is read, at a
    loudness that is learned. `specials` are the ids of the tokenizer's special tokens: a sentence begins after `cls`
    and ends with `end`.
    """

    def __init__(self, network: Transformer, latent: int, specials: Mapping[str, int]):
        super().__init__()
        assert network.causal, "a token must not see those after it"
        self.network, self.end = network, specials["end"]
        self.start = specials.get("cls", self.end)
        self.banned = sorted(set(specials.values()) - {self.end})
        self.project = nn.Linear(latent, network.width, bias=False) if latent else None
        if self.project is not None:
            nn.init.normal_(self.project.weight, std=INITIAL_STD / latent**0.5)  # as loud as a token
            # An optimizer that moves matrices by steps of one size, such as Muon, can't silence a code that says
            # nothing: it would be noise in all tokens, and cost a tenth of the loss.
            self.loudness = nn.Parameter(torch.tensor([0.5]))

    @property
    def max_tokens(self) -> int:
        """Return the most tokens of a sentence, without its end."""
        return self.network.context - 1

    def targets(self, ids: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens with the end after each sentence (B, T + 1), and which of them are no padding."""
        return Written(ids, length).with_end(self.end)

    def read(self, ids: Tensor) -> Tensor:
        """Return what is read to predict tokens (B, T) and the end after them: (B, T + 1)."""
        return torch.cat([ids.new_full((len(ids), 1), self.start), ids], 1)

    def hidden(self, z: Tensor, read: Tensor) -> Tensor:
        """Return hidden states (B, T, C) at the tokens that are read (B, T), given codes (B, Z)."""
        return self.network(read, vectors=self._vectors(z, read))

    def log_probability(self, z: Tensor, ids: Tensor, length: Tensor, read: Tensor | None = None) -> Tensor:
        """Return log p(x|z) of sentences, their ends included, in nats: (B, Z), (B, T), (B,) -> (B,).

        `read` (B, T + 1) is read in place of the sentences themselves, such as with words dropped.
        """
        targets, is_real = self.targets(ids, length)
        hidden = self.hidden(z, self.read(ids) if read is None else read)[is_real]  # (N, C): padding costs nothing
        losses = functional.cross_entropy(self.network.logits(hidden), targets[is_real], reduction="none")
        row = torch.arange(len(ids), device=ids.device)[:, None].expand_as(targets)[is_real]
        return -losses.new_zeros(len(ids), dtype=torch.float32).index_add(0, row, losses.float())

    @torch.no_grad()
    def write(self, z: Tensor, max_tokens: int, temperature: float = 0.0) -> tuple[Tensor, Tensor]:
        """Write a sentence of 1 to `max_tokens` tokens for each code (B, Z): its tokens (B, T), and their number (B,).

        At temperature 0 each is the likeliest token; otherwise they are drawn from torch's global generator.
        """
        cache = self.network.new_cache(len(z), max_tokens)
        token = torch.full((len(z),), self.start, device=z.device)
        length, written = torch.full_like(token, max_tokens), list[Tensor]()
        for place in range(max_tokens):
            read = token[:, None]
            hidden = self.network(read, cache=cache, vectors=self._vectors(z, read))[:, -1]
            logits = self.network.logits(hidden).float()  # (B, V)
            logits[:, self.banned if place else [*self.banned, self.end]] = -torch.inf
            draws = (logits / temperature).softmax(1).multinomial(1)[:, 0] if temperature else None
            token = logits.argmax(1) if draws is None else draws
            length = torch.where((token == self.end) & (length == max_tokens), place, length)
            written.append(token)
            if bool((length <= place).all()):
                break
        return torch.stack(written, 1), length

    def _vectors(self, z: Tensor, read: Tensor) -> Tensor:
        vectors = self.network.token_table(read)
        if self.project is None:
            return vectors
        return vectors + self.loudness * self.project(z.to(vectors.dtype))[:, None]
