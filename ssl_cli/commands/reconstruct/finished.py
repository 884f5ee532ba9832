"""A finished run on images, of ssl reconstruct or pretrain: `ssl_cli.load("latest").embed(images)`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssl_cli.commands.finished import Finished, open_run
from ssl_cli.commands.speech.finished import SpeechRun
from ssl_cli.config.typecheck import expected, fits
from ssl_cli.config.types import Count, Natural, Seed
from ssl_cli.data.images.reader import ImageReader, RejectedFiles
from ssl_cli.errors import InputError
from ssl_cli.methods.protocols import Decodes, Embeds, Generates, HasCodes, HasPrior, Reconstructs
from ssl_cli.models.images import to_float, to_uint8
from ssl_cli.runs.folder import find_run, resume_command

READER = "reader.json"
BATCH_IMAGES = 64  # every batch is filled up to this size, so that an image's result doesn't depend on its neighbours
MAX_BYTES = 4 << 30  # of generated images, which are held in memory until they are written


def reopen(run: str | Path, outputs: str | Path, trust: str | None) -> "ImageRun | SpeechRun":
    """Return the finished run of ssl reconstruct that a verb's options name. Raises InputError if there is none."""
    finished = open_run(find_run(run, outputs, "reconstruct", finished=True), tuple((trust or "").split()))
    if not isinstance(finished, ImageRun | SpeechRun):
        raise InputError(f"{finished.folder} is a run on texts: this needs one on images or speech.")
    return finished


class ImageRun(Finished):
    """A model of images, and the reader that converts image files to its input.

    Images are arrays (N, C, H, W) of bytes, or of numbers in 0..1. Each method raises InputError if the run's model
    can't do what it is for, or its argument is not valid.
    """

    def restore(self) -> None:
        """Read the reader, and reconstruct or embed one image."""
        self.reader = ImageReader.load(self.folder / READER)
        if list(self.reader.shape) != list(self.config.facts.shape):
            raise InputError(f"{self.folder / READER} is damaged: its shape is not the model's.")
        black = np.zeros((1, *self.reader.shape), np.uint8)
        self.reconstruct(black) if isinstance(self.model, Reconstructs) else self.embed(black)

    def read(self, path: str | Path) -> tuple[list[str], np.ndarray, RejectedFiles]:
        """Read an image, or a folder or zip of images -> names, images (N, C, H, W) uint8, and rejected files.

        Raises InputError if no image can be read.
        """
        names, x, rejected = self.reader.read_all(Path(path))
        if not names:
            reason = f"none of its {len(rejected):,} files can be read, such as {': '.join(rejected[0])}"
            raise InputError(f"{path} has no image that can be used: {reason}.")
        return names, x, rejected

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        """Return the rebuilt images, (N, C, H, W) uint8."""
        self.require(Reconstructs, "rebuild images")
        x = self._validated(images)
        return map_full_batches(lambda batch: to_uint8(self._finite(self.model.reconstruct({"x": batch}))), x)

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Return the codes (N, Z) float32 of images."""
        self.require(Embeds, "embed images")
        x = self._validated(images)
        return map_full_batches(lambda batch: self._finite(self.model.embed({"x": batch})).float(), x)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the images (N, C, H, W) uint8 of codes (N, Z), as `embed` returns them."""
        self.require(Decodes, "decode codes of numbers")
        width = self.model.embed({"x": torch.zeros(1, *self.reader.shape)}).shape[1]
        is_matrix = isinstance(codes, np.ndarray) and codes.dtype.kind == "f" and codes.ndim == 2
        if not is_matrix or codes.shape[1] != width or not len(codes) or not np.isfinite(codes).all():
            raise InputError(f"Codes must be an array (N, {width}) of finite numbers, not {_describe(codes)}.")
        z = codes.astype(np.float32, copy=False)
        return map_full_batches(lambda batch: to_uint8(self._finite(self.model.decode(batch))), z)

    def codes(self, images: np.ndarray) -> np.ndarray:
        """Return the discrete codes (N, L) int64 of images, each below the model's `alphabet`."""
        self.require(HasCodes, "give discrete codes")
        return map_full_batches(lambda batch: self.model.codes({"x": batch}), self._validated(images))

    @property
    def is_discrete(self) -> bool:
        """Whether the model has discrete `codes`."""
        return isinstance(self.model, HasCodes)

    def generate(self, n: int, seed: int = 0) -> np.ndarray:
        """Return n new images (n, C, H, W) uint8.

        The same seed gives the same images; a smaller n gives the first of them.
        """
        self.require(Generates, "generate images")
        self._check_prior_is_fitted()
        for name, value, annotation in (("n", n, Count), ("seed", seed, Seed)):
            if not fits(value, annotation):
                raise InputError(f"{name} must be {expected(annotation)}, not {value!r}.")
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            batches: list[Tensor] = []
            for _ in range(0, n, BATCH_IMAGES):
                batches.append(to_uint8(self._finite(self.model.generate(BATCH_IMAGES))))
                if (n_bytes := n * batches[0][0].numel()) > MAX_BYTES:
                    raise InputError(f"n={n}: these images need {n_bytes:,} bytes; at most {MAX_BYTES:,} are allowed.")
        return torch.cat(batches)[:n].numpy()

    def _check_prior_is_fitted(self) -> None:
        """Raise InputError if the model generates codes by a prior that was never trained."""
        if not isinstance(self.model, HasPrior):
            return
        steps = self.config.get("prior_steps")
        if not fits(steps, Natural | None):
            raise InputError(f"{self.folder} is damaged: its config's prior_steps must be a whole number or null.")
        if steps == 0:
            raise InputError(
                f"{self.folder} was trained with prior_steps=0: the prior that generates codes was never fitted, so it "
                f"can't generate images. Fit it with `{resume_command('reconstruct', self.folder)} prior_steps=null`."
            )

    def _validated(self, images: np.ndarray) -> np.ndarray:
        x = self.reader.validate(images)
        if not len(x):
            raise InputError("There are no images: the array is empty.")
        return x

    def _finite(self, output: Tensor) -> Tensor:
        if not torch.isfinite(output).all():
            raise InputError(f"The model of {self.folder} gives numbers that are NaN or infinite: train it again.")
        return output


def map_full_batches(function: Callable[[Tensor], Tensor], x: np.ndarray) -> np.ndarray:
    """Apply `function` to x (N, ...) in batches of BATCH_IMAGES; the last batch is padded with its last row."""
    outputs = []
    with torch.inference_mode():
        for batch in torch.from_numpy(np.ascontiguousarray(x)).split(BATCH_IMAGES):
            padded = torch.cat([batch, batch[-1:].expand(BATCH_IMAGES - len(batch), *batch.shape[1:])])
            outputs.append(function(to_float(padded))[: len(batch)])
    return torch.cat(outputs).numpy()


def _describe(value: object) -> str:
    return f"{value.shape} of {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
