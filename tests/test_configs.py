"""Every YAML in conf/ composes, passes check and takes a training step."""

import json
from pathlib import Path

import pytest
import torch

from ssl_cli.catalog import built_in_conf, choices, groups
from tests.conftest import QUICK, Cli, run_ssl

NEEDED = {"adbench": ["data.name=cardio"]}


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (built_in_conf() / group).glob("*.yaml"))


def trained(cli: Cli, *words: str) -> dict[str, float]:
    code, out, err = cli("detect", *QUICK, *words)
    assert code == 0, err
    return json.loads((Path(out.strip().splitlines()[-1]) / "metrics.json").read_text())


def test_every_choice_says_what_it_is() -> None:
    for group in ["", *groups()]:
        assert all(choice.summary for choice in choices(group).values()), group


@pytest.mark.parametrize("name", names("data"))
def test_data(cli: Cli, published: Path, workdir: Path, name: str) -> None:
    extra = NEEDED.get(name, [])
    if name == "table":
        extra = [f"data.file={published}/creditcard_fraud/creditcard.csv", "data.label=Class"]
    metrics = trained(cli, f"data={name}", f"paths.data={published}", *extra)
    assert 0 <= metrics["test/auroc"] <= 1


@pytest.mark.parametrize("name", names("model"))
def test_model(cli: Cli, name: str) -> None:
    assert 0.5 < trained(cli, f"model={name}", "trainer.max_steps=30")["test/auroc"] <= 1


@pytest.mark.parametrize("name", names("optim"))
def test_optim(cli: Cli, name: str) -> None:
    assert 0 <= trained(cli, f"optim={name}")["test/auroc"] <= 1


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_trainer(cli: Cli, name: str) -> None:
    code, _, err = cli("detect", f"trainer={name}", *QUICK[1:])
    assert code == 0, err


@pytest.mark.parametrize("name", ["gpu", "fsdp"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_trainer_that_needs_a_gpu_says_so(cli: Cli, name: str) -> None:
    code, _, err = cli("detect", f"trainer={name}")
    assert code == 2
    assert "use trainer=cpu" in err


def test_trainer_ddp_writes_one_run_folder(workdir: Path) -> None:
    done = run_ssl("detect", "trainer=ddp", "trainer.accelerator=cpu", *QUICK[1:], cwd=workdir)
    assert done.returncode == 0, done.stderr
    assert len(list((workdir / "outputs").glob("detect/*/*/metrics.json"))) == 1
    assert done.stdout.count("auroc") == 1
