"""A text as the code of a text: one network writes the summary, another rebuilds the article from it alone."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ssl_cli.data.batches import ArrayDataset
from ssl_cli.data.tokenizers.seq2seq_template import Seq2SeqTemplate, Style
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError
from ssl_cli.methods.text_latent.token_rows import Arrays, UnpairedRows, article_rows, as_read, token_arrays
from ssl_cli.models.encoder_decoder import EncoderDecoder
from ssl_cli.models.generation.constraints import Constraints
from ssl_cli.models.generation.pointer_writing import Written, write
from ssl_cli.models.pointer_generator import PointerGenerator, ReadSource

TEXTS_AT_A_TIME = 128


class TextCodec(nn.Module):
    """Generator of summaries and reconstructor of articles, two pointer-generators, and the tokenizer of both."""

    def __init__(
        self,
        network: EncoderDecoder,
        specials: Mapping[str, int],
        style: Style,
        first_words: int,
        max_tokens: int,
        rebuilt_tokens: int,
        reconstructor_layers: int | None,
        no_repeat_ngram: int,
    ):
        """Raise InputError if what is to be written does not fit the network's context."""
        super().__init__()
        options = network.options | {"layers": reconstructor_layers or network.layers}
        options["decoder_layers"] = reconstructor_layers or network.decoder_layers
        self.generator, self.reconstructor = PointerGenerator(network), PointerGenerator(EncoderDecoder(**options))
        template = Seq2SeqTemplate.for_style(style, specials)
        self.prefix, self.end = (template.start, *template.target_prefix), template.end
        self.banned = sorted(set(specials.values()) - {template.end})
        room = network.context - len(self.prefix) + 1
        for name, n_tokens in (("rebuilt_tokens", rebuilt_tokens), ("max_tokens", max_tokens + 1)):
            if n_tokens > room:
                needed = network.context + n_tokens - room
                raise InputError(
                    f"model.{name} does not fit: with special tokens {needed} tokens are to be written, and "
                    f"model.network.context={network.context} has no room for more; set one of them."
                )
        self.first_words, self.max_tokens, self.rebuilt_tokens = first_words, max_tokens, rebuilt_tokens
        self.no_repeat_ngram, self.source_tokens = no_repeat_ngram, network.context
        self.tokenizer: Tokenizer | None = None

    # --- tokens of texts ---

    def use_tokenizer(self, tokenizer: Tokenizer) -> None:
        """Set the tokenizer between texts and tokens."""
        self.tokenizer = tokenizer

    def rows(self, articles: Sequence[str], titles: Sequence[str], seed: int) -> ArrayDataset:
        """Return articles as rows; with titles, each batch has some of these."""
        assert self.tokenizer is not None
        rows = article_rows(token_arrays(self.tokenizer, articles, self.source_tokens, self.first_words))
        if not titles:
            return rows
        return UnpairedRows(rows, token_arrays(self.tokenizer, titles, self.max_tokens), seed)

    # --- texts -> vectors, and texts ---

    def embed(self, texts: Sequence[str]) -> Tensor:
        """Return the mean of what the generator's encoder makes of each text's tokens, (N, C)."""
        vectors = list[Tensor]()
        with torch.inference_mode(), without_dropout(self):
            for arrays in self._batches(texts, self.source_tokens, self.first_words):
                memory = self.generator.read(arrays["ids"], arrays["length"]).memory  # (B, S, C)
                is_real = torch.arange(memory.shape[1], device=memory.device) < arrays["length"][:, None]
                vectors.append((memory * is_real[..., None]).sum(1) / arrays["length"][:, None])
        return torch.cat(vectors)

    def summarize(self, texts: Sequence[str]) -> list[str]:
        """Return a summary of each text; "" of one without words."""
        summaries = list[str]()
        with torch.inference_mode(), without_dropout(self):
            for arrays in self._batches(texts, self.source_tokens, self.first_words):
                source = self.generator.read(arrays["ids"], arrays["length"])
                summaries += self._decode(self.write_summaries(source, sampled=False))
        return [summary if as_read(text) else "" for text, summary in zip(texts, summaries, strict=True)]

    def rebuild(self, summaries: Sequence[str]) -> list[str]:
        """Return the beginning of the article that each summary makes one think of."""
        articles = list[str]()
        device = self.generator.key.weight.device
        options = (self.prefix, Constraints.of((*self.banned, self.end), None, device), self.rebuilt_tokens)
        with torch.inference_mode(), without_dropout(self):
            for arrays in self._batches(summaries, self.source_tokens):
                source = self.read_summaries(Written(arrays["ids"], arrays["length"]))
                articles += self._decode(write(self.reconstructor, source, *options, sampled=False))
        return articles

    def rebuilding(self, articles: Sequence[str], summaries: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return how well articles follow from summaries, given each article's tokens before the one in question.

        Nats a token (N,), and the share of the tokens that are predicted (N,).
        """
        errors, hits = list[Tensor](), list[Tensor]()
        with torch.inference_mode(), without_dropout(self):
            for article, summary in zip(
                self._batches(articles, self.rebuilt_tokens, self.first_words),
                self._batches(summaries, self.source_tokens),
                strict=True,
            ):
                text = Written(article["ids"], article["length"])
                source = self.read_summaries(Written(summary["ids"], summary["length"]))
                scores = self.reconstructor.log_distribution(source, text.ids, self.prefix)  # (B, T, V)
                log_p = scores.gather(2, text.ids[..., None])[..., 0]
                for parts, value in ((errors, -log_p), (hits, (scores.argmax(2) == text.ids).float())):
                    parts.append((value * text.is_real).sum(1) / text.length)
        return torch.cat(errors).cpu(), torch.cat(hits).cpu()

    def _batches(self, texts: Sequence[str], max_tokens: int, max_words: int | None = None) -> Iterator[Arrays]:
        """Yield the tokens of some texts at a time, on the model's device."""
        assert self.tokenizer is not None
        for first in range(0, len(texts), TEXTS_AT_A_TIME):
            arrays = token_arrays(self.tokenizer, texts[first : first + TEXTS_AT_A_TIME], max_tokens, max_words)
            arrays["length"].clamp_(min=1)  # of a text without words: one padding token
            yield {name: array.to(self.generator.key.weight.device) for name, array in arrays.items()}

    def _decode(self, written: Written) -> list[str]:
        assert self.tokenizer is not None
        rows = [ids[:n].tolist() for ids, n in zip(written.ids, written.length, strict=True)]
        return [text.strip() for text in self.tokenizer.library.decode_batch(rows, skip_special_tokens=True)]

    # --- tokens -> tokens and their probabilities ---

    @property
    def constraints(self) -> Constraints:
        """The rules of a summary: it has a token, and none of the special ones; no n-gram comes twice."""
        device, n = self.generator.key.weight.device, self.no_repeat_ngram
        return Constraints.of(self.banned, self.end, device, no_repeat_ngram=n, min_tokens=1)

    def write_summaries(self, source: ReadSource, sampled: bool, keep_noise: bool = False) -> Written:
        """Write the summary of each article that the generator has read."""
        return write(self.generator, source, self.prefix, self.constraints, self.max_tokens, sampled, keep_noise)

    def read_summaries(self, written: Written, choices: Tensor | None = None) -> ReadSource:
        """Return summaries as the reconstructor reads them."""
        return self.reconstructor.read(written.ids, written.length, choices)

    def rebuilding_loss(self, summary: ReadSource, article: Written) -> Tensor:
        """Return the cross-entropy of each article's beginning given its summary, in nats a token: (B,)."""
        targets, is_real = article.ids[:, : self.rebuilt_tokens], article.is_real[:, : self.rebuilt_tokens]
        log_p = self.reconstructor.log_probability(summary, targets, self.prefix)
        return -(log_p * is_real).sum(1) / is_real.sum(1).clamp(min=1)


@contextmanager
def without_dropout(module: nn.Module) -> Iterator[None]:
    """Switch dropout off while it is open: drawn texts come from the very model whose gradient is computed."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode
