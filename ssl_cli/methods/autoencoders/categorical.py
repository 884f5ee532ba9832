"""Squeeze an image through the choice of one class: the auto-encoder that sorts without labels."""

from collections.abc import Callable
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import NonNegative, Positive
from ssl_cli.data.images.augment import Deform
from ssl_cli.errors import InputError
from ssl_cli.methods.autoencoders.autoencoder import AT_ONCE, Batch, check_outputs_per_latent, start_at_mean
from ssl_cli.methods.autoencoders.variational import drawn, gaussian, gaussian_kl
from ssl_cli.models.convnet import Classifier
from ssl_cli.models.images import misfit, parts, precise
from ssl_cli.models.mlp import EncoderDecoder

TINY = 1e-8


class CategoricalAutoencoder(nn.Module):
    """Cross-entropy of the image rebuilt from a one-hot code and a small Gaussian style code beside it.

    The class is drawn by the Gumbel-softmax with the straight-through gradient (Jang et al., arXiv 1611.01144; Maddison
    et al., arXiv 1611.00712). That alone sorts images by whatever saves most pixels, slant and thickness first. So the
    class is chosen from a deformed view, and the classes of two such views are to tell most of each other: their mutual
    information (Ji et al., arXiv 1807.06653, eq. 3) counts `agreement` nats a nat, and the entropy of the classes'
    shares `balance`. `style_weight` weighs the style code's KL term: what style tells, the class need not.
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)
    code_counts: Tensor

    def __init__(
        self,
        network: EncoderDecoder,
        classifier: Classifier,
        deform: Deform,
        temperature: Annotated[Positive, "of the Gumbel-softmax"] = 1.0,
        style_weight: Annotated[NonNegative, "weight of the style code's KL term"] = 4.0,
        mutual_info_weight: Annotated[
            NonNegative, "weight of what the classes of two views tell of each other"
        ] = 100.0,
        entropy_weight: Annotated[NonNegative, "weight of the entropy of the classes' shares"] = 100.0,
    ):
        super().__init__()
        if getattr(network, "condition", 0) != classifier.classes:
            raise InputError(
                f"model.network must be an Autoencoder whose condition is the number of classes, {classifier.classes}."
            )
        check_outputs_per_latent(network, 2, condition=classifier.classes)
        self.network, self.classifier, self.deform = network, classifier, deform
        self.temperature, self.style_weight = temperature, style_weight
        self.mutual_info_weight, self.entropy_weight = mutual_info_weight, entropy_weight
        self.alphabet = classifier.classes
        self.register_buffer("code_counts", torch.zeros(1, self.alphabet, dtype=torch.int64))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """loss a pixel, and its parts: the error and the style's KL term in nats an image, the agreement in nats"""
        x = batch["x"]
        views = torch.cat([self.deform(x), self.deform(x)])
        first, second = precise(self.classifier(views)).chunk(2)  # (B, K) logits
        if self.training:
            chosen = functional.gumbel_softmax(first, self.temperature, hard=True)
        else:
            chosen = one_hot(first.argmax(1), self.alphabet)
        mean, log_var = gaussian(self.network, x)  # of the style
        code = torch.cat([chosen, drawn(mean, log_var)], dim=1)  # (B, K + S)
        out = precise(self.network.decode(code.to(x.dtype)))
        error = functional.binary_cross_entropy_with_logits(out, x, reduction="none").flatten(1).sum(1).mean()
        rate = gaussian_kl(mean, log_var).mean()
        shared, spread = mutual_information(first.softmax(1), second.softmax(1))
        loss = error + self.style_weight * rate - self.mutual_info_weight * shared - self.entropy_weight * spread
        return {"loss": loss / x[0].numel(), "error": error, "rate": rate, "agreement": shared}

    def initialize_from_data(self, x: Tensor, seed: int, log: Callable[[str], None]) -> None:
        """Before training: see `Pretrains`."""
        start_at_mean(self.network, x)

    # --- codes ---

    def classify(self, batch: Batch) -> Tensor:
        """(B,) int64, the likeliest class"""
        return self.classifier(batch["x"]).argmax(1)

    def codes(self, batch: Batch) -> Tensor:
        """(B, 1) int64"""
        return self.classify(batch)[:, None]

    def fit_statistics(self, x: Tensor) -> None:
        """Count how often each class is chosen over the training images (N, C, H, W)."""
        chosen = torch.cat([self.classify({"x": part}) for part in parts(x, AT_ONCE, self.code_counts.device)])
        self.code_counts.copy_(torch.bincount(chosen, minlength=self.alphabet)[None])

    def embed(self, batch: Batch) -> Tensor:
        """(B, K + S): the classes' probabilities, then the style code's mean"""
        return torch.cat([self.classifier(batch["x"]).softmax(1), gaussian(self.network, batch["x"])[0]], dim=1)

    def decode(self, z: Tensor) -> Tensor:
        """(B, K + S) -> (B, C, H, W): a class as a one-hot code or a mixture, and a style"""
        return self.network.decode(z).sigmoid()

    def reconstruct(self, batch: Batch) -> Tensor:
        """(B, C, H, W), from the likeliest class and the style code's mean"""
        chosen = one_hot(self.classify(batch), self.alphabet)
        return self.decode(torch.cat([chosen, gaussian(self.network, batch["x"])[0]], dim=1)).view_as(batch["x"])

    def generate(self, n: int) -> Tensor:
        """(n, C, H, W): a class as often as in training, a style from N(0, 1); from torch's own random stream"""
        chosen = torch.multinomial(self.code_counts[0].float().clamp(min=TINY), n, replacement=True)
        style = torch.randn(n, self.network.latent, device=chosen.device)
        return self.decode(torch.cat([one_hot(chosen, self.alphabet), style], dim=1))

    def score(self, batch: Batch) -> Tensor:
        """(B,): the mean squared error of each image, smoothed; larger is more abnormal."""
        return misfit(self.reconstruct(batch), batch["x"]).flatten(1).mean(1)


def one_hot(index: Tensor, classes: int) -> Tensor:
    """(B,) int64 -> (B, K) float32"""
    return functional.one_hot(index, classes).float()


def mutual_information(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """What the classes of two views tell of each other, and the entropy of the classes' shares, in nats.

    `first`, `second` (B, K): each view's probabilities (arXiv 1807.06653, eqs. 2 and 3, the joint made symmetric).
    """
    with torch.autocast(first.device.type, enabled=False):  # its logarithms count a hundredfold in the loss
        joint = first.T @ second / len(first)
    joint = ((joint + joint.T) / 2).clamp(min=TINY)  # (K, K)
    share = joint.sum(1)  # (K,)
    shared = (joint * (joint.log() - share.log()[:, None] - share.log()[None])).sum()
    return shared, torch.special.entr(share).sum()
