"""Validation of a config: every fault in one message, before any data is read."""

from pathlib import Path

import pytest

from tests.conftest import Cli

SIX_FAULTS = ["model.latnt=3", "modle=ae", "trainer.max_steps=many", "optim.lr=-1", "threshold=zz", "fpr=2"]


def test_every_fault_at_once(cli: Cli, workdir: Path) -> None:
    code, _, err = cli("detect", "model=dae", *SIX_FAULTS)
    assert code == 2
    assert "6 faults" in err
    for sentence in (
        "modle is not an option. Did you mean model?",
        "model.latnt is not an option. model takes network, noise, level, loss, output, shift, categories.",
        "trainer.max_steps must be a whole number of at least 1 or null, not 'many'.",
        "optim.lr must be a number above 0, not -1.",
        "threshold must be a number or auto, fdr, f1 or a quantile like q0.995, not 'zz'.",
        "fpr must be a number of at least 1e-06 and below 1, not 2.",
    ):
        assert sentence in err
    assert not (workdir / "outputs").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["data=table"], "data.file is missing"),
        (["data=table", "data.file=t.csv", "data.drop=a"], "Brackets make a list of it: 'data.drop=[a]'"),
        (["data=table", "data.file=t.csv", "data.drop=[3,a]"], """Quotes make texts of them: 'data.drop=["3", "a"]'"""),
        (["model.network.latent=0"], "model.network.latent must be a whole number of at least 1, not 0."),
        (["model.network.hidden=wide"], "model.network.hidden must be a list"),
        (["model.network.actvation=tanh"], "Did you mean activation?"),
        (
            ["model.network.shape=${facts.vocab_size}"],
            "needs the fact vocab_size, but data=breast_cancer gives only shape",
        ),
        (["model.level=${optim.learning_rate}"], "model.level refers to something that does not exist"),
        (["model._target_=ssl_cli.methods.nothing.Here"], "can't be imported"),
        (
            ["model.network._target_=ssl_cli.methods.detectors.gaussian.Gaussian"],
            "model.network must be an AutoencoderNetwork, not a Gaussian.",
        ),
        (["optim.optimizer.betas=[0.9]"], "optim.optimizer.betas must be a list"),
        (["optim.optimizer.momentun=0.9"], "optim.optimizer.momentun is not an option"),
        (
            ["~trainer.batch_size"],
            "trainer.batch_size is missing: it must be a whole number of at least 1; set trainer.batch_size=...",
        ),
        (["trainer.max_time=soon"], "a time as HH:MM:SS or DD:HH:MM:SS or null"),
        (["data.contamination=1"], "data.contamination must be a number of at least 0 and below 1, not 1."),
        (
            ["model.network.activation={_target_: subprocess.getoutput, cmd: ls}"],
            "model.network.activation must be one of relu, gelu, silu, tanh, sigmoid, not a group of options",
        ),
        (
            ["model.network.latent={_target_: os.getpid}"],
            "model.network.latent must be a whole number of at least 1, not",
        ),
        (["model.noise=swap", "model.level=2", "fpr=7"], "model.level must be at most 1 with noise=swap"),
        (["data=table", "data.file=t.csv", "threshold=f1"], "threshold=f1 needs labels"),
        (["data=table", "data.file=t.csv", "data.contamination=0.1"], "data.contamination=0.1 needs labels"),
        (["data=table", "data.file=t.csv", "data.delimiter=ab"], "data.delimiter must be one character (but"),
        (["data=nslkdd", "data.test=Test-22"], "data.test must be one of Test+, Test-21"),
        (["model._target_=os.path"], "model._target_ must name a class"),
        (["model._target_=builtins.int"], "needs a model that can score rows"),
        (["model._target_=builtins.int"], "rows; model._target_=builtins.int can't, but"),
        (["data._target_=os.system"], "ssl detect can't use data._target_=os.system; it can use"),
        (["_target_=os.system"], "_target_ is not an option"),
        (["trainer._target_=ssl_cli.config.run.TrainerConfig"], "error: trainer._target_ is not an option"),
        (["optim._partial_=true"], "optim._partial_ is not an option"),
        (["SEED=1"], "SEED is not an option. Did you mean seed?"),
        (["zzz=1"], "zzz is not an option. The config takes paths, model, data, optim,"),
        (["~model._target_"], "model must be a group of options with a _target_"),
        (["+model._partial_=true"], "model._partial_ is not an option"),
        (["+model.network._args_=[1]"], "model.network._args_ is not an option"),
        (["trainer.strategy=foo"], "trainer.strategy must be one of auto, ddp, fsdp"),
        (["data=table", "data.file=t.csv", "data.label="], "data.label must be a text or a whole number or null"),
        (["fpr=1e-320"], "fpr must be a number"),
        (["optim.optimizer=null"], "optim.optimizer must be a group of options with a _target_"),
        (["model.network.shape=[7]"], "model.network.shape follows from the data"),
        (["model=gaussian", "model.ridge=inf"], "model.ridge must be a number of at least 0"),
        (["threshold=nan"], "threshold must be a number or auto"),
        (["seed=5000000000"], "seed must be a whole number of at least 0 and of at most"),
        (["trainer.precision=16-true"], "trainer.precision must be one of"),
        (["trainer.max_time=00:00:00:00"], "trainer.max_time must be a time as HH:MM:SS or DD:HH:MM:SS"),
        (["paths.outputs="], "paths.outputs must be a path"),
        (["~paths"], "paths is missing: it must be a group of options"),
    ],
)
def test_one_fault_one_sentence(cli: Cli, workdir: Path, words: list[str], sentence: str) -> None:
    model = [] if any(word.startswith("model=") for word in words) else ["model=dae"]
    code, _, err = cli("detect", *model, *words)
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err
    assert not (workdir / "outputs").exists()


