"""Joint embedding: two views of an image get vectors that a loss holds together, without making all of them equal."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from ssl_cli.config.types import Count, Range
from ssl_cli.data.images.augment import Augment
from ssl_cli.errors import InputError
from ssl_cli.methods.contrastive.losses import ViewLoss
from ssl_cli.models.batch_norm import gathered
from ssl_cli.models.projector import Projector
from ssl_cli.models.resnet import ResNet

Batch = Mapping[str, Tensor]
ProjectorWidths = Annotated[list[Count], "widths of the projector's layers, thrown away after pretraining"]
Views = Annotated[int, Range(2, 16), "views of each image"]


class JointEmbedding(nn.Module):
    """SimCLR and LeJEPA: one network, one projector, and a loss of the projections of views.

    Raises InputError for more than two views, if the loss is of pairs.
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)
    needs_whole_batches: ClassVar[bool] = True

    def __init__(
        self,
        network: ResNet,
        loss: ViewLoss,
        augment: Augment,
        projector: ProjectorWidths = (256, 128),  # type: ignore[assignment]
        last_norm: Annotated[bool, "end the projector with a batch normalization"] = False,
        views: Views = 2,
    ):
        super().__init__()
        if views > 2 and loss.is_of_pairs:
            raise InputError(f"model.views={views}: {type(loss).__name__} is of two views; only SIGRegLoss takes more.")
        self.network, self.loss, self.augment, self.n_views = network, loss, augment, views
        self.projector = Projector(network.width, list(projector), last_norm)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of images `x` (B, C, H, W), and its parts."""
        z = self.projector(self.network(self.views(batch["x"]))).float()  # (V * B, D)
        views = z.chunk(self.n_views)
        if self.training:  # in validation, each device has the whole batch
            views = tuple(map(gathered, views))
        if len(views[0]) < 2:
            raise InputError(ONE_IMAGE)
        with torch.autocast(z.device.type, enabled=False):  # it would compute products in half precision
            return self.loss(torch.stack(views))

    def views(self, x: Tensor) -> Tensor:
        """Return the views of images (B, C, H, W), all of the first ones before all of the second: (V * B, C, H, W)."""
        return self.augment(x.repeat(self.n_views, 1, 1, 1))

    def pictures(self, batch: Batch) -> dict[str, Tensor]:
        """Return images, and views of each."""
        views = self.views(batch["x"]).chunk(self.n_views)
        return {"image": batch["x"]} | {f"view {k}": view for k, view in enumerate(views, start=1)}

    def embed(self, batch: Batch) -> Tensor:
        """Return the network's vectors (B, width) of images `x` as they are."""
        return self.network(batch["x"])

    def collapse_advice(self, sign: str, enough: int) -> str:
        """Return what to try against collapsed vectors, see `AdvisesOnCollapse`."""
        return self.loss.remedy


ONE_IMAGE = (
    "A batch has one image, and this loss compares images with each other: set trainer.batch_size to 2 or more, better "
    "256."
)
