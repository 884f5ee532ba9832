"""Training speed of `ssl reconstruct` on MNIST, beside pythae: images per second of one epoch, from arrays in memory.

Both sides have the same network, loss, batch size and optimizer, each with its own trainer: both validate once, at the
end, and write one checkpoint. They take turns, so that a busy machine slows both equally; figures are medians, and
ratios (to pythae) are medians of those of each round. "The network alone" is its forward and backward pass on one
batch: the speed that no trainer can exceed. The codebook of a vqvae is initialized before the clock starts. With
--device cuda: the seconds of an epoch of our VAE with batches of 512, all images on the GPU. With --only contrastive:
SimCLR beside lightly's, see image_sides/contrastive.py.
"""

import argparse
import contextlib
import io
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from image_sides.contrastive import beside_lightly
from omegaconf import DictConfig, OmegaConf
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VQVAE, VAEConfig, VQVAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import Tensor

from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import build
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.methods.build import new_model
from ssl_cli.methods.training_protocols import InitializesFromData
from ssl_cli.models.convnet import GridAutoencoder
from ssl_cli.models.images import to_float
from ssl_cli.training.trainer import train

EXTRA = "bench"  # scripts/bench installs it
SHARED = Path(os.environ.get("SSL_SHARED", Path(__file__).parents[3] / "shared")) / "data"
SHAPE = (1, 28, 28)
LATENT = 10  # pythae's default
LR = 1e-4  # pythae's default
CODES = 256
BATCH_SIZE = 128
ADAM = [
    "optim.optimizer._target_=torch.optim.Adam",
    f"optim.lr={LR}",
    "optim.weight_decay=0",
    "optim.schedule=constant",
]
# pythae's default network: 784-512-10-512-784 with relu; mean and log variance of the code come from one layer.
OUR_VAE = [
    "model=vae",
    "model.network.hidden=[512]",
    f"model.network.latent={LATENT}",
    "model.network.activation=relu",
]
OUR_VQVAE = ["model=vqvae", f"model.quantizer.num_codes={CODES}"]  # pythae's VQVAE uses its network too
OURS = {"vae": OUR_VAE, "vqvae": OUR_VQVAE}
IN_BFLOAT16 = "trainer.precision=bf16-mixed"


class Images:
    """MNIST in the splits of `ssl reconstruct`, or its first `n_train` training images and a share of the others."""

    def __init__(self, n_train: int | None):
        cfg = composed("model=vae")
        data = build(cfg.data).image_splits(cfg.seed)
        train_x, val_x = (torch.from_numpy(data.splits[name].x) for name in ("train", "val"))
        self.train = train_x[:n_train]
        self.val = val_x[: len(val_x) * len(self.train) // len(train_x)]

    def rows(self) -> tuple[ArrayDataset, ArrayDataset]:
        """Return training and validation rows for our side."""
        return ArrayDataset({"x": self.train}), ArrayDataset({"x": self.val})

    def pythae_rows(self) -> tuple[BaseDataset, BaseDataset]:
        """Return training and validation rows for pythae."""
        train, val = (BaseDataset(to_float(x), torch.ones(len(x))) for x in (self.train, self.val))
        return train, val


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds, after a short one")
    parser.add_argument("--images", type=int, help="training images (default: all 57,000; 12,800 of the vqvae's)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch's threads, for both")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda: an epoch of ours alone")
    parser.add_argument("--only", choices=[*OURS, "contrastive"], help="one of the two models, or SimCLR by lightly")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.disable(logging.INFO)
    if options.only == "contrastive":
        beside_lightly(options.images or 5_120, options.rounds, options.threads)
        return
    if options.device == "cuda":
        epoch_on_gpu(options.rounds)
        return
    print(
        f"Batches of {BATCH_SIZE}, {options.threads} threads, images a second, medians of {options.rounds} rounds.\n\n"
        "| | pythae | ssl | | ssl in bfloat16 | | the network alone | in bfloat16 |\n|---|---|---|---|---|---|---|---|"
    )
    peers = {"vae": (pythae_vae, None), "vqvae": (pythae_vqvae, 12_800)}
    for name, (new_peer, n_train) in peers.items():
        if options.only in (None, name):
            beside_pythae(Images(options.images or n_train), BATCH_SIZE, options.rounds, name, new_peer)


# --- beside the peer -------------------------------------------------------------------------------------------


def beside_pythae(images: Images, batch_size: int, rounds: int, name: str, new_peer: Callable[[], Any]) -> None:
    """Print a row of the table: pythae, ours, ours in bfloat16; then the speed of the network alone, in either."""
    words = OURS[name]
    works = [
        partial(train_pythae, new_peer, images, batch_size),
        partial(train_ours, words, images, batch_size),
        partial(train_ours, [*words, IN_BFLOAT16], images, batch_size),
        partial(bare_network, words, images, batch_size, False),
        partial(bare_network, words, images, batch_size, True),
    ]
    for work in works:
        work(warm_up=True)
    turns = [[len(images.train) / work() for work in works] for _ in range(rounds)]
    rates = [f"{statistics.median(column):,.0f}" for column in zip(*turns, strict=True)]
    ratios = [f"{statistics.median(turn[k] / turn[0] for turn in turns):.2f}" for k in range(len(works))]
    print(
        f"| {name}, {len(images.train):,} images | {rates[0]} | {rates[1]} | **{ratios[1]}** | {rates[2]} "
        f"| **{ratios[2]}** | {ratios[3]} | {ratios[4]} |",
        flush=True,
    )


def bare_network(words: list[str], images: Images, batch_size: int, in_bfloat16: bool, warm_up: bool = False) -> float:
    """Return the seconds of the forward and backward pass alone, for as many images: no data, loss or optimizer."""
    network, x = new_model(composed(*words)).network, to_float(images.train[:batch_size])
    steps = 10

    def step() -> None:
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16):
            out = network.decode(network.encode(x)[:, : network.latent])
        out.backward(out.detach())

    def several_steps() -> None:
        for _ in range(steps):
            step()

    step()
    seconds = [timed(several_steps) for _ in range(1 if warm_up else 5)]
    return statistics.median(seconds) / (steps * len(x)) * len(images.train)


