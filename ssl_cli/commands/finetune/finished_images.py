"""Finished runs of ssl finetune on images: `ssl_cli.load("latest").predict("photographs/")`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ssl_cli.commands.finished import WEIGHTS
from ssl_cli.commands.reconstruct.finished import ImageRun, map_full_batches
from ssl_cli.config.instantiate import build
from ssl_cli.errors import InputError
from ssl_cli.methods.supervised.image_classification import ImageClassificationHead
from ssl_cli.runs.folder import CONFIG
from ssl_cli.tasks.image_classification import ImageClassification
from ssl_cli.tasks.task import Prediction


class FinetunedImageRun(ImageRun):
    """A classifier of images, its classes, and the reader that turns files into its input."""

    def restore(self) -> None:
        """Read reader, task and classes, and predict one image. Raises InputError if the run is damaged."""
        super().restore()
        self.labels = [str(label) for label in self.config.facts.labels]
        self.task: ImageClassification = build(self.config.task)
        if not isinstance(self.task, ImageClassification) or not isinstance(self.model, ImageClassificationHead):
            raise InputError(f"{self.folder / CONFIG} is damaged: its task and its model don't belong to each other.")
        if self.model.n_labels != len(self.labels):
            raise InputError(
                f"{self.folder / CONFIG} is damaged: it has {len(self.labels)} labels, its model {self.model.n_labels}."
            )
        if not all(torch.isfinite(weight).all() for weight in self.model.state_dict().values()):
            raise InputError(f"{self.folder / WEIGHTS} holds numbers that are NaN or infinite: train it again.")
        self.predict(np.zeros((1, *self.reader.shape), np.uint8))

    def predict(self, images: str | Path | np.ndarray) -> list[Prediction]:
        """Return the prediction for each image: of an array (N, C, H, W) of bytes or numbers in 0..1, a file, a folder
        or a zip, where those that can't be read are left out.

        Raises InputError if there is none that can be used.
        """
        if isinstance(images, str | Path):
            names, x, _ = self.read(Path(images).expanduser())
            return self.predict_named(names, x)
        unnamed = self.predict_named([""] * len(images), images)
        return [{field: value for field, value in each.items() if field != "id"} for each in unnamed]

    def predict_named(self, names: Sequence[str], images: np.ndarray) -> list[Prediction]:
        """Return the prediction for each image of an array (N, C, H, W), with its name as `id`."""
        scores = map_full_batches(
            lambda batch: self._finite(self.model.logits(self.model.embed({"x": batch}))), self._validated(images)
        )
        return self.task.decode(names, list(scores), self.labels, None)
