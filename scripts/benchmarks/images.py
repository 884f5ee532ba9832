"""How fast `ssl reconstruct` trains on MNIST, beside pythae: images a second of one epoch, from arrays in memory.

The same network, loss, batch size and optimizer on both sides, each through its own trainer: both look at the
validation images once, at the end, and write one checkpoint. They take turns, so that a busy machine slows both alike;
figures are medians, and ratios (to pythae) are medians of each round's. "The network alone" is its forward and
backward pass on one batch: what no trainer could exceed. A vqvae's codebook has its start before the clock. With
--device cuda: the seconds of an epoch of our VAE at batches of 512, all images on the GPU.
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
from ssl_cli.methods.protocols import InitializesFromData
from ssl_cli.models.convnet import GridAutoencoder
from ssl_cli.models.images import numbers
from ssl_cli.training.fit import new_model
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
# pythae's default network: 784-512-10-512-784 with relu, the code's mean and log variance side by side.
OUR_VAE = [
    "model=vae",
    "model.network.hidden=[512]",
    f"model.network.latent={LATENT}",
    "model.network.activation=relu",
]
OUR_VQVAE = ["model=vqvae", f"model.quantizer.num_codes={CODES}"]  # its network goes into pythae's VQVAE too
OURS = {"vae": OUR_VAE, "vqvae": OUR_VQVAE}
IN_BFLOAT16 = "trainer.precision=bf16-mixed"


class Images:
    """MNIST as `ssl reconstruct` parts it, for both sides; or `most` training images and their share of the others."""

    def __init__(self, most: int | None):
        cfg = composed("model=vae")
        data = build(cfg.data).pictures(cfg.seed)
        train_x, val_x = (torch.from_numpy(data.splits[name].x) for name in ("train", "val"))
        self.train = train_x[:most]
        self.val = val_x[: len(val_x) * len(self.train) // len(train_x)]

    def rows(self) -> tuple[ArrayDataset, ArrayDataset]:
        return ArrayDataset({"x": self.train}), ArrayDataset({"x": self.val})

    def peers(self) -> tuple[BaseDataset, BaseDataset]:
        train, val = (BaseDataset(numbers(x), torch.ones(len(x))) for x in (self.train, self.val))
        return train, val


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds, after a short one")
    parser.add_argument("--images", type=int, help="training images (default: all 57,000; 12,800 of the vqvae's)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch's threads, for both")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda: an epoch of ours alone")
    parser.add_argument("--only", choices=list(OURS), help="one of the two models")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.disable(logging.INFO)
    if options.device == "cuda":
        epoch_on_gpu(options.rounds)
        return
    print(
        f"Batches of {BATCH_SIZE}, {options.threads} threads, images a second, medians of {options.rounds} rounds.\n\n"
        "| | pythae | ssl | | ssl in bfloat16 | | the network alone | in bfloat16 |\n|---|---|---|---|---|---|---|---|"
    )
    peers = {"vae": (pythaes_vae, None), "vqvae": (pythaes_vqvae, 12_800)}
    for name, (new_peer, most) in peers.items():
        if options.only in (None, name):
            beside_pythae(Images(options.images or most), BATCH_SIZE, options.rounds, name, new_peer)


# --- beside the peer -------------------------------------------------------------------------------------------


def beside_pythae(images: Images, batch_size: int, rounds: int, name: str, new_peer: Callable[[], Any]) -> None:
    """A line of the table: pythae, ours, ours in bfloat16; then what the network alone would allow, in either."""
    words = OURS[name]
    works = [
        partial(train_pythaes, new_peer, images, batch_size),
        partial(train_ours, words, images, batch_size),
        partial(train_ours, [*words, IN_BFLOAT16], images, batch_size),
        partial(bare_network, words, images, batch_size, False),
        partial(bare_network, words, images, batch_size, True),
    ]
    for work in works:
        work(few=True)
    turns = [[len(images.train) / work() for work in works] for _ in range(rounds)]
    rates = [f"{statistics.median(column):,.0f}" for column in zip(*turns, strict=True)]
    ratios = [f"{statistics.median(turn[which] / turn[0] for turn in turns):.2f}" for which in range(len(works))]
    print(
        f"| {name}, {len(images.train):,} images | {rates[0]} | {rates[1]} | **{ratios[1]}** | {rates[2]} "
        f"| **{ratios[2]}** | {ratios[3]} | {ratios[4]} |",
        flush=True,
    )


def bare_network(words: list[str], images: Images, batch_size: int, in_bfloat16: bool, few: bool = False) -> float:
    """Seconds of the network's own forward and backward pass, for as many images: no data, loss or optimizer."""
    network, x = new_model(composed(*words)).network, numbers(images.train[:batch_size])
    steps = 10

    def step() -> None:
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16):
            out = network.decode(network.encode(x)[:, : network.latent])
        out.backward(out.detach())

    step()
    seconds = [timed(lambda: [step() for _ in range(steps)]) for _ in range(1 if few else 5)]
    return statistics.median(seconds) / (steps * len(x)) * len(images.train)


