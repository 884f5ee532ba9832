"""Completion of command lines, by the function that answers, and in each shell."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from ssl_cli.cli import completion
from ssl_cli.cli.completion import answer, complete
from ssl_cli.cli.shells import SHELLS
from tests.conftest import Cli
from tests.helpers.processes import run

BREAKS = " \t\n\"'><=;|&(:"  # bash's COMP_WORDBREAKS


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ssl det", ["detect"]),
        ("ssl recon", ["reconstruct"]),
        ("ssl --v", ["--version"]),
        ("ssl nonsense ", []),
        ("ssl list r", ["runs"]),
        ("ssl list ch", ["checkpoints"]),
        ("ssl list checkpoints ", ["run="]),
        ("ssl list checkpoints run=l", ["run=latest"]),
        ("ssl completion ", ["bash", "zsh", "fish"]),
        ("X=1 .venv/bin/ssl det", ["detect"]),
        ("ssl detect mo", ["model=", "model."]),
        ("ssl score mo", []),
        ("ssl detect trainer.max_", ["trainer.max_epochs=", "trainer.max_steps=", "trainer.max_time="]),
        ("ssl detect trai", ["trainer=", "trainer."]),
        ("ssl detect model=d", ["model=dae", "model=dbn_ae"]),
        ("ssl detect -m model=dae,d", ["model=dae,dae", "model=dae,dbn_ae"]),
        ("ssl detect model=be", ["model=best", "model=beta_vae"]),  # not bert, which learns from text
        ("ssl reconstruct data=c", ["data=cifar10", "data=csl_title"]),  # not creditcard, a table
        ("ssl detect experiment=", ["experiment=one_class_mnist"]),
        ("ssl finetune task=gl", ["task=glue", "task=glue/"]),
        ("ssl finetune task=glue/m", ["task=glue/mnli", "task=glue/mrpc"]),
        ("ssl detect model=vae model.netw", ["model.network."]),
        ("ssl detect model=vae model.network.la", ["model.network.latent="]),
        ("ssl pretrain model=bert model.network.contex", ["model.network.context="]),
        ("ssl detect model.neighbors.m", ["model.neighbors.max_rows="]),  # of the default, best
        ("ssl detect trainer.strategy=", ["trainer.strategy=auto", "trainer.strategy=ddp", "trainer.strategy=fsdp"]),
        ("ssl detect threshold=", ["threshold=auto", "threshold=fdr", "threshold=f1"]),
        ("ssl detect sweep.skip_done=t", ["sweep.skip_done=true"]),
        ("ssl detect trainer.max_steps=", ["trainer.max_steps=null"]),
        ("ssl detect -", ["--help", "--all", "--cfg", "--info", "--config-dir", "-m", "--multirun"]),
        ("ssl score -", ["--help", "--all", "--cfg", "--info"]),
        ("ssl detect --info ", ["all", "defaults", "searchpath"]),
        ("ssl detect --cfg ", ["job", "hydra", "all"]),
        ("ssl detect 'model=pc", ["model=pca"]),
        ("ssl detect model=pca\\ ", []),
        ("", []),
    ],
)
def test_what_the_last_word_may_become(workdir: Path, line: str, expected: list[str]) -> None:
    assert complete(line) == expected or (line == "" and "detect" in complete(line))


def test_runs_of_the_right_verb(workdir: Path) -> None:
    for name in ("detect/ae-table/1", "pretrain/gpt-text/2"):
        (workdir / "outputs" / name).mkdir(parents=True)
        (workdir / "outputs" / name / "config.yaml").touch()
    shutil.copytree("outputs", "elsewhere")
    assert complete("ssl score run=") == ["run=latest", "run=outputs/detect/ae-table/1"]
    assert complete("ssl pretrain resume=o") == ["resume=outputs/pretrain/gpt-text/2"]
    assert complete("ssl finetune init=outputs/p") == ["init=outputs/pretrain/gpt-text/2"]
    assert complete("ssl detect paths.outputs=elsewhere resume=e") == ["resume=elsewhere/detect/ae-table/1"]


def test_files_and_folders(workdir: Path) -> None:
    for name in ("my rows.csv", "my$rows.csv", ".hidden"):
        (workdir / name).touch()
    (workdir / "mine").mkdir()
    (workdir / "mine" / "a.csv").touch()
    assert complete("ssl score input=m") == ["input=mine/", "input=my rows.csv", "input=my$rows.csv"]
    assert complete("ssl score input=my\\ r") == ["input=my rows.csv"]
    assert complete("ssl detect data=table data.file=mine/") == ["data.file=mine/a.csv"]
    assert complete("ssl score input=.h") == ["input=.hidden"]
    assert complete("ssl score input=nowhere/") == []
    assert answer(["--line", "ssl score input=my", "--breaks", BREAKS]) == "my\\ rows.csv\nmy\\$rows.csv"


def test_the_users_own_choices_count(workdir: Path) -> None:
    (workdir / "conf" / "model").mkdir(parents=True)
    (workdir / "conf" / "model" / "mine.yaml").write_text("# Mine\ndefaults:\n  - gaussian\nsharpness: 3\n")
    assert complete("ssl detect model=mi") == ["model=mine"]
    assert complete("ssl detect model=mine model.")[:2] == ["model.sharpness=", "model.ridge="]


def test_a_line_that_can_not_be_completed_is_left_alone(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("conf/model").mkdir(parents=True)
    Path("conf/model/odd.yaml").write_text("a: [")
    assert cli("completion", "--line", "ssl detect model=odd model.a") == (0, "\n", "")
    assert cli("completion", "--line")[::2] == (0, "")

    def fail(line: str) -> list[str]:
        raise OSError("no rights")

    monkeypatch.setattr(completion, "complete", fail)
    assert cli("completion", "--line", "ssl det") == (0, "\n", "")


def test_an_unknown_shell(cli: Cli) -> None:
    code, _, err = cli("completion", "tcsh")
    assert (code, err) == (2, "error: ssl completion takes one of bash, zsh, fish, not tcsh.\n")
    assert 'eval "$(ssl completion bash)"' in cli("completion")[1]


def test_completing_imports_no_library_that_is_slow(workdir: Path) -> None:
    code = (
        "import sys; from ssl_cli.cli.main import main; "
        "assert main(['completion', '--line', 'ssl detect model=vae model.network.']) == 0; "
        "slow = {'hydra', 'omegaconf', 'rich', 'numpy', 'torch'} & set(sys.modules); assert not slow, slow"
    )
    done = run([sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr
    assert "model.network.latent=" in done.stdout


# What each shell would insert. In bash and zsh the shell itself is stood in for: it calls the function with the words.
ASK = {
    "bash": """
        COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
        eval "$(ssl completion bash)"
        compopt() { :; }
        for COMP_LINE in 'ssl det' 'ssl detect model=pc' 'ssl score input=my'; do
            COMP_POINT=${#COMP_LINE}
            _ssl_complete ssl
            echo "${COMPREPLY[@]}"
        done""",
    "zsh": """
        compdef() { :; }
        eval "$(ssl completion zsh)"
        compadd() { while [[ $1 != -- ]]; do shift; done; shift; (( $# )) && print -r -- $@; true; }
        words=(ssl det) CURRENT=2 PREFIX=det; _ssl_complete
        words=(ssl detect model=pc) CURRENT=3 PREFIX=model=pc; _ssl_complete
        words=(ssl score input=my) CURRENT=3 PREFIX=input=my; _ssl_complete""",
    "fish": """
        ssl completion fish | source
        complete -C 'ssl det'
        complete -C 'ssl detect model=pc'
        complete -C 'ssl score input=my'""",
}
COMPLETED = {"bash": ["detect", "pca", "my\\ rows.csv"]}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_in_its_shell(workdir: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    program = workdir / "bin" / "ssl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m ssl_cli.cli.main "$@"\n')
    program.chmod(0o755)
    (workdir / "my rows.csv").touch()
    plain = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    environment = os.environ | {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(workdir)}
    done = run([shell, *plain, "-c", ASK[shell]], env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == COMPLETED.get(shell, ["detect", "model=pca", "input=my rows.csv"])