@pytest.mark.parametrize(
    ("verb", "word", "new"),
    [
        ("detect", "data.train=polluted", "data.contamination"),
        ("detect", "data.pollution=0.1", "data.contamination"),
        ("detect", "resamples=100", "bootstrap_samples"),
        ("detect", "optim.algorithm=null", "optim.optimizer"),
        ("pretrain", "watched_tokens=100", "val_tokens"),
        ("pretrain", "measured_tokens=100", "eval_tokens"),
        ("pretrain", "data.units=words.txt", "data.phrases"),
        ("pretrain", "model.share=0.2", "model.mask_ratio"),
        ("pretrain", "model.mask=span", "model.mask_unit"),
        ("pretrain", "model.pair=nsp", "model.sentence_task"),
        ("finetune", "task.best_by=f1", "task.monitor"),
        ("reconstruct model=vqvae", "model.quantizer.codes=16", "model.quantizer.num_codes"),
        ("reconstruct model=vqvae", "model.quantizer.revive_below=1", "model.quantizer.dead_code_threshold"),
        ("reconstruct model=onehot_ae", "model.agreement=1", "model.mutual_info_weight"),
        ("reconstruct model=onehot_ae", "model.balance=1", "model.entropy_weight"),
    ],
)
def test_the_old_name_of_an_option_leads_to_the_new_one(cli: Cli, verb: str, word: str, new: str) -> None:
    code, _, err = cli(*verb.split(), word)
    old = word.partition("=")[0]
    assert (code, err) == (2, f"error: {old} is not an option. Did you mean {new}?\n")


def test_a_new_name_is_only_suggested_where_it_is_an_option(cli: Cli) -> None:
    """`data.train` was an option of tables and images; a labelled data set never had it."""
    _, _, err = cli("finetune", "data.train=train.csv")
    assert "data.train is not an option." in err and "contamination" not in err


@pytest.mark.parametrize(("word", "new"), [("size=base", "network.size"), ("context=64", "network.context")])
def test_an_option_of_an_inner_node_is_suggested(cli: Cli, word: str, new: str) -> None:
    code, _, err = cli("pretrain", f"model.{word}")
    name = word.partition("=")[0]
    assert (code, err) == (2, f"error: model.{name} is not an option. Did you mean model.{new}?\n")


def test_a_task_that_cannot_read_the_data(cli: Cli, workdir: Path) -> None:
    code, _, err = cli("finetune", "task=glue/sst2", "data=mnist")
    assert (code, err) == (2, "error: task=glue/sst2 can't read data=mnist; it can read labelled.\n")
    assert not (workdir / "outputs").exists()


@pytest.fixture
def foreign_model(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workdir / "foreign.py").write_text(
        "class Reader:\n    reads = ('ids',)\n    def score(self, batch): ...\nclass Mute:\n    reads = ('x',)\n"
    )
    folder = workdir / "conf" / "model"
    folder.mkdir(parents=True)
    for name in ("Reader", "Mute"):
        (folder / f"{name.lower()}.yaml").write_text(f"_target_: foreign.{name}\n")


@pytest.mark.usefixtures("foreign_model")
def test_a_model_that_reads_what_the_data_does_not_give(cli: Cli) -> None:
    _, _, err = cli("detect", "model=reader")
    assert "model=reader reads ids, but data=breast_cancer gives x." in err


@pytest.mark.usefixtures("foreign_model")
def test_a_model_that_cannot_do_what_the_verb_needs(cli: Cli) -> None:
    _, _, err = cli("detect", "model=mute")
    assert "ssl detect needs a model that can score rows; model=mute can't, but these can: ae, best, beta_vae" in err
