"""Classifier of every prefix of a text, such as the discriminator of an adversarial language model."""

from torch import Tensor, nn

from ssl_cli.models.transformer import Transformer


class PrefixClassifier(nn.Module):
    """Causal transformer with a logit at each token: how real the text up to there looks. (B, T) -> (B, T)."""

    def __init__(self, vocab_size: int, context: int, layers: int, width: int, dropout: float):
        super().__init__()
        self.network = Transformer(
            vocab_size, context, None, layers, width, positions="rotary", norm="pre", causal=True, dropout=dropout
        )
        self.decide = nn.Linear(width, 1)

    def forward(self, ids: Tensor, choices: Tensor | None = None) -> Tensor:
        """Return the logit of each prefix (B, T) of texts (B, T).

        `choices` (B, T, V) are the tokens as one-hot vectors with a gradient.
        """
        vectors = None if choices is None else choices @ self.network.token_table.weight
        return self.decide(self.network(ids, vectors=vectors))[..., 0].float()
