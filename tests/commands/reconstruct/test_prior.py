"""Prior of a VQ-VAE: fitted to the current codes of its model, also after the run is resumed."""

import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

from ssl_cli.commands.reconstruct.prior import describe_prior
from ssl_cli.runs.folder import read_history
from tests.conftest import Cli

SMALL = [
    *("model=vqvae", "model.network.channels=[8]", "model.quantizer.num_codes=8", "model.prior_width=8"),
    *("model.prior_layers=1", "trainer=cpu", "trainer.max_steps=4", "trainer.validate_every_n_steps=4"),
    *("trainer.batch_size=16", "prior_steps=6", "probes=false"),
]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return {name: value for name, value in load_file(run / "model.safetensors").items() if name.startswith("prior.")}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


NO_LIMIT = {"max_steps": None, "max_epochs": None, "max_time": None, "default_steps": 3000}


@pytest.mark.parametrize(
    ("prior_steps", "limits", "expected"),
    [
        (None, {}, "2,000 steps"),
        (None, {"max_steps": 60}, "40 steps"),
        (None, {"max_epochs": 2}, "20 steps"),  # of 1,900 images in batches of 128
        (None, {"max_time": "01:00:00"}, "00:40:00"),
        (None, {"max_steps": 30, "max_time": "00:00:30"}, "20 steps or 00:00:20"),
        (7, {"max_steps": 60, "max_time": "01:00:00"}, "7 steps"),
    ],
)
def test_a_prior_takes_two_thirds_of_the_steps(
    prior_steps: int | None, limits: dict[str, int | str], expected: str
) -> None:
    trainer = NO_LIMIT | {"batch_size": 128, "accumulate_grad_batches": 1} | limits
    cfg = OmegaConf.create({"prior_steps": prior_steps, "trainer": trainer})
    assert describe_prior(cfg, n_images=1900) == expected


def test_other_codes_get_another_prior(cli: Cli) -> None:
    code, out, err = cli("reconstruct", *SMALL)
    assert code == 0, err
    assert "eval mode" not in out + err and "then its prior: 6 steps; prior_steps=0 leaves it out" in out
    run = Path(out.splitlines()[-1])
    first, digest = weights(run), json.loads((run / "prior" / "codes.json").read_text())["sha256"]

    code, out, err = cli("reconstruct", f"resume={run}")
    assert code == 0 and "resuming from step 6 of" in out, err
    assert same(first, weights(run)), "nothing to do for the same codes"

    code, out, err = cli("reconstruct", f"resume={run}", "prior_steps=9")
    assert code == 0 and "resuming from step 6 of" in out, err
    assert not same(first, weights(run)) and read_history(run / "prior" / "history.csv")[-1]["step"] == 9

    code, out, err = cli("reconstruct", f"resume={run}", "trainer.max_steps=40", "prior_steps=5", "optim.lr=0.01")
    assert code == 0 and "resuming from step 9" not in out, err
    assert json.loads((run / "prior" / "codes.json").read_text())["sha256"] != digest
    assert [row["step"] for row in read_history(run / "prior" / "history.csv")][-1] == 5
    assert not same(first, weights(run))


def test_steps_of_a_prior_that_a_model_lacks_are_said(cli: Cli) -> None:
    code, _, err = cli("reconstruct", "model=pca", "trainer=cpu", "prior_steps=5", "probes=false")
    assert code == 0 and "prior_steps=5 is not used: model=pca has no prior" in err
