"""Auto-encoder with a text as its code: one network writes it, one rebuilds the article, one asks for real language."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Count, Natural, NonNegative, Positive, Range, Share
from ssl_cli.data.tokenizers.seq2seq_template import Style
from ssl_cli.methods.text_latent.mixed_words import hide_titles, random_words
from ssl_cli.methods.text_latent.policy_gradient import leave_one_out, reinforce_loss, straight_through
from ssl_cli.methods.text_latent.text_codec import TextCodec, without_dropout
from ssl_cli.models.encoder_decoder import EncoderDecoder
from ssl_cli.models.generation.pointer_writing import Written, constrained
from ssl_cli.models.prefix_classifier import PrefixClassifier

Batch = Mapping[str, Any]
RECONSTRUCTOR, DISCRIMINATOR, GENERATOR = "reconstructor", "discriminator", "generator"
RANDOM_WORDS = (4, 10)  # words of a random summary: from, to


class TextAutoencoder(TextCodec):
    """Generator, reconstructor and discriminator in turn (seq2seq2seq: Wang and Lee, arXiv 1810.02851).

    The generator reads an article and writes at most `max_tokens` tokens; the reconstructor rebuilds the beginning of
    the article from these alone; the discriminator learns to distinguish them from titles of other articles. Both
    reward the generator. In the first part of the run, `warmup`, random words of the article take the place of what the
    generator writes, and it learns to find titles that are hidden among the words of articles (arXiv 1809.02669), which
    it goes on to do. With discriminator=none no title is ever read, and there is no such beginning: what the generator
    writes then is a language of its own.
    """

    reads: ClassVar[tuple[str, ...]] = ("articles", "titles")
    batch_size: ClassVar[int] = 32
    default_steps: ClassVar[int] = 1400
    gradient_clip_val: ClassVar[float] = 1.0
    schedule: ClassVar[str] = "linear"
    networks: ClassVar[tuple[str, ...]] = ("generator", "reconstructor")
    is_matmul_bound: ClassVar[bool] = True
    no_decay_on_vectors: ClassVar[bool] = True

    def __init__(
        self,
        network: Annotated[EncoderDecoder, "the generator's; the reconstructor has the same shape"],
        specials: Annotated[dict[str, int], "ids of the tokenizer's special tokens, by role"],
        style: Annotated[Style, "whose special tokens the decoder reads and writes"] = "t5",
        estimator: Annotated[
            Literal["reinforce", "gumbel"], "gradient of what is drawn: by rewards, or straight through the choice"
        ] = "reinforce",
        discriminator: Annotated[Literal["causal", "none"], "none: nothing asks for real language"] = "causal",
        first_words: Annotated[
            Count, "words of an article that are read; of Chinese, characters"
        ] = 30,
        max_tokens: Annotated[Count, "most tokens of a summary: a hard limit"] = 12,
        no_repeat_ngram: Annotated[Natural, "tokens in a row that a summary has only once; 0: no such limit"] = 1,
        rebuilt_tokens: Annotated[Count, "tokens at the beginning of the article that are rebuilt"] = 32,
        reconstructor_layers: Annotated[Count | None, "blocks of each half of it; null: as many as the network"] = 1,
        discriminator_layers: Annotated[Count, "blocks of the discriminator"] = 1,
        samples: Annotated[int, Range(2, 64), "summaries drawn of an article, each the baseline of the others"] = 2,
        reconstruction_weight: Annotated[
            NonNegative, "of the reconstructor's reward, in standard deviations"
        ] = 1.0,
        discriminator_weight: Annotated[NonNegative, "of the discriminator's, in its own"] = 1.0,
        denoising_weight: Annotated[NonNegative, "of the cross-entropy of hidden titles"] = 1.0,
        warmup: Annotated[Share, "share of the run before the generator is rewarded"] = 0.7,
        kept: Annotated[Share, "share of an article's words that a title is hidden among"] = 0.75,
        temperature: Annotated[Positive, "of estimator=gumbel: of the softmax that the gradient goes through"] = 1.0,
        discriminator_lr: Annotated[Positive, "learning rate of the discriminator, as a share of the others'"] = 1.0,
    ):
        super().__init__(
            network, specials, style, first_words, max_tokens, rebuilt_tokens, reconstructor_layers, no_repeat_ngram
        )
        self.discriminator: PrefixClassifier | None = None
        if discriminator == "causal":
            shape = (discriminator_layers, network.width, 0.3)  # a few thousand titles are soon known by heart
            self.discriminator = PrefixClassifier(network.vocab_size, max(network.context, max_tokens + 1), *shape)
        self.estimator, self.samples, self.temperature = estimator, samples, temperature
        self.reconstruction_weight, self.discriminator_weight = reconstruction_weight, discriminator_weight
        self.denoising_weight, self.kept = denoising_weight, kept
        self.warmup = warmup if self.discriminator is not None else 0.0
        self.lr_scales = {f"discriminator.{name}": discriminator_lr for name, _ in self._discriminator_weights()}
        self._written: dict[int, Written] = {}  # of the batches of a step, by their numbers

    def _discriminator_weights(self) -> list[tuple[str, nn.Parameter]]:
        return [] if self.discriminator is None else list(self.discriminator.named_parameters())

    # --- turns ---

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the weights of each turn; the generator's is the last."""
        groups = {RECONSTRUCTOR: list(self.reconstructor.parameters())}
        if self.discriminator is not None:
            groups[DISCRIMINATOR] = list(self.discriminator.parameters())
        return groups | {GENERATOR: list(self.generator.parameters())}

    def losses(self, batch: Batch, turn: str) -> dict[str, Tensor]:
        """Return the losses of a turn, in nats a token, except those of a reward."""
        article, written = _text(batch, "article"), self._summaries(batch)
        if turn == GENERATOR:
            return self._generator_losses(batch, article, self._written.pop(int(batch["k"])))
        one_each = written.take(torch.arange(len(article.ids), device=article.ids.device) * self._n_each(batch))
        if turn == DISCRIMINATOR:
            return self._discriminator_losses(_text(batch, "title"), one_each)
        return {"loss": self.rebuilding_loss(self.read_summaries(one_each), article).mean()}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of rebuilding articles from the likeliest summaries, in nats a token, and their length."""
        article = _text(batch, "article")
        with torch.no_grad():
            written = self.write_summaries(self.generator.read(article.ids, article.length), sampled=False)
        loss = self.rebuilding_loss(self.read_summaries(written), article).mean()
        return {"loss": loss, "tokens": written.length.float().mean()}

    def _is_warming_up(self, batch: Batch) -> bool:
        return float(batch["progress"]) < self.warmup

    def _n_each(self, batch: Batch) -> int:
        """Return the number of summaries of each article in a step."""
        return 1 if self._is_warming_up(batch) or self.estimator == "gumbel" else self.samples

    def _summaries(self, batch: Batch) -> Written:
        """Return the summaries of a batch: drawn once a step, for all turns."""
        k = int(batch["k"])
        if k not in self._written:
            article = _text(batch, "article")
            if self._is_warming_up(batch):
                low, high = RANDOM_WORDS
                n_words = torch.randint(low, high + 1, (len(article.ids),), device=article.ids.device)
                self._written[k] = random_words(article, _words(batch, "article", article), n_words, self.max_tokens)
            else:
                with torch.no_grad(), without_dropout(self.generator):
                    source = self.generator.read(article.ids, article.length).repeat(self._n_each(batch))
                    self._written[k] = self.write_summaries(source, sampled=True, keep_noise=self.estimator == "gumbel")
        return self._written[k]

    # --- losses ---

    def _realness(self, written: Written, choices: Tensor | None = None) -> Tensor:
        """Return the mean log-probability, over its prefixes, that each text is real: (B,)."""
        assert self.discriminator is not None
        ids, is_real = written.with_end(self.end)
        if choices is not None:
            choices = torch.cat([choices, functional.one_hot(ids[:, -1:], choices.shape[2]).to(choices)], 1)
        log_p = functional.logsigmoid(self.discriminator(ids, choices))
        return (log_p * is_real).sum(1) / is_real.sum(1)

    def _discriminator_losses(self, titles: Written, written: Written) -> dict[str, Tensor]:
        """Return the cross-entropy of each prefix as one of a title or of a summary, and how many are right."""
        assert self.discriminator is not None
        losses, hits = list[Tensor](), list[Tensor]()
        for texts, sign in ((titles, 1), (written, -1)):
            ids, is_real = texts.with_end(self.end)
            logits = sign * self.discriminator(ids)
            losses.append(-functional.logsigmoid(logits)[is_real].mean())
            hits.append((logits > 0)[is_real].float().mean())
        return {"loss": (losses[0] + losses[1]) / 2, "discriminator_accuracy": (hits[0] + hits[1]) / 2}

    def _generator_losses(self, batch: Batch, article: Written, written: Written) -> dict[str, Tensor]:
        """Return the generator's loss, and its parts."""
        losses: dict[str, Tensor] = {}
        if self.discriminator is not None:
            losses["denoising"] = self._denoising_loss(batch, article)
        total = self.denoising_weight * losses["denoising"] if losses else torch.zeros((), device=article.ids.device)
        if not self._is_warming_up(batch):
            with without_dropout(self):
                estimate = self._reinforce if self.estimator == "reinforce" else self._gumbel
                rewarded = estimate(article, written)
            total, losses = total + rewarded.pop("rewarded"), losses | rewarded
        return {"loss": total, **losses}

    def _denoising_loss(self, batch: Batch, article: Written) -> Tensor:
        """Return the cross-entropy of titles hidden in the articles of other rows, in nats a token."""
        title = _text(batch, "title")
        words = _words(batch, "title", title), _words(batch, "article", article)
        mixed = hide_titles(title, article, words, self.kept, self.source_tokens).trimmed()
        targets, is_real = title.with_end(self.end)
        source = self.generator.read(mixed.ids, mixed.length)
        return -self.generator.log_probability(source, targets, self.prefix)[is_real].mean()

    def _reinforce(self, article: Written, written: Written) -> dict[str, Tensor]:
        """Return the loss whose gradient is that of the expected reward (Williams, 1992), and the rewards."""
        n = self.samples
        with torch.no_grad():
            of_article = Written(article.ids.repeat_interleave(n, 0), article.length.repeat_interleave(n))
            error = self.rebuilding_loss(self.read_summaries(written), of_article).view(-1, n)  # (B, n)
            advantage = self.reconstruction_weight * leave_one_out(-error)
            losses = {"rebuilding": error.mean()}
            if self.discriminator is not None:
                realness = self._realness(written).view(-1, n)
                advantage = advantage + self.discriminator_weight * leave_one_out(realness)
                losses["realness"] = realness.mean()
        source = self.generator.read(article.ids, article.length).repeat(n)
        ids, is_real = (each[:, : self.max_tokens] for each in written.with_end(self.end))  # a later end is no choice
        scores = constrained(self.generator.log_distribution(source, ids, self.prefix), ids, self.constraints)
        log_p = scores.gather(2, ids[..., None])[..., 0]
        return losses | {"rewarded": reinforce_loss(log_p, is_real, advantage.flatten())}

    def _gumbel(self, article: Written, written: Written) -> dict[str, Tensor]:
        """Return the losses of the other two, whose gradient goes straight through the choices of tokens."""
        assert written.noise is not None
        source = self.generator.read(article.ids, article.length)
        ids = written.with_end(self.end)[0][:, : self.max_tokens]
        scores = constrained(self.generator.log_distribution(source, ids, self.prefix), ids, self.constraints)
        choices = straight_through(scores + written.noise, ids, self.temperature)  # (B, T, V)
        error = self.rebuilding_loss(self.read_summaries(written, choices), article).mean()
        losses = {"rebuilding": error, "rewarded": self.reconstruction_weight * error}
        if self.discriminator is not None:
            losses["realness"] = self._realness(written, choices).mean()
            losses["rewarded"] = losses["rewarded"] - self.discriminator_weight * losses["realness"]
        return losses


def _words(batch: Batch, name: str, text: Written) -> Tensor:
    """Return the numbers of the words of a text's tokens, (B, L)."""
    return batch[f"{name}_word"][:, : text.ids.shape[1]]


def _text(batch: Batch, name: str) -> Written:
    return Written(batch[f"{name}_ids"], batch[f"{name}_length"]).trimmed()
