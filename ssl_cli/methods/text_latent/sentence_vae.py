"""Variational auto-encoder of sentences: one vector a sentence, and what keeps the decoder from ignoring it."""

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ssl_cli.config.types import Count, Natural, NonNegative, Share
from ssl_cli.methods.autoencoders.variational import kl_by_dimension, reparameterize
from ssl_cli.methods.text_latent.style_split import StyleSplit
from ssl_cli.models.code_decoder import CodeDecoder
from ssl_cli.models.images import at_least_float32
from ssl_cli.models.sentence_encoder import SentenceEncoder
from ssl_cli.models.transformer import Transformer

Batch = Mapping[str, Any]


class SentenceVAE(nn.Module):
    """Negative ELBO of sentences with a Gaussian posterior and prior (Bowman et al., arXiv 1511.06349).

    Against a code that the decoder ignores: the weight of the KL term rises over `kl_warmup` of the run; the decoder
    reads a share `word_dropout` of the words as unknown; and a dimension of the code costs nothing below `free_bits`
    (arXiv 1606.04934, sec. 3.3: the larger of its mean KL in the batch and that). With code=none there is no encoder:
    the same decoder is a language model. With `style_width` the first numbers of the code are its style: StyleSplit.
    """

    reads: ClassVar[tuple[str, ...]] = ("sentences",)
    is_matmul_bound: ClassVar[bool] = True
    no_decay_on_vectors: ClassVar[bool] = True

    def __init__(
        self,
        network: Annotated[Transformer, "the decoder, causal; the encoder has the same shape"],
        specials: Annotated[dict[str, int], "ids of the tokenizer's special tokens, by role"],
        num_classes: Annotated[Natural, "values of the first label of the data; 0: there is none"] = 0,
        code: Annotated[Literal["gaussian", "none"], "none: the decoder alone, a language model"] = "gaussian",
        latent: Annotated[Count, "numbers in the code"] = 32,
        encoder_layers: Annotated[Count | None, "blocks of the encoder; null: as many as the network"] = None,
        beta: Annotated[NonNegative, "weight of the KL term"] = 1.0,
        kl_warmup: Annotated[Share, "share of the run over which that weight rises from 0"] = 0.5,
        word_dropout: Annotated[Share, "share of the words that the decoder reads as unknown, in training"] = 0.0,
        free_bits: Annotated[NonNegative, "nats of each dimension of the code that cost nothing in training"] = 0.25,
        style_width: Annotated[Natural, "first numbers of the code, which say the first label; 0: no style"] = 0,
        style_weight: Annotated[NonNegative, "weight of the style's cross-entropy, in nats a sentence"] = 1.0,
        adversary_weight: Annotated[NonNegative, "weight of hiding the label from the rest of the code"] = 1.0,
    ):
        super().__init__()
        self.latent = latent if code == "gaussian" else 0
        self.decoder = CodeDecoder(network, self.latent, specials)
        self.encoder: SentenceEncoder | None = None
        if self.latent:
            shape = network.options | {"causal": False, "layers": encoder_layers or network.layers}
            self.encoder = SentenceEncoder(Transformer(**shape), 2 * latent)
            self.encoder.network.token_table = network.token_table  # a word is the same to both
        self.unknown = specials.get("mask", specials.get("unk", self.decoder.start))
        self.beta, self.kl_warmup, self.word_dropout, self.free_bits = beta, kl_warmup, word_dropout, free_bits
        self.style = StyleSplit(self.latent, style_width, num_classes, style_weight, adversary_weight)

    @property
    def network(self) -> Transformer:
        """Return the decoder's network."""
        return self.decoder.network

    @property
    def style_width(self) -> int:
        """Return how many of the first numbers of a code are its style; 0 without one."""
        return self.style.width

    # --- the loss ---

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss in nats a token, and its parts in nats a sentence: `distortion` (-log p(x|z)), `rate` (KL).

        Outside training the loss is the negative ELBO with `beta`, without free bits and dropped words.
        """
        ids, length = trimmed(batch)
        mean, log_var = self.posterior_of(batch)
        z = reparameterize(mean, log_var)
        distortion = -self.decoder.log_probability(z, ids, length, self._dropped(ids)).mean()
        rates = kl_by_dimension(mean, log_var).mean(0)  # (Z,)
        n_tokens = length.float().mean() + 1
        loss = (distortion + self._kl_weight(batch) * self._charged(rates)) / n_tokens
        losses = {"distortion": distortion, "rate": rates.sum()}
        if self.style_width:
            parts = self.style(z, batch["label"])
            loss, losses = loss + parts.pop("loss") / n_tokens, losses | parts
        return {"loss": loss, **losses}

    def _kl_weight(self, batch: Batch) -> float:
        """Return the weight of the KL term at this batch; outside training it is beta."""
        if not self.training or "progress" not in batch or not self.kl_warmup:
            return self.beta
        return self.beta * min(1.0, float(batch["progress"]) / self.kl_warmup)

    def _charged(self, rates: Tensor) -> Tensor:
        """Return the part of the KL divergence that counts, of those of the dimensions (Z,): ()."""
        return (rates.clamp(min=self.free_bits) if self.training else rates).sum()

    def _dropped(self, ids: Tensor) -> Tensor:
        """Return what the decoder reads of sentences (B, T), in training with words dropped: (B, T + 1)."""
        read = self.decoder.read(ids)
        if not self.training or not self.word_dropout:
            return read
        drop = torch.rand(read.shape, device=read.device) < self.word_dropout
        drop[:, 0] = False  # where the sentence begins is no word
        return read.masked_fill(drop, self.unknown)

    # --- the code ---

    def posterior_of(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the mean and the log variance of the codes of sentences, (B, Z) each; without a code Z is 0."""
        ids, length = trimmed(batch)
        if self.encoder is None:
            none = torch.zeros(len(ids), 0, device=ids.device)
            return none, none
        mean, log_var = at_least_float32(self.encoder(ids, length)).chunk(2, dim=1)
        return mean, log_var.clamp(-20, 10)

    def write(self, z: Tensor, max_tokens: int, temperature: float = 0.0) -> tuple[Tensor, Tensor]:
        """Write the sentence of each code (B, Z), see `CodeDecoder.write`."""
        return self.decoder.write(z, min(max_tokens, self.decoder.max_tokens), temperature)

    # --- bounds on the likelihood ---

    def lower_bound(self, batch: Batch, samples: int) -> Tensor:
        """Return the ELBO of sentences in nats, (B,), averaged over posterior samples."""
        mean, log_var = self.posterior_of(batch)
        log_p = [self.decoder.log_probability(reparameterize(mean, log_var), *trimmed(batch)) for _ in range(samples)]
        return torch.stack(log_p).mean(0) - kl_by_dimension(mean, log_var).sum(1)

    def log_likelihood(self, batch: Batch, samples: int) -> Tensor:
        """Return the importance-weighted bound on log p(x), (B,) in nats (Burda et al., arXiv 1509.00519, eq. 8).

        Without a code it is exact, whatever the number of samples.
        """
        ids, length = trimmed(batch)
        mean, log_var = self.posterior_of(batch)
        weights = []
        for _ in range(samples if self.latent else 1):
            noise = torch.randn_like(mean)
            z = mean + (0.5 * log_var).exp() * noise
            log_ratio = 0.5 * (noise.square() + log_var - z.square()).sum(1)  # log p(z) / q(z|x)
            weights.append(self.decoder.log_probability(z, ids, length) + log_ratio)
        return torch.stack(weights).logsumexp(0) - math.log(len(weights))

    # --- collapse ---

    def collapse_advice(self, sign: str, enough: int) -> str:
        """Return what to try against a sign of collapse, see `AdvisesOnCollapse`."""
        if sign != "posterior_collapse":
            return ""
        return " or ".join(list(self._cures()) or ["more steps (trainer.max_steps)"])

    def _cures(self) -> Iterator[str]:
        """Yield options that keep the code in use, with values beyond the present ones."""
        if self.free_bits < 0.5:
            yield f"model.free_bits={0.25 if self.free_bits < 0.25 else 0.5:g}"
        if self.word_dropout < 0.6:
            yield f"model.word_dropout={0.3 if self.word_dropout < 0.3 else 0.6:g}"
        if self.kl_warmup < 0.5:
            yield "model.kl_warmup=0.5"


def trimmed(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the tokens of a batch without the columns that are padding in all rows, (B, T), and the lengths (B,)."""
    ids, length = batch["ids"], batch["length"]
    return ids[:, : int(length.max())], length
