"""Every YAML in conf/ composes, passes check and takes a training step."""

import json
from pathlib import Path

import pytest
import torch

from ssl_cli.catalog import built_in_conf, choices, groups
from tests.conftest import QUICK, Cli

NEEDED = {"adbench": ["data.name=cardio"]}
EXTRAS = {"pyod": "needs the extra pyod: pip install 'ssl-cli[pyod]'"}


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
    if name in EXTRAS:
        pytest.importorskip(name, reason=EXTRAS[name])
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


def test_a_users_trainer_may_inherit_ours(cli: Cli, workdir: Path) -> None:
    (workdir / "conf" / "trainer").mkdir(parents=True)
    mine = "# Mine\ndefaults: [auto, _self_]\naccelerator: cpu\nmax_steps: 3\n"
    (workdir / "conf" / "trainer" / "mine.yaml").write_text(mine)
    code, out, err = cli("detect", "trainer=mine", "resamples=20")
    assert code == 0, err
    assert "step 3/3" in out
    (workdir / "conf" / "trainer" / "cpu.yaml").write_text("# Mine\ndefaults: [cpu, _self_]\n")
    assert "inherits from its own name" in cli("detect", "trainer=cpu")[2]


@pytest.mark.parametrize(("model", "least"), [("best", 0.96), ("dae", 0.97)])
def test_tumours_are_found(cli: Cli, model: str, least: float) -> None:
    code, out, err = cli("detect", f"model={model}", "trainer=cpu", "resamples=20", "seed=2")
    assert code == 0, err
    assert json.loads((Path(out.strip().splitlines()[-1]) / "metrics.json").read_text())["test/auroc"] > least


@pytest.mark.long
@pytest.mark.shared
@pytest.mark.parametrize(("data", "least"), [("breast_cancer", 0.96), ("creditcard", 0.95), ("kddcup99", 0.995)])
def test_the_default_reaches_what_the_readme_says(cli: Cli, shared: Path, data: str, least: float) -> None:
    code, out, err = cli("detect", "trainer=cpu", f"data={data}", f"paths.data={shared}")
    assert code == 0, err
    assert json.loads((Path(out.strip().splitlines()[-1]) / "metrics.json").read_text())["test/auroc"] >= least
