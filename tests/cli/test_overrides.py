"""Overrides that can't be obeyed: each gets a sentence of ours, which names it, and none is ignored."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssl_cli.cli import launch
from ssl_cli.cli.main import main
from tests.conftest import Cli

WORDS_OF_HYDRA = re.compile(
    r"force-add|Could not (override|append|delete|find)|in struct|CompositionException|append to your|use \+|"
    r"Error merging|Interpolation key|defaults list|Multiple values|Available options|token recognition|mismatched|"
    r"full_key|object_type|extraneous|Ambiguous|requires --multirun|Traceback"
)  # fmt: skip


@pytest.fixture(autouse=True)
def _composed_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compose and check, but run nothing."""
    monkeypatch.setattr(launch, "_run", lambda cfg, verb: None)
    yield


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("hydra.run.dir=x", "hydra.run.dir can't be set: runs are written to paths.outputs=FOLDER."),
        ("-m hydra.sweep.subdir=x", "hydra.sweep.subdir can't be set: sweeps go to paths.outputs=FOLDER."),
        ("hydra.mode=MULTIRUN", "hydra.mode can't be set: use -m for a sweep."),
        ("hydra.job.chdir=true", "hydra.job.chdir can't be set: paths are relative to the working directory."),
        ("hydra.job.env_set.A=b", "set the variable before the command"),
        ("hydra.searchpath=[x]", "hydra.searchpath can't be set: --config-dir FOLDER adds"),
        ("hydra.verbose=true", "hydra.verbose can't be set: a run's log is log.txt"),
        ("hydra/job_logging=none", "hydra/job_logging can't be set: a run's log"),
        ("hydra/help=x", "hydra/help can't be set: `ssl VERB --help`"),
        ("hydra.job.name=x", "of Hydra's own options ssl takes hydra/launcher="),
        ("hydra=3", "hydra can't be set"),
        ("~hydra", "hydra can't be set"),
        ("hydra/launcher=joblib", "hydra/launcher is for sweeps: add -m."),
        ("-m hydra/launcher=nope", "hydra/launcher=nope is not a choice."),
        ("-m hydra/launcher=[basic]", "hydra/launcher=['basic'] is not a choice."),
        ("-m hydra/launcher=basic,basic", "how a sweep runs can't vary in it"),
        ("-m ~hydra/launcher", "write hydra/launcher=VALUE, without ~ and @."),
        ("-m hydra/other=x", "hydra/other can't be set"),
        ("-m hydra.launcher.n_jbs=2", "hydra.launcher.n_jbs is not an option of hydra/launcher=basic."),
        ("-m hydra.sweeper.max_batch_size=0", "must be a whole number of at least 1, not 0."),
        ("-m hydra.launcher.n_jobs=0", "or -1 for all cores, not 0."),
        ("-m hydra.launcher.n_jobs=1000000", "n_jobs must be a whole number from 1 to"),
        ("-m hydra.launcher.n_jobs=-2", "or -1 for all cores, not -2."),
        ("-m hydra.sweeper.params={seed:1}", "write the values as options, such as seed=0,1"),
        ("=3", "=3 has no name of an option"),
        ("facts.shape=[3]", "facts.shape is not an option: ssl sets it by itself."),
        ("model@x=dae", "a group can't be put elsewhere by @; write model=NAME."),
        ("+model@x=dae", "a group can't be put elsewhere by @"),
        ("seed@x=3", "can't be put elsewhere by @"),
        ("task/glue=sst2", "write task=glue/NAME."),
        ("model={}", "model={} changes nothing"),
        ("model.neighbors={}", "changes nothing"),
        ("task=glue/sst2", "task is not an option of ssl detect."),
        ("++tokenizer=bpe", "tokenizer is not an option of ssl detect."),
        ("~model", "~model: a group can't be left out; write model=NAME."),
        ("~logger=csv", "a group can't be left out"),
        ("model=", "model= names no choice."),
        ("model=null", "model=null is not a choice."),
        ("model=[]", "model takes one choice"),
        ("logger=[csv,]", "is no list of names"),
        ("model=encodr", "Choices: ae, best, beta_vae, binary_ae, conv_ae, dae, dbn_ae, gaussian, iforest,"),
        ("+foo=3", "foo is not an option. Did you mean folds?"),
        ("foo.bar=3", "foo is not an option."),
        ("seed.x=3", "seed must be a whole number"),
        ("~foo", "~foo: there is no foo to leave out. Did you mean folds?"),
        ("data=table ~data.file", "~data.file: data.file has no value that could be left out."),
        ("~model.level", "~model.level: there is no model.level to leave out."),
        ("~seed=3", "~seed=3: seed is 0; ~seed leaves it out whatever it is."),
        ("~seed", "seed is missing: it must be"),
        ("~seed.x", "~seed.x: seed is 0, which has no options of its own."),
        ("model.neighbors=[1]", "model.neighbors is a group of options, which can't become [1]; set"),
        ("-m model=dae,ae model.network=[1]", "model.network is a group of options"),
        ("-m model=dae,ae ~model.level", "there is no model.level to leave out."),
        ("seed=${nope}", "seed refers to something that does not exist: ${nope}."),
        ("model._target_=${nope}", "must name a class"),
        ("seed=1,2", "seed=1,2 lists several values: add -m"),
        ("-m seed=range(0,1000000000)", "a sweep has at most 10,000."),
        ("-m seed=interval(0,1)", "an interval is for hydra/sweeper=optuna"),
    ],
)
def test_a_word_that_can_not_be_obeyed(cli: Cli, words: str, sentence: str) -> None:
    code, _, err = cli("detect", *words.split())
    assert code == 2 and sentence in err
    assert not WORDS_OF_HYDRA.search(err)


