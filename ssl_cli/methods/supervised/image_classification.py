"""Classification of images: a class for the mean vector of a network over images."""

from typing import Annotated, ClassVar, Self

from torch import Tensor
from torch.nn import functional

from ssl_cli.config.types import Count
from ssl_cli.data.images.augment import Augment
from ssl_cli.methods.protocols import EncodesImages
from ssl_cli.methods.supervised.head import Batch, RawPredictions, SupervisedMethod, linear_in_float32, new_linear
from ssl_cli.models.batch_norm import BatchNorm
from ssl_cli.models.images import to_float


class ImageClassificationHead(SupervisedMethod):
    """A score per class from an image's vector, with cross-entropy; in training, of a random view of the image.

    The vectors are standardized by a batch norm without weights, as in linear probes (MAE: 2111.06377, sec. A.1),
    before a linear layer. A batch norm whose weights are frozen keeps its statistics too. Targets are `label` (B,).
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)
    needs_whole_batches: ClassVar[bool] = True  # of batch norms, which need several images

    def __init__(
        self,
        network: Annotated[EncodesImages, "the network that gives an image's vector"],
        n_labels: Annotated[Count, "number of classes"],
        augment: Annotated[Augment | None, "random views in training; null: the images as they are"] = None,
    ):
        super().__init__(network)  # type: ignore[arg-type]
        self.n_labels, self.augment = n_labels, augment
        self.standardize = BatchNorm(network.width, affine=False)
        self.decide = new_linear(network.width, n_labels)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of all parts, but for frozen batch norms."""
        super().train(mode)
        for part in self.network.modules():
            if isinstance(part, BatchNorm) and not part.weight.requires_grad:
                part.eval()
        return self

    def embed(self, batch: Batch) -> Tensor:
        """Return the network's vectors (B, width) of images `x` as they are."""
        return self.network(to_float(batch["x"]))

    def logits(self, vectors: Tensor) -> Tensor:
        """Return scores (B, n_labels) of vectors (B, width)."""
        return linear_in_float32(self.decide, self.standardize(vectors.float()))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss of labelled images, a mean over them."""
        x = to_float(batch["x"])
        if self.training and self.augment is not None:
            x = self.augment(x)
        logits = self.logits(self.network(x))
        if self.collects_predictions:
            self.collect(_as_arrays(logits))
        return {"loss": functional.cross_entropy(logits, batch["label"])}

    def predict_batch(self, batch: Batch) -> RawPredictions:
        """Return the scores (n_labels,) of each image."""
        return _as_arrays(self.logits(self.embed(batch)))


def _as_arrays(logits: Tensor) -> RawPredictions:
    return [scores.numpy() for scores in logits.detach().cpu()]