def train_ours(words: list[str], images: Images, batch_size: int, warm_up: bool = False) -> float:
    """Return the seconds of the code that `ssl reconstruct` runs, with validation, history and checkpoint."""
    rows, val = images.rows()
    steps = 10 if warm_up else -(-len(rows) // batch_size)
    cfg = composed(*words, *ADAM, "trainer=cpu", f"trainer.batch_size={batch_size}", f"trainer.max_steps={steps}")
    cfg.trainer.validate_every_n_steps = cfg.trainer.checkpoint_every_n_steps = steps
    model = new_model(cfg)
    if isinstance(model, InitializesFromData):
        model.initialize_from_data(images.train, cfg.seed, lambda line: None)
    with tempfile.TemporaryDirectory() as folder:
        return timed(lambda: train(model, rows, val, cfg, Path(folder)))


def train_pythae(new_peer: Callable[[], Any], images: Images, batch_size: int, warm_up: bool = False) -> float:
    """Return the seconds of an epoch of pythae's trainer."""
    rows, val = images.pythae_rows()
    if warm_up:
        rows.data = rows.data[: 10 * batch_size]
    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(
            folder, batch_size, batch_size, num_epochs=1, learning_rate=LR, seed=0, no_cuda=True
        )
        model = new_peer()
        return timed(lambda: BaseTrainer(model, rows, val, settings).train())


def pythae_vae() -> VAE:
    """Return pythae's VAE, with its default network."""
    return VAE(VAEConfig(SHAPE, LATENT, reconstruction_loss="bce"))


def pythae_vqvae() -> VQVAE:
    """Return pythae's VQVAE around our network."""
    network = new_model(composed(*OUR_VQVAE)).network
    settings = VQVAEConfig(SHAPE, network.latent, num_embeddings=CODES, use_ema=True)
    return VQVAE(settings, Encoder(network), Decoder(network))


class Encoder(BaseEncoder):
    """The encoder of our network, in pythae's interface."""

    def __init__(self, network: GridAutoencoder):
        super().__init__()
        self.latent_dim, self.down, self.to_code = network.latent, network.down, network.to_code

    def forward(self, x: Tensor) -> ModelOutput:
        """Return the code of images x (B, C, H, W)."""
        return ModelOutput(embedding=self.to_code(self.down(x)))


class Decoder(BaseDecoder):
    """The decoder of our network, in pythae's interface."""

    def __init__(self, network: GridAutoencoder):
        super().__init__()
        self.from_code, self.up = network.from_code, network.up

    def forward(self, z: Tensor) -> ModelOutput:
        """Return the images of a code."""
        return ModelOutput(reconstruction=self.up(self.from_code(z)))


# --- on a GPU --------------------------------------------------------------------------------------------------


def epoch_on_gpu(rounds: int) -> None:
    """Print the seconds of an epoch of our VAE with batches of 512: half the difference of three epochs and one."""
    if not torch.cuda.is_available():
        sys.exit("--device cuda needs an NVIDIA GPU that torch can use, and there is none here.")
    rows, val = Images(None).rows()
    words = [*OUR_VAE, *ADAM, "trainer=gpu", "trainer.batch_size=512"]

    def epochs(n: int) -> float:
        cfg = composed(*words, f"trainer.max_epochs={n}")
        cfg.trainer.validate_every_n_steps = -(-len(rows) // 512)
        model = new_model(cfg)
        with tempfile.TemporaryDirectory() as folder:
            return timed(lambda: train(model, rows, val, cfg, Path(folder)))

    epochs(1)
    seconds = statistics.median((epochs(3) - epochs(1)) / 2 for _ in range(rounds))
    print(
        f"{torch.cuda.get_device_name()}: {seconds:.2f} s an epoch of {len(rows):,} images, median of {rounds} rounds"
    )


def composed(*overrides: str) -> DictConfig:
    """Return the config of `ssl reconstruct` on MNIST with overrides."""
    with initialize_config_dir(str(built_in_conf().resolve()), version_base="1.3"):
        cfg = compose("reconstruct", ["data=mnist", f"paths.data={SHARED}", *overrides])
    OmegaConf.set_struct(cfg, False)
    cfg.facts = {"shape": list(SHAPE), "categories": []}
    return cfg


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds that some work takes."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        started = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