@pytest.mark.parametrize("words", ["+seed=3", "++seed=3", "seed=3", "+model=dae", "++model=dae", "experiment=null"])
def test_signs_of_hydra_are_obeyed(cli: Cli, words: str) -> None:
    code, out, _ = cli("detect", words, "--cfg", "job")
    assert code == 0
    assert ("seed: 3" in out) == ("seed" in words)
    assert ("\n  noise: gaussian" in out) == ("dae" in words)
    assert cli("detect", words)[0] == 0


def test_the_last_of_a_repeated_option_counts_and_the_others_are_named(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["detect", "seed=1", "+seed=2", "seed=3", "--cfg", "job"]) == 0
    out, err = capsys.readouterr()
    unused = [f"warning: {word} is not used: seed=3 comes after it\n" for word in ("seed=1", "+seed=2")]
    assert "seed: 3" in out and err == "".join(unused)
    assert main(["detect", "seed=1", "seed=1", "--cfg", "job"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("defaults:\n  - nothing\n", "names model/nothing in its `defaults`, and there is no model/nothing.yaml."),
        ("defaults:\n  - dea\n", "Did you mean dae?"),
        ("defaults:\n  - mine\n", "inherits from its own name in `defaults`"),
        ("defaults:\n  - dae\n  - _self_\nnetwork: [1]\n", "does not fit what it is put into"),
        ("defaults: 5\n", "does not fit what it is put into"),
    ],
)
def test_a_yaml_that_can_not_be_composed(cli: Cli, text: str, sentence: str) -> None:
    Path("conf/model").mkdir(parents=True)
    Path("conf/model/mine.yaml").write_text(text)
    code, _, err = cli("detect", "model=mine", "--cfg", "job")
    assert code == 2 and err.startswith("error: model=mine can't be composed: ") and sentence in err
    assert "mine.yaml" in err and not WORDS_OF_HYDRA.search(err)


def test_options_of_hydra_in_a_recipe_are_refused(cli: Cli, workdir: Path) -> None:
    (workdir / "conf" / "experiment").mkdir(parents=True)
    (workdir / "conf" / "experiment" / "mine.yaml").write_text(
        "# @package _global_\n# Mine\nseed: 3\nhydra: {run: {dir: elsewhere}}\n"
    )
    code, _, err = cli("detect", "experiment=mine")
    assert code == 2 and "mine.yaml sets options of hydra, which ssl would ignore: leave them out." in err


def test_each_folder_of_a_list_must_exist(cli: Cli, workdir: Path) -> None:
    (workdir / "here").mkdir()
    words = ["reconstruct", "data=speech", "model=voice_ae"]
    assert cli(*words, "data.dir=[here,here]")[0] == 0
    code, _, err = cli(*words, "data.dir=[here,typo]")
    assert (code, err) == (2, "error: data.dir=typo: there is no such file or folder.\n")
