"""A small text auto-encoder on small articles."""

from typing import Any

import torch

from ssl_cli.data.batches import ArrayDataset
from ssl_cli.data.tokenizers.trainers import WordLevel
from ssl_cli.methods.text_latent.text_autoencoder import TextAutoencoder
from ssl_cli.methods.text_latent.token_rows import as_read
from ssl_cli.models.encoder_decoder import EncoderDecoder
from tests.helpers.articles import make_pairs

ARTICLES = [pair["body"] for pair in make_pairs(40)]
TITLES = [pair["headline"] for pair in make_pairs(40, seed=1)]


def make_model(**options: Any) -> TextAutoencoder:
    """Return an untrained model with its tokenizer, the same each time."""
    texts = map(as_read, (*TITLES, *ARTICLES))
    tokenizer = WordLevel(vocab_size=200, lowercase=True, sample_bytes=10**6).train(texts)
    torch.manual_seed(0)
    shape = {"layers": 1, "width": 16, "heads": 1, "positions": "rotary", "norm": "pre", "dropout": 0.1}
    network = EncoderDecoder(tokenizer.vocab_size, 32, **shape)  # type: ignore[arg-type]
    model = TextAutoencoder(network, tokenizer.specials, max_tokens=5, rebuilt_tokens=8, **options)
    model.use_tokenizer(tokenizer)
    return model


def make_rows(model: TextAutoencoder) -> ArrayDataset:
    """Return the articles with titles of others as rows."""
    return model.rows(ARTICLES, TITLES, seed=0)


def make_batch(model: TextAutoencoder, progress: float, k: int = 0) -> dict[str, Any]:
    """Return a training batch of four articles, at a share of the run."""
    return make_rows(model)[k, torch.arange(4), 1.0] | {"progress": progress}
