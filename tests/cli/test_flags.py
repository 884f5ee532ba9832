"""Flags: each of Hydra's is obeyed or refused with what does its job."""

from pathlib import Path

import pytest
import yaml

from ssl_cli.cli.flags import parse_flags
from ssl_cli.errors import InputError
from tests.conftest import Cli


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--hydra-help"], "ssl has no --hydra-help: `ssl detect --help`"),
        (["--shell-completion"], "ssl has no --shell-completion: `ssl completion bash`"),
        (["-sc", "install=bash"], "ssl has no --shell-completion"),
        (["--config-path", "x"], "ssl has no --config-path: the built-in configs stay; --config-dir"),
        (["--config-name=x"], "ssl has no --config-name: the verb names the config"),
        (["--experimental-rerun", "x"], "ssl has no --experimental-rerun: `ssl detect resume=RUN`"),
        (["--resolve"], "--resolve belongs to --cfg"),
        (["--package", "model"], "--package belongs to --cfg"),
        (["--package"], "--package needs a value"),
        (["--cfg"], "--cfg needs a value"),
        (["--cfg", "jobs"], "--cfg takes job, hydra or all, not jobs."),
        (["--info", "plugins"], "--info takes all, defaults or searchpath, not plugins."),
        (["--cfg", "job", "-c", "all"], "--cfg is there twice"),
        (["-m", "--cfg", "job"], "--multirun and --cfg: only one of them can be obeyed"),
        (["--run", "-m"], "--multirun and --run: only one"),
        (["--run=1"], "--run takes no value"),
        (["--cgf", "job"], "--cgf is neither an option=value nor a flag. Did you mean --cfg?"),
        (["-x"], "-x is neither an option=value nor a flag; flags are -m, --cfg job"),
        (["seed"], "seed is neither"),
    ],
)
def test_a_flag_that_can_not_be_obeyed(words: list[str], sentence: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_flags("detect", words)
    assert sentence in str(raised.value)


def test_flags_in_every_spelling() -> None:
    line = parse_flags("detect", ["seed=1", "-c", "job", "--package=model", "--resolve", "~a"])
    assert line.words == ["seed=1", "~a"]
    assert line.flags == {"--cfg": "job", "--package": "model", "--resolve": ""}
    shown = parse_flags("detect", ["--info", "defaults", "-cd", "x"])
    assert shown.flags == {"--info": "defaults", "--config-dir": "x"}
    assert parse_flags("detect", ["--info", "seed=1"]).flags == {"--info": ""}


def test_resolve_leaves_what_follows_from_the_data(cli: Cli) -> None:
    code, out, err = cli("detect", "model=dae", "--cfg", "job", "--resolve", "optim.weight_decay=${optim.lr}")
    assert code == 0, err
    cfg = yaml.safe_load(out)
    assert cfg["model"]["network"]["shape"] == "${facts.shape}"
    assert cfg["model"]["network"]["hidden"] == [256]  # by_modality
    assert cfg["optim"]["weight_decay"] == cfg["optim"]["lr"] == cfg["optim"]["optimizer"]["lr"]


def test_a_part_of_the_config(cli: Cli) -> None:
    code, out, _ = cli("detect", "model=dae", "--cfg", "job", "--package", "model.network")
    assert (code, out.splitlines()[0]) == (0, "# @package model.network")
    assert yaml.safe_load(out)["latent"] == 32
    assert cli("detect", "--cfg", "job", "--package", "seed")[1] == "0\n"
    assert "the config has no such part. Did you mean model?" in cli("detect", "--cfg", "job", "--package", "modl")[2]
    assert yaml.safe_load(cli("detect", "--cfg", "hydra")[1]).keys() == {"hydra"}
    assert {"hydra", "model"} < yaml.safe_load(cli("detect", "--cfg", "all", "--resolve")[1]).keys()


def test_version_of_a_verb_is_that_of_ssl(cli: Cli) -> None:
    assert cli("detect", "--version") == cli("--version")


def test_a_folder_of_configs(workdir: Path, cli: Cli) -> None:
    for folder, summary in (("my conf é", "Mine, first"), ("conf", "Mine, second")):
        (workdir / folder / "model").mkdir(parents=True)
        (workdir / folder / "model" / "mine.yaml").write_text(f"# {summary}\ndefaults:\n  - gaussian\nridge: 0.25\n")
    own = ("--config-dir", "my conf é")
    assert "ridge: 0.25" in cli("detect", *own, "model=mine", "--cfg", "job")[1]
    assert "Mine, first" in cli("list", "models", *own)[1] and "Mine, second" in cli("list", "models")[1]
    assert "Mine, first" in cli("detect", *own, "--help", "--all")[1]
    assert "model=mine" in cli("completion", "--line", "ssl detect --config-dir 'my conf é' model=mi")[1]
    assert "my conf é/" in cli("completion", "--line", "ssl detect --config-dir my")[1]
    page = cli("detect", *own, "model=mine", "--info")[1]
    folders = [line.split("  ")[0] for line in page.splitlines()[2:4]]
    assert folders == [str(workdir / "my conf é"), str(workdir / "conf")]
    assert f"{workdir / 'my conf é' / 'model' / 'mine.yaml'}" in page
    code, _, err = cli("detect", *own, "-m", "model=mine", "trainer=cpu", "seed=1,2", "bootstrap_samples=10")
    assert code == 0, err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["detect", "--config-dir", "nowhere"], "--config-dir nowhere: there is no such folder."),
        (["detect", "--config-dir", "."], "--config-dir .: it has no YAML files in a folder named data or"),
        (["list", "models", "--config-dir", "nowhere"], "there is no such folder"),
        (["score", "--config-dir", "my", "run=x", "input=y"], "ssl score has none of them"),
        (["detect", "--config-dir", "my", "resume=latest"], "--config-dir has no effect with resume="),
        (["detect", "--info", "resume=latest"], "--info has no effect with resume="),
    ],
)
def test_a_folder_of_configs_without_effect(workdir: Path, cli: Cli, words: list[str], sentence: str) -> None:
    (workdir / "my" / "model").mkdir(parents=True)
    (workdir / "my" / "model" / "a.yaml").touch()
    code, _, err = cli(*words)
    assert code == 2 and sentence in err
