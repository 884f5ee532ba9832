"""Split of a code into style and content: one part says a label, and the other is not to."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.errors import InputError
from ssl_cli.models.gradient_reversal import reverse_gradient

HIDDEN = 64  # units of the adversary


class StyleSplit(nn.Module):
    """Losses that put a label into the first `width` numbers of a code, and keep it out of the others.

    A linear head reads the label in the style. An adversary, of one hidden layer, reads it in the content, which learns
    by the reversed gradient to hide it (arXiv 1808.04339, with the reversal of 1505.07818). With a width of 0 there is
    no split. Raises InputError if there are no labels, or no numbers are left for the content.
    """

    def __init__(self, latent: int, width: int, num_classes: int, style_weight: float, adversary_weight: float):
        super().__init__()
        self.width, self.style_weight, self.adversary_weight = width, style_weight, adversary_weight
        if not width:
            return
        if width >= latent:
            raise InputError(f"model.style_width={width} leaves no numbers for the content: model.latent={latent}.")
        if num_classes < 2:
            raise InputError(f"model.style_width={width} needs sentences of two labels or more: set data.labels.")
        self.head = nn.Linear(width, num_classes)
        self.adversary = nn.Sequential(nn.Linear(latent - width, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, num_classes))

    def forward(self, z: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Return the weighted `loss`, and its parts in nats a sentence: codes (B, Z) and labels (B,), -1 if unknown."""
        is_known = label >= 0
        n = is_known.sum().clamp(min=1)
        parts = {"style_loss": self.head(z[:, : self.width])}
        parts["adversary_loss"] = self.adversary(reverse_gradient(z[:, self.width :]))
        losses = {
            name: functional.cross_entropy(logits.float(), label, ignore_index=-1, reduction="sum") / n
            for name, logits in parts.items()
        }
        total = self.style_weight * losses["style_loss"] + self.adversary_weight * losses["adversary_loss"]
        return {"loss": total, **losses}

    def swap(self, style_of: Tensor, content_of: Tensor) -> Tensor:
        """Return the codes (B, Z) with the style of some and the content of others."""
        return torch.cat([style_of[:, : self.width], content_of[:, self.width :]], 1)
