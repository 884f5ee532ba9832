"""`ssl reconstruct` stopped at its worst moments, and on two processes."""

import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import run_ssl
from tests.helpers.distributed_runs import DDP, assert_none_left
from tests.helpers.processes import folder_of, start, step_of, wait_for

SMALL = ["probes=false", "likelihood_images=10", "importance_samples=2", "trainer.validate_every_n_steps=50"]
TRAINED = [*SMALL, "trainer.max_steps=200", "trainer.checkpoint_every_n_steps=10"]
VQVAE = ["model=vqvae", "model.network.channels=[8]", "model.quantizer.num_codes=16", "prior_steps=200"]
VQVAE += ["model.prior_width=8", "model.prior_layers=1"]
DBN = ["model=dbn_ae", "model.network.hidden=[24,16]", "model.network.latent=4", "model.rbm_epochs=2"]
PRETRAINED = ("start from k-means", "machine 64 - 24")  # what the log says of a start


def assert_same(one: Path, two: Path) -> None:
    weights, again = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
    assert weights.keys() == again.keys()
    assert not [name for name in weights if not torch.equal(weights[name], again[name])]
    assert (one / "metrics.json").read_bytes() == (two / "metrics.json").read_bytes()


def killed(words: list[str], checkpoint: str, workdir: Path) -> Path:
    """The folder of a run that was killed as soon as it had this checkpoint."""
    process = start("reconstruct", *words, "paths.outputs=killed", cwd=workdir)
    wait_for(lambda: list(workdir.glob(f"killed/reconstruct/*/*/{checkpoint}")), process)
    process.kill()
    process.communicate()
    (config,) = workdir.glob("killed/reconstruct/*/*/config.yaml")
    assert not (config.parent / "model.safetensors").exists(), "it finished before it was killed"
    return config.parent


def resumed(workdir: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    done = run_ssl("reconstruct", "resume=latest", "paths.outputs=killed", cwd=workdir)
    assert folder_of(done, workdir) == folder
    return done


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str]], Path]:
    """Runs that nothing happens to, each made once."""

    @cache
    def run(*words: str) -> Path:
        place = tmp_path_factory.mktemp("whole")
        done = run_ssl("reconstruct", *words, cwd=place)
        assert any(said in done.stdout for said in PRETRAINED), done.stderr
        return folder_of(done, place)

    return lambda words: run(*words)


@pytest.mark.long
@pytest.mark.parametrize("words", [VQVAE, DBN], ids=["vqvae", "dbn_ae"])
def test_killed_in_training_and_resumed_it_is_the_same(
    workdir: Path, whole: Callable[[list[str]], Path], words: list[str]
) -> None:
    words = ["trainer=cpu", *words, *TRAINED]
    folder = killed(words, "last.ckpt", workdir)
    assert not (folder / "prior").exists()
    again = resumed(workdir, folder)
    assert "resuming from step" in again.stdout
    assert not any(said in again.stdout for said in PRETRAINED)  # what it began from is in its checkpoint
    assert_same(whole(words), folder)


@pytest.mark.long
def test_killed_in_the_priors_training_and_resumed_it_is_the_same(
    workdir: Path, whole: Callable[[list[str]], Path]
) -> None:
    words = ["trainer=cpu", *VQVAE, *TRAINED]
    folder = killed(words, "prior/last.ckpt", workdir)
    step = step_of(folder / "prior" / "last.ckpt")
    assert step_of(folder / "last.ckpt") == 200
    again = resumed(workdir, folder)
    assert f"resuming from step {step} of {folder.relative_to(workdir)}/prior/last.ckpt" in again.stdout
    assert not any(said in again.stdout for said in PRETRAINED)
    assert_same(whole(words), folder)


@pytest.mark.long
def test_killed_before_its_first_checkpoint_it_begins_anew(workdir: Path, whole: Callable[[list[str]], Path]) -> None:
    words = ["trainer=cpu", *DBN, *SMALL, "trainer.max_steps=300", "trainer.checkpoint_every_n_steps=300"]
    folder = killed(words, "history.csv", workdir)  # the validation of step 50
    assert not list(folder.glob("*.ckpt"))
    again = resumed(workdir, folder)
    assert "no checkpoint yet: starting from step 0" in again.stdout
    assert PRETRAINED[1] in again.stdout
    assert_same(whole(words), folder)


# Saves what each process ends up with.
SEEN = """
import os
from safetensors.torch import save_file
from ssl_cli.methods.autoencoders.vector_quantized import VQVAE

class Seen(VQVAE):
    def fit_statistics(self, x):
        super().fit_statistics(x)
        state = {name: value.contiguous() for name, value in self.state_dict().items()}
        save_file(state, f"seen-{os.environ.get('LOCAL_RANK', 0)}.safetensors")
"""


@pytest.mark.long
@pytest.mark.parametrize("codebook", ["ema", "loss"])
def test_two_processes_have_one_codebook(workdir: Path, codebook: str) -> None:
    (workdir / "seen.py").write_text(SEEN)
    words = [*DDP, *VQVAE, *SMALL, f"model.quantizer.codebook={codebook}", "model._target_=seen.Seen"]
    words += ["trainer.max_steps=60", "prior_steps=20", "model.quantizer.dead_code_threshold=0.5"]
    done = run_ssl("reconstruct", *words, f"paths.outputs={workdir}/outputs", cwd=workdir)
    folder = folder_of(done, workdir)
    first, second = (load_file(workdir / f"seen-{rank}.safetensors") for rank in (0, 1))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    trained = load_file(folder / "model.safetensors")
    assert torch.equal(trained["quantizer.vectors"], first["quantizer.vectors"])
    assert any(not torch.equal(trained[name], first[name]) for name in trained if name.startswith("prior"))
    assert "unused" not in done.stderr and not list(folder.glob("worker-*"))
    assert_none_left(workdir)
