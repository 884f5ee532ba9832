"""Autoencoder with a categorical code: it sorts images into classes without labels."""

from collections.abc import Callable
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import NonNegative, Positive
from ssl_cli.data.images.augment import Augment
from ssl_cli.errors import InputError
from ssl_cli.methods.autoencoders.autoencoder import (
    STATISTICS_BATCH,
    Batch,
    check_outputs_per_latent,
    init_output_to_mean,
)
from ssl_cli.methods.autoencoders.variational import encode_gaussian, gaussian_kl, reparameterize
from ssl_cli.models.convnet import Classifier
from ssl_cli.models.images import at_least_float32, float_batches, smoothed_relative_error
from ssl_cli.models.mlp import AutoencoderNetwork

EPSILON = 1e-8  # least probability, so that its logarithm is finite


class CategoricalAutoencoder(nn.Module):
    """Cross-entropy of the image reconstructed from a one-hot class and a small Gaussian style code.

    The class is drawn by the Gumbel-softmax with the straight-through gradient (Jang et al., arXiv 1611.01144; Maddison
    et al., arXiv 1611.00712). That alone sorts images by whatever reduces the error most, slant and thickness first. So
    the class is chosen from a deformed view of the image, and the classes of two such views should be informative about
    each other: `mutual_info_weight` weighs their mutual information (Ji et al., arXiv 1807.06653, eq. 3), and
    `entropy_weight` the entropy of the class shares. `style_weight` weighs the KL term of the style code: what the
    style encodes, the class need not.
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)
    code_counts: Tensor

    def __init__(
        self,
        network: AutoencoderNetwork,
        classifier: Classifier,
        deform: Augment,
        temperature: Annotated[Positive, "temperature of the Gumbel-softmax"] = 1.0,
        style_weight: Annotated[NonNegative, "weight of the style code's KL term"] = 4.0,
        mutual_info_weight: Annotated[
            NonNegative, "weight of the mutual information of the classes of two deformed views"
        ] = 100.0,
        entropy_weight: Annotated[NonNegative, "weight of the entropy of the class shares"] = 100.0,
    ):
        super().__init__()
        if getattr(network, "condition", 0) != classifier.classes:
            raise InputError(
                "model.network must be an MLPAutoencoder whose condition is the number of classes, "
                f"{classifier.classes}."
            )
        check_outputs_per_latent(network, 2, condition=classifier.classes)
        self.network, self.classifier, self.deform = network, classifier, deform
        self.temperature, self.style_weight = temperature, style_weight
        self.mutual_info_weight, self.entropy_weight = mutual_info_weight, entropy_weight
        self.alphabet = classifier.classes
        self.register_buffer("code_counts", torch.zeros(1, self.alphabet, dtype=torch.int64))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss per pixel, and its parts: the error and the style's KL term (`rate`) in nats per image, and
        the mutual information of the views (`agreement`) in nats."""
        x = batch["x"]
        views = torch.cat([self.deform(x), self.deform(x)])
        first, second = at_least_float32(self.classifier(views)).chunk(2)  # (B, K) logits
        if self.training:
            chosen = functional.gumbel_softmax(first, self.temperature, hard=True)
        else:
            chosen = one_hot(first.argmax(1), self.alphabet)
        mean, log_var = encode_gaussian(self.network, x)  # of the style
        code = torch.cat([chosen, reparameterize(mean, log_var)], dim=1)  # (B, K + S)
        out = at_least_float32(self.network.decode(code.to(x.dtype)))
        error = functional.binary_cross_entropy_with_logits(out, x, reduction="none").flatten(1).sum(1).mean()
        rate = gaussian_kl(mean, log_var).mean()
        information, entropy = mutual_information(first.softmax(1), second.softmax(1))
        loss = error + self.style_weight * rate - self.mutual_info_weight * information - self.entropy_weight * entropy
        return {"loss": loss / x[0].numel(), "error": error, "rate": rate, "agreement": information}

    def initialize_from_data(self, x: Tensor, seed: int, log: Callable[[str], None]) -> None:
        """Initialize the output to the mean training image; see `InitializesFromData`."""
        init_output_to_mean(self.network, x)

    # --- codes ---

    def classify(self, batch: Batch) -> Tensor:
        """Return the most likely class of each image, (B,) int64."""
        return self.classifier(batch["x"]).argmax(1)

    def codes(self, batch: Batch) -> Tensor:
        """Return the most likely class of each image as a code of one symbol, (B, 1) int64."""
        return self.classify(batch)[:, None]

    def fit_statistics(self, x: Tensor) -> None:
        """Count how often each class is chosen over the training images (N, C, H, W)."""
        batches = float_batches(x, STATISTICS_BATCH, self.code_counts.device)
        chosen = torch.cat([self.classify({"x": part}) for part in batches])
        self.code_counts.copy_(torch.bincount(chosen, minlength=self.alphabet)[None])

    def embed(self, batch: Batch) -> Tensor:
        """Return the class probabilities and the mean of the style code, (B, K + S)."""
        return torch.cat([self.classifier(batch["x"]).softmax(1), encode_gaussian(self.network, batch["x"])[0]], dim=1)

    def decode(self, z: Tensor) -> Tensor:
        """Return the images (B, C, H, W) of codes (B, K + S): a class, one-hot or a mixture, and a style."""
        return self.network.decode(z).sigmoid()

    def reconstruct(self, batch: Batch) -> Tensor:
        """Return the reconstructions (B, C, H, W) from the most likely class and the mean of the style code."""
        chosen = one_hot(self.classify(batch), self.alphabet)
        style = encode_gaussian(self.network, batch["x"])[0]
        return self.decode(torch.cat([chosen, style], dim=1)).view_as(batch["x"])

    def generate(self, n: int) -> Tensor:
        """Return new images (n, C, H, W): classes as often as in training, styles from N(0, 1). Random draws come from
        torch's global generator."""
        chosen = torch.multinomial(self.code_counts[0].float().clamp(min=EPSILON), n, replacement=True)
        style = torch.randn(n, self.network.latent, device=chosen.device)
        return self.decode(torch.cat([one_hot(chosen, self.alphabet), style], dim=1))

    def collapse_advice(self, sign: str, enough: int) -> str:
        """Return what to try against a sign of collapse, see `AdvisesOnCollapse`."""
        if sign == "constant_output":
            return "a smaller optim.lr, more steps (trainer.max_steps), or a wider network"
        if sign != "unused_codes":
            return ""
        return f"a larger model.entropy_weight than {self.entropy_weight:g} or model.classifier.classes={enough}"

    def score(self, batch: Batch) -> Tensor:
        """Return the mean `smoothed_relative_error` of each image, (B,); larger is more abnormal."""
        return smoothed_relative_error(self.reconstruct(batch), batch["x"]).flatten(1).mean(1)


def one_hot(index: Tensor, classes: int) -> Tensor:
    """Return one-hot vectors (B, K) float32 of classes (B,) int64."""
    return functional.one_hot(index, classes).float()


def mutual_information(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mutual information of the classes of two views, and the entropy of the class shares, in nats.

    `first`, `second` (B, K): each view's probabilities (arXiv 1807.06653, eqs. 2 and 3, the joint made symmetric).
    """
    with torch.autocast(first.device.type, enabled=False):  # rounding errors count a hundredfold in the loss
        joint = first.T @ second / len(first)
    joint = ((joint + joint.T) / 2).clamp(min=EPSILON)  # (K, K)
    share = joint.sum(1)  # (K,)
    information = (joint * (joint.log() - share.log()[:, None] - share.log()[None])).sum()
    return information, torch.special.entr(share).sum()