def train_ours(words: list[str], images: Images, batch_size: int, few: bool = False) -> float:
    """Seconds, by the code that `ssl reconstruct` runs, with validation, history and checkpoint."""
    rows, watched = images.rows()
    steps = 10 if few else -(-len(rows) // batch_size)
    cfg = composed(*words, *ADAM, "trainer=cpu", f"trainer.batch_size={batch_size}", f"trainer.max_steps={steps}")
    cfg.trainer.validate_every_n_steps = cfg.trainer.checkpoint_every_n_steps = steps
    model = new_model(cfg)
    if isinstance(model, InitializesFromData):
        model.initialize_from_data(images.train, cfg.seed, lambda line: None)
    with tempfile.TemporaryDirectory() as folder:
        return timed(lambda: train(model, rows, watched, cfg, Path(folder)))


def train_pythaes(new_peer: Callable[[], Any], images: Images, batch_size: int, few: bool = False) -> float:
    rows, watched = images.peers()
    if few:
        rows.data = rows.data[: 10 * batch_size]
    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(
            folder, batch_size, batch_size, num_epochs=1, learning_rate=LR, seed=0, no_cuda=True
        )
        model = new_peer()
        return timed(lambda: BaseTrainer(model, rows, watched, settings).train())


def pythaes_vae() -> VAE:
    return VAE(VAEConfig(SHAPE, LATENT, reconstruction_loss="bce"))


def pythaes_vqvae() -> VQVAE:
    network = new_model(composed(*OUR_VQVAE)).network
    settings = VQVAEConfig(SHAPE, network.latent, num_embeddings=CODES, use_ema=True)
    return VQVAE(settings, Encoder(network), Decoder(network))


class Encoder(BaseEncoder):
    """Our network's way down, as pythae wants it."""

    def __init__(self, network: GridAutoencoder):
        super().__init__()
        self.latent_dim, self.down, self.to_code = network.latent, network.down, network.to_code

    def forward(self, x: Tensor) -> ModelOutput:
        return ModelOutput(embedding=self.to_code(self.down(x)))


class Decoder(BaseDecoder):
    """And its way back."""

    def __init__(self, network: GridAutoencoder):
        super().__init__()
        self.from_code, self.up = network.from_code, network.up

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.up(self.from_code(z)))


# --- on a GPU --------------------------------------------------------------------------------------------------


def epoch_on_gpu(rounds: int) -> None:
    """Seconds of one epoch of our VAE at batches of 512: those of three epochs less those of one, halved."""
    if not torch.cuda.is_available():
        sys.exit("--device cuda needs an NVIDIA GPU that torch can use, and there is none here.")
    rows, watched = Images(None).rows()
    words = [*OUR_VAE, *ADAM, "trainer=gpu", "trainer.batch_size=512"]

    def epochs(n: int) -> float:
        cfg = composed(*words, f"trainer.max_epochs={n}")
        cfg.trainer.validate_every_n_steps = -(-len(rows) // 512)
        model = new_model(cfg)
        with tempfile.TemporaryDirectory() as folder:
            return timed(lambda: train(model, rows, watched, cfg, Path(folder)))

    epochs(1)
    seconds = statistics.median((epochs(3) - epochs(1)) / 2 for _ in range(rounds))
    print(
        f"{torch.cuda.get_device_name()}: {seconds:.2f} s an epoch of {len(rows):,} images, median of {rounds} rounds"
    )


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(built_in_conf().resolve()), version_base="1.3"):
        cfg = compose("reconstruct", ["data=mnist", f"paths.data={SHARED}", *overrides])
    OmegaConf.set_struct(cfg, False)
    cfg.facts = {"shape": list(SHAPE)}
    return cfg


def timed(work: Callable[[], Any]) -> float:
    """The seconds that some work takes."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        started = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
