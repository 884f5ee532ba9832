"""The LightningModule: where its batches come from, and that images resume to the bit."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from ssl_cli.data.batches import ArrayDataset
from ssl_cli.errors import InputError
from ssl_cli.methods.autoencoders.variational import VAE
from ssl_cli.models.mlp import MLPAutoencoder
from ssl_cli.training.module import Learner
from ssl_cli.training.stretches import StepSettings
from ssl_cli.training.trainer import train

IMAGES = np.random.default_rng(0).integers(0, 256, size=(50, 1, 6, 6), dtype=np.uint8)


SETTINGS = StepSettings(
    batch_size=16,
    batches_per_epoch=4,
    accumulate_grad_batches=1,
    gradient_clip_val=None,
    validate_every_n_steps=4,
    checkpoint_every_n_steps=5,
    max_steps=20,
    seed=0,
)


def vae() -> VAE:
    torch.manual_seed(0)
    return VAE(MLPAutoencoder([1, 6, 6], [32], 4, outputs_per_latent=2), "bernoulli")


@pytest.mark.parametrize(("world_size", "device"), [(1, "meta"), (2, "cpu")])
def test_rows_lie_on_a_single_device_and_on_the_host_for_several(world_size: int, device: str) -> None:
    rows = ArrayDataset({"x": IMAGES})
    learner = Learner(vae(), rows, rows, torch.optim.Adam, lambda *_: 1.0, SETTINGS)
    learner.step = 3
    strategy = SimpleNamespace(root_device=torch.device("meta"))
    learner.trainer = SimpleNamespace(  # type: ignore[assignment]
        world_size=world_size, global_rank=0, strategy=strategy
    )
    batch = next(next(iter(learner.train_dataloader())))
    assert batch["k"] == 3
    assert batch["x"].device.type == device
    assert batch["x"].dtype == torch.uint8
    assert next(iter(learner.val_dataloader()))["x"].device.type == device


def test_images_are_validated_in_small_batches_and_tables_in_large_ones() -> None:
    for x, size in ((np.zeros((300, 1, 2, 2), np.uint8), 256), (np.zeros((300, 4), np.float32), 300)):
        rows = ArrayDataset({"x": x})
        learner = Learner(vae(), rows, rows, torch.optim.Adam, lambda *_: 1.0, SETTINGS)
        learner.trainer = SimpleNamespace(world_size=2)  # type: ignore[assignment]
        assert len(next(iter(learner.val_dataloader()))["x"]) == size


def config(max_steps: int, resume: str | None = None) -> DictConfig:
    conf = Path(__file__).parents[2] / "conf"
    cfg = OmegaConf.create({"seed": 3, "resume": resume, "choices": {"trainer": "cpu"}})
    cfg.optim = OmegaConf.load(conf / "optim" / "adamw.yaml")
    cfg.trainer = OmegaConf.load(conf / "trainer" / "auto.yaml")
    cfg.optim.schedule = "constant"
    cfg.trainer.update({"accelerator": "cpu", "batch_size": 16, "max_steps": max_steps, "checkpoint_every_n_steps": 5})
    return cfg


def trained(folder: Path, cfg: DictConfig) -> dict[str, torch.Tensor]:
    folder.mkdir(exist_ok=True)
    model, rows = vae(), ArrayDataset({"x": IMAGES})
    train(model, rows, rows, cfg, folder)
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_a_vae_of_images_resumes_to_the_bit(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", config(12))
    trained(tmp_path / "parts", config(7))
    resumed = trained(tmp_path / "parts", config(12, resume="here"))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    start = vae().state_dict()
    assert not torch.equal(whole["network.encoder.0.weight"], start["network.encoder.0.weight"])


@pytest.mark.parametrize(
    ("gives", "sentence"),
    [
        (lambda loss: loss, "it returns a Tensor."),
        (lambda loss: {"error": loss}, "it returns one with error."),
        (lambda loss: {}, "it returns one with nothing in it."),
        (lambda loss: {"loss": loss.expand(3)}, r"it returns one whose loss is a tensor of shape \(3,\)."),
        (lambda loss: {"loss": loss, "part": 1.0}, "it returns one whose part is a float."),
        (lambda loss: None, "it returns a NoneType."),
    ],
)
def test_an_objective_of_the_users_that_gives_no_loss(tmp_path: Path, gives: Any, sentence: str) -> None:
    class Mine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, batch: dict[str, torch.Tensor]) -> Any:
            return gives((self.scale * batch["x"]).mean())

    rows = ArrayDataset({"x": IMAGES})
    wanted = "Mine.forward must return a dict of scalar tensors, one of them called loss; "
    with pytest.raises(InputError, match=wanted + sentence):
        train(Mine(), rows, rows, config(2), tmp_path)
