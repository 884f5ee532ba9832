"""Fixtures of small models of every kind, trained briefly on a few digits."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from ssl_cli.commands.reconstruct.predictions import ModelOutputs, model_outputs
from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import build
from ssl_cli.data.images.datasets import Digits, ImageData, ImageSplit

SMALL = {
    "ae": {"network.hidden": [16], "network.latent": 6},
    "beta_vae": {"network.hidden": [16], "network.latent": 6},
    "binary_ae": {"network.hidden": [16], "network.latent": 12},
    "conv_ae": {"network.channels": [4, 4], "network.latent": 2},
    "dae": {"network.hidden": [16], "network.latent": 6},
    "dbn_ae": {"network.hidden": [16], "network.latent": 6, "rbm_epochs": 1},
    "onehot_ae": {
        "classifier.channels": [4, 4],
        "classifier.hidden": 8,
        "classifier.classes": 6,
        "network.hidden": [8],
    },
    "pca": {"latent": 6},
    "vae": {"network.hidden": [16], "network.latent": 6},
    "vqvae": {
        "network.channels": [4, 4],
        "network.latent": 3,
        "quantizer.num_codes": 16,
        "prior_width": 4,
        "prior_layers": 1,
    },
}
OutputsOf = Callable[..., dict[str, ModelOutputs]]


def make_model(name: str, shape: list[int], **options: Any) -> Any:
    """Return a small untrained model of conf/model."""
    cfg = OmegaConf.create(
        {
            "model": OmegaConf.load(built_in_conf() / "model" / f"{name}.yaml"),
            "data": {"_target_": "ssl_cli.data.images.datasets.Digits"},
            "facts": {"shape": shape, "categories": []},
        }
    )
    for key, value in {**SMALL[name], **options}.items():
        OmegaConf.update(cfg.model, key, value)
    torch.manual_seed(0)
    model = build(cfg.model)
    if name == "vqvae":
        model.prior_is_fitted.fill_(True)  # so that it generates
    return model


def train_model(model: Any, x: np.ndarray, steps: int = 250) -> Any:
    """Return the model, trained briefly on images x (N, C, H, W), with all steps before and after training."""
    images, rows = torch.from_numpy(x), torch.from_numpy(x).float() / 255
    if hasattr(model, "initialize_from_data"):
        model.initialize_from_data(images, 0, lambda _: None)
    if hasattr(model, "fit"):
        model.fit(rows.flatten(1).numpy(), 0)
        return model.eval()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
    torch.manual_seed(0)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        model({"x": rows[torch.randperm(len(rows))[:64]]})["loss"].backward()
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        model.fit_statistics(images) if hasattr(model, "fit_statistics") else None
    return model


@pytest.fixture(scope="session")
def digits() -> ImageData:
    """160 training and 60 test images of the embedded digits, of all ten classes."""
    whole = Digits(val=0).image_splits(0)
    splits = {
        name: ImageSplit(split.x[:n], split.label[:n], split.row[:n])  # type: ignore[index]
        for (name, split), n in zip(sorted(whole.splits.items(), reverse=True), (160, 60), strict=True)
    }
    return ImageData(splits, whole.classes, whole.fingerprint)


@pytest.fixture(scope="session")
def outputs_of(digits: ImageData) -> OutputsOf:
    """`outputs_of("vae", beta=2.0)`: the outputs of such a model for the digits, after a short training; made once."""
    cache: dict[str, dict[str, ModelOutputs]] = {}

    def of(name: str, steps: int = 250, **options: Any) -> dict[str, ModelOutputs]:
        key = repr((name, steps, options))
        if key not in cache:
            model = train_model(make_model(name, [1, 8, 8], **options), digits.splits["train"].x, steps)
            cache[key] = model_outputs(model, digits)
        return cache[key]

    return of
