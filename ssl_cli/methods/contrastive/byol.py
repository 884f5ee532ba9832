"""BYOL: predict the vector that a slowly moving copy of the network gives another view. No negatives."""

import copy
import math
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.config.types import Count, Share
from ssl_cli.data.images.augment import Augment
from ssl_cli.errors import InputError
from ssl_cli.methods.contrastive.joint_embedding import ONE_IMAGE, Batch, ProjectorWidths
from ssl_cli.models.batch_norm import world_size
from ssl_cli.models.projector import Projector
from ssl_cli.models.resnet import ResNet


class BYOL(nn.Module):
    """Bootstrap your own latent (arXiv 2006.07733): the loss is 2 - 2 cos(prediction, target), the mean of all views.

    The target network is an average of the online one. Its share that a step keeps rises from `momentum` to 1 along a
    cosine (sec. 3.2).
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)
    needs_whole_batches: ClassVar[bool] = True
    muon_lr: ClassVar[float] = 3e-2  # it learns slowly at the rate that views with negatives learn at

    def __init__(
        self,
        network: ResNet,
        augment: Augment,
        projector: ProjectorWidths = (256, 128),  # type: ignore[assignment]
        predictor: Annotated[Count, "width of the predictor's hidden layer"] = 256,
        momentum: Annotated[Share, "share of the target network that a step keeps, at the start"] = 0.9,
    ):
        super().__init__()
        widths = list(projector)
        self.network, self.augment, self.momentum = network, augment, momentum
        self.projector = Projector(network.width, widths)
        self.predictor = Projector(widths[-1], [predictor, widths[-1]])
        self.target = nn.Sequential(copy.deepcopy(network), copy.deepcopy(self.projector)).requires_grad_(False)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of images `x` (B, C, H, W)."""
        views = self.views(batch["x"])
        if len(views) * world_size() < 4 and self.training:
            raise InputError(ONE_IMAGE)
        predicted = self.predictor(self.projector(self.network(views)))  # (2B, D)
        with torch.no_grad():
            targets = self.target(views).roll(len(views) // 2, 0)  # of the other view
        return {"loss": (2 - 2 * functional.cosine_similarity(predicted.float(), targets.float())).mean()}

    def after_step(self, progress: float) -> None:
        """Move the target towards the online network, when this share of the run is done."""
        share = (1 - self.momentum) * (math.cos(math.pi * progress) + 1) / 2
        online = (*self.network.parameters(), *self.projector.parameters())
        with torch.no_grad():
            torch._foreach_lerp_(tuple(self.target.parameters()), online, share)

    def restart(self) -> None:
        """Make the target equal to the online network."""
        for follower, online in zip(self.target, (self.network, self.projector), strict=True):
            follower.load_state_dict(online.state_dict())

    def views(self, x: Tensor) -> Tensor:
        """Return two views of images (B, C, H, W), all of the first ones before all of the second: (2B, C, H, W)."""
        return self.augment(x.repeat(2, 1, 1, 1))

    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Return images, and views of each."""
        views = self.views(batch["x"]).chunk(2)
        return {"image": batch["x"]} | {f"view {k}": view for k, view in enumerate(views, start=1)}

    def embed(self, batch: Batch) -> Tensor:
        """Return the online network's vectors (B, width) of images `x` as they are."""
        return self.network(batch["x"])

    def collapse_advice(self, sign: str, enough: int) -> str:
        """Return what to try against collapsed vectors, see `AdvisesOnCollapse`."""
        return "model=simclr, whose negatives push vectors apart"
