"""Fixtures for the tests of verbs that use a finished run: small finished runs, and image files."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import run_here

SHORT = [
    *("trainer=cpu", "trainer.max_steps=4", "trainer.validate_every_n_steps=4", "trainer.batch_size=16"),
    *("probes=false", "importance_samples=2", "likelihood_images=4", "prior_steps=2"),
]
SMALL = {
    "ae": ["model.network.hidden=[16]", "model.network.latent=4"],
    "vae": ["model.network.hidden=[16]", "model.network.latent=2"],
    "binary_ae": ["model.network.hidden=[16]", "model.network.latent=6"],
    "vqvae": [
        "model.network.channels=[8]",
        "model.quantizer.num_codes=8",
        "model.prior_width=8",
        "model.prior_layers=1",
    ],
}
Finished = Callable[..., Path]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """`trained("vae", "seed=1")` -> the folder of a finished run, made once. Tests must not change it."""
    folders: dict[tuple[str, ...], Path] = {}

    def train(model: str, *words: str) -> Path:
        if (model, *words) not in folders:
            home = tmp_path_factory.mktemp(model)
            done = run_here("reconstruct", f"model={model}", *SHORT, *SMALL[model], *words, cwd=home)
            assert done.returncode == 0, done.stderr
            (folders[model, *words],) = home.glob("outputs/reconstruct/*/*")
        return folders[model, *words]

    return train


@pytest.fixture
def finished(trained: Finished, workdir: Path) -> Finished:
    """As `trained`, but a copy in the working directory's outputs, which a test may change."""

    def copy(model: str, *words: str) -> Path:
        original = trained(model, *words)
        folder = Path("outputs/reconstruct") / original.parent.name / original.name
        shutil.copytree(original, folder)
        return folder

    return copy


@pytest.fixture
def pictures(workdir: Path) -> Path:
    """A folder of image files: grey and RGB, of two sizes, one in a sub-folder, one damaged."""
    rng = np.random.default_rng(0)
    folder = workdir / "pictures"
    (folder / "more").mkdir(parents=True)
    Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(folder / "a.png")
    Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(folder / "a.jpg")
    Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(folder / "more" / "b.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return folder
