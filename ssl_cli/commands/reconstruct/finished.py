"""A finished run of ssl reconstruct: `ssl_cli.load("latest").embed(images)`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssl_cli.commands.finished import Finished
from ssl_cli.config.typecheck import expected, fits
from ssl_cli.config.types import Count, Seed
from ssl_cli.data.images.reader import ImageReader, Rejected
from ssl_cli.errors import InputError
from ssl_cli.models.images import in_bytes, numbers
from ssl_cli.runs.folder import find_run, go_on

READER = "reader.json"
BATCH = 64  # images: every batch is filled up to it, so that an image's numbers don't depend on its neighbours


def reopen(run: str | Path, outputs: str | Path, trust: str | None) -> "ReconstructRun":
    """The finished run of ssl reconstruct that a verb's options name. Raises InputError where it is none."""
    return ReconstructRun(find_run(run, outputs, "reconstruct", finished=True), tuple((trust or "").split()))


class ReconstructRun(Finished):
    """An auto-encoder, and the reader that makes files the images it knows.

    Images are arrays (N, C, H, W) of bytes, or of numbers in 0..1, as `reader` gives them. Each method raises
    InputError where the run's model lacks it.
    """

    def restore(self) -> None:
        self.reader = ImageReader.load(self.folder / READER)
        if list(self.reader.shape) != list(self.config.facts.shape):
            raise InputError(f"{self.folder / READER} is damaged: its shape is not the model's.")
        self.reconstruct(np.zeros((1, *self.reader.shape), np.uint8))

    def read(self, path: str | Path) -> tuple[list[str], np.ndarray, Rejected]:
        """An image file, a folder or a zip of them -> names, images (N, C, H, W) uint8, and what can't be read, with
        reasons. Raises InputError where no image is left."""
        names, x, rejected = self.reader.read_all(Path(path))
        if not names:
            why = f"none of its {len(rejected):,} files can be read, such as {': '.join(rejected[0])}"
            raise InputError(f"{path} has no image that can be used: {why}.")
        return names, x, rejected

    def reconstruct(self, images: np.ndarray) -> np.ndarray:
        """(N, C, H, W) -> (N, C, H, W) uint8, rebuilt"""
        self.need("reconstruct")
        return in_batches(lambda x: in_bytes(self._sound(self.model.reconstruct({"x": x}))), self._checked(images))

    def embed(self, images: np.ndarray) -> np.ndarray:
        """(N, C, H, W) -> (N, Z) float32"""
        self.need("embed")
        return in_batches(lambda x: self._sound(self.model.embed({"x": x})).float(), self._checked(images))

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """(N, Z) as `embed` gives them -> (N, C, H, W) uint8"""
        self.need("decode")
        width = self.model.embed({"x": torch.zeros(1, *self.reader.shape)}).shape[1]
        is_array = isinstance(codes, np.ndarray) and codes.dtype.kind == "f" and codes.ndim == 2
        if not is_array or codes.shape[1] != width or not len(codes) or not np.isfinite(codes).all():
            raise InputError(f"Codes must be an array (N, {width}) of finite numbers, not {_described(codes)}.")
        return in_batches(lambda z: in_bytes(self._sound(self.model.decode(z))), codes.astype(np.float32, copy=False))

    def codes(self, images: np.ndarray) -> np.ndarray:
        """(N, C, H, W) -> (N, places) int64, each below the model's `alphabet`: of models whose codes are discrete"""
        self.need("codes")
        return in_batches(lambda x: self.model.codes({"x": x}), self._checked(images))

    @property
    def is_discrete(self) -> bool:
        """Whether the model has `codes`."""
        return hasattr(self.model, "codes")

    def generate(self, n: int, seed: int = 0) -> np.ndarray:
        """(n, C, H, W) uint8, drawn; the same seed gives the same images, and fewer of them are the first of more."""
        self.need("generate")
        self._refuse_unfitted_prior()
        for name, value, wanted in (("n", n, Count), ("seed", seed, Seed)):
            if not fits(value, wanted):
                raise InputError(f"{name} must be {expected(wanted)}, not {value!r}.")
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            parts = [in_bytes(self._sound(self.model.generate(BATCH))) for _ in range(0, n, BATCH)]
        return torch.cat(parts)[:n].numpy()

    def _refuse_unfitted_prior(self) -> None:
        """Its draws would be those of a network that nobody has trained."""
        if not hasattr(self.model, "prior"):
            return
        steps = self.config.get("prior_steps")
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
            raise InputError(f"{self.folder} is damaged: its config's prior_steps must be a whole number.")
        if steps == 0:
            raise InputError(
                f"{self.folder} was trained with prior_steps=0: the prior that would draw its codes was never fitted, "
                f"so it can't generate. Fit it with `{go_on('reconstruct', self.folder)} prior_steps=2000`."
            )

    def _checked(self, images: np.ndarray) -> np.ndarray:
        found = self.reader.checked(images)
        if not len(found):
            raise InputError("There are no images: the array is empty.")
        return found

    def _sound(self, out: Tensor) -> Tensor:
        if not torch.isfinite(out).all():
            raise InputError(f"The model of {self.folder} gives numbers that are NaN or infinite: train it again.")
        return out


def in_batches(function: Callable[[Tensor], Tensor], x: np.ndarray) -> np.ndarray:
    """`function` of images x (N, ...), BATCH of them at a time; the last batch is filled up with its last image."""
    found = []
    with torch.inference_mode():
        for part in torch.from_numpy(np.ascontiguousarray(x)).split(BATCH):
            full = torch.cat([part, part[-1:].expand(BATCH - len(part), *part.shape[1:])])
            found.append(function(numbers(full))[: len(part)])
    return torch.cat(found).numpy()


def _described(value: object) -> str:
    return f"{value.shape} of {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
