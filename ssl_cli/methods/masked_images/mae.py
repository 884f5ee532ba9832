"""Masked auto-encoder: rebuild the hidden patches of an image from the few that are visible."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Count, OpenShare
from ssl_cli.data.images.augment import Augment
from ssl_cli.errors import InputError
from ssl_cli.models.patch_transformer import PatchDecoder, PatchTransformer, cut, joined, pick

Batch = Mapping[str, Tensor]
EPS = 1e-6  # added to the variance of a patch's pixels
GREY = 0.5  # of what is hidden, in pictures


class MaskedAutoencoder(nn.Module):
    """MAE (arXiv 2111.06377): mean squared error of the pixels of hidden patches, of which the encoder reads none.

    With `norm_pixels` the pixels of each patch are first given mean 0 and variance 1 (sec. 4.1, "normalized pixels"):
    then 1 is the error of knowing nothing. The decoder is for pretraining alone. Raises InputError if a patch is too
    small.
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)
    is_matmul_bound: ClassVar[bool] = True
    no_decay_on_vectors: ClassVar[bool] = True

    def __init__(
        self,
        network: PatchTransformer,
        augment: Augment,
        mask_ratio: Annotated[OpenShare, "share of the patches that are hidden"] = 0.75,
        norm_pixels: Annotated[bool, "rebuild each patch with mean 0 and variance 1, rather than as it is"] = True,
        decoder_layers: Annotated[Count, "blocks of the decoder, thrown away after pretraining"] = 1,
        decoder_width: Annotated[Count, "numbers in a patch's vector there"] = 64,
        decoder_heads: Annotated[Count | None, "attention heads there; null: one for each 64 numbers"] = None,
    ):
        super().__init__()
        if norm_pixels and network.project.in_features < 2:
            raise InputError("A patch of one number has no variance: set model.norm_pixels=false, or a larger patch.")
        self.network, self.augment, self.norm_pixels = network, augment, norm_pixels
        self.decoder = PatchDecoder(network, decoder_layers, decoder_width, decoder_heads)
        n = network.context
        self.n_visible = n - min(max(round(mask_ratio * n), 1), n - 1)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of images `x` (B, C, H, W)."""
        x = self.augment(batch["x"])
        order = self.random_order(x)
        hidden = pick(cut(x, self.network.patch), order[:, self.n_visible :])  # (B, m, P)
        target, _, _ = self.targets(hidden)
        return {"loss": functional.mse_loss(self.predict(x, order), target)}

    def random_order(self, x: Tensor) -> Tensor:
        """Return the places of each image's patches in random order, (B, N): the first `n_visible` stay visible."""
        return torch.rand(len(x), self.network.context, device=x.device).argsort(1)

    def predict(self, x: Tensor, order: Tensor) -> Tensor:
        """Return what is predicted of the hidden patches, (B, m, P): only the visible ones of `x` are read."""
        return self.decoder(self.network(x, order[:, : self.n_visible]), order).float()

    def targets(self, patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what is to be predicted of patches (B, m, P), and the mean and standard deviation taken from it."""
        if not self.norm_pixels:
            nothing = patches.new_zeros(())
            return patches, nothing, nothing + 1
        mean, std = patches.mean(-1, keepdim=True), (patches.var(-1, keepdim=True) + EPS).sqrt()  # (B, m, 1)
        return (patches - mean) / std, mean, std

    def embed(self, batch: Batch) -> Tensor:
        """Return the network's vectors (B, width) of images `x`, of which nothing is hidden."""
        return self.network(batch["x"])

    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Return images, their random view, what the encoder sees of it, and what is rebuilt beside that.

        Normalized pixels are given the mean and standard deviation of the true patch, which the model does not know.
        """
        view = self.augment(batch["x"])
        order, patches = self.random_order(view), cut(view, self.network.patch)
        hidden = order[:, self.n_visible :, None].expand(-1, -1, patches.shape[2])  # (B, m, P)
        _, mean, std = self.targets(patches.gather(1, hidden))
        rebuilt = (self.predict(view, order) * std + mean).clamp(0, 1)
        given = " with the mean and contrast of each hidden patch given" if self.norm_pixels else ""
        return {"image": batch["x"], "view": view} | {
            caption: joined(shown, self.network.shape, self.network.patch)
            for caption, shown in (
                ("what the encoder sees", patches.scatter(1, hidden, GREY)),
                (f"the view rebuilt from it{given}", patches.scatter(1, hidden, rebuilt)),
            )
        }
