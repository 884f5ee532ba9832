"""Views a second of SimCLR beside lightly's, in training: the same network, batch, temperature and optimizer.

lightly's side is its tutorial: SimCLRTransform on PIL images in a DataLoader of torch with a process for each thread,
its projection head and its NTXentLoss, in a plain loop. Ours is the code that `ssl pretrain` runs, with its validation,
history and checkpoint, but without probes. Both crop, flip, recolour and blur; by default ours has no blur. The images
are random bytes of 32 x 32: what they show changes no time.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.utils.data import DataLoader, Dataset

from ssl_cli.config.choices import built_in_conf
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.data.images.datasets import VIEWS_OF_THINGS
from ssl_cli.methods.build import new_model
from ssl_cli.training.trainer import train

BATCH_SIZE, TEMPERATURE, LR = 256, 0.5, 1e-3
SHAPE = [3, 32, 32]
NETWORKS = {"widths 32-32-64-128": [32, 32, 64, 128], "widths 32-64-128-256": [32, 64, 128, 256]}
AS_LIGHTLY = ["model.augment.blur=0.5", "model.augment.crop=0.08", "optim=adamw"]


def beside_lightly(n_images: int, rounds: int, threads: int) -> None:
    """Print a table of both sides' views a second: medians, and the median of the ratio of each round."""
    images = np.random.default_rng(0).integers(0, 256, (n_images, *SHAPE), np.uint8)
    print(f"Batches of {BATCH_SIZE}, {n_images:,} images of 32 x 32, {threads} threads, {rounds} rounds.\n")
    print("| SimCLR, views a second | lightly | ssl | |\n|---|---|---|---|")
    for name, widths in NETWORKS.items():
        sides = [lambda n, w=widths: lightly_s(images[:n], w, threads), lambda n, w=widths: our_s(images[:n], w)]
        for side in sides:
            side(BATCH_SIZE)
        turns = [[2 * n_images / side(n_images) for side in sides] for _ in range(rounds)]
        theirs, ours = (statistics.median(column) for column in zip(*turns, strict=True))
        ratio = statistics.median(mine / peers for peers, mine in turns)
        print(f"| {name} | {theirs:,.0f} | {ours:,.0f} | **{ratio:.1f}** |", flush=True)


def our_s(images: np.ndarray, widths: list[int]) -> float:
    """Return the seconds of one epoch of ours."""
    steps = len(images) // BATCH_SIZE
    words = [f"model.network.widths={widths}", f"trainer.batch_size={BATCH_SIZE}", f"trainer.max_steps={steps}"]
    cfg = composed(*words, f"model.loss.temperature={TEMPERATURE}", f"optim.lr={LR}", *AS_LIGHTLY)
    cfg.trainer.validate_every_n_steps = cfg.trainer.checkpoint_every_n_steps = steps
    torch.manual_seed(0)
    rows, val = ArrayDataset({"x": images}), ArrayDataset({"x": images[:BATCH_SIZE]})
    model = new_model(cfg)
    with tempfile.TemporaryDirectory() as folder:
        return timed(lambda: train(model, rows, val, cfg, Path(folder)))


def lightly_s(images: np.ndarray, widths: list[int], workers: int) -> float:
    """Return the seconds of one epoch of lightly's."""
    from lightly.loss import NTXentLoss
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform

    network = new_model(composed(f"model.network.widths={widths}")).network
    model = nn.Sequential(network, SimCLRProjectionHead(network.width, 256, 128)).to(memory_format=torch.channels_last)
    rows = PILImages(images, SimCLRTransform(input_size=SHAPE[1]))
    loader = DataLoader(rows, BATCH_SIZE, shuffle=True, drop_last=True, num_workers=workers)
    criterion, optimizer = NTXentLoss(TEMPERATURE), torch.optim.AdamW(model.parameters(), LR, fused=True)

    def epoch() -> None:
        for first, second in loader:
            loss = criterion(model(first), model(second))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return timed(epoch)


class PILImages(Dataset[Any]):
    """Images (N, C, H, W) uint8 as PIL's, each transformed anew."""

    def __init__(self, images: np.ndarray, transform: Callable[[Any], Any]):
        from PIL import Image

        self.images, self.transform = [Image.fromarray(x.transpose(1, 2, 0)) for x in images], transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> Any:
        return self.transform(self.images[row])


def composed(*overrides: str) -> DictConfig:
    """Return the config of `ssl pretrain model=simclr` with overrides."""
    with initialize_config_dir(str(built_in_conf().resolve()), version_base="1.3"):
        cfg = compose("pretrain", ["model=simclr", "data=cifar10", "trainer=cpu", *overrides])
    OmegaConf.set_struct(cfg, False)
    cfg.facts = {"shape": SHAPE, "categories": [], **VIEWS_OF_THINGS}
    return cfg


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds that some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
