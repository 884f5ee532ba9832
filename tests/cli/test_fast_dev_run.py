"""trainer.fast_dev_run: one step of everything in a temporary folder, and nothing in outputs."""

import tempfile
from pathlib import Path

import pytest

from ssl_cli.runs.folder import read_config, read_history
from ssl_cli.training.module import Learner
from tests.conftest import Cli
from tests.helpers import pretrain_runs
from tests.helpers.task_files import task_words

FAST = ["trainer=cpu", "trainer.fast_dev_run=true"]


@pytest.fixture(autouse=True)
def temporary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary folders, empty at first."""
    folder = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def run(cli: Cli, verb: str, *words: str) -> tuple[Path, str]:
    """Return the folder of a fast_dev_run, and what it printed."""
    code, out, err = cli(verb, *FAST, *words)
    assert code == 0, err
    return Path(out.splitlines()[-1]), out


def steps_of(folder: Path) -> list[int]:
    return [int(row["step"]) for row in read_history(folder / "history.csv")]


def test_a_detector_takes_one_step_and_outputs_are_unchanged(cli: Cli, workdir: Path, temporary: Path) -> None:
    words = ["calibrate=cross", "folds=2", "logger=tensorboard", "trainer.max_epochs=9", "bootstrap_samples=1000"]
    folder, out = run(cli, "detect", "model=dae", *words)
    assert not list(workdir.iterdir())
    assert folder.is_relative_to(temporary)
    assert [steps_of(folder / name) for name in (".", "folds/0", "folds/1")] == [[1], [1], [1]]
    assert {"metrics.json", "model.safetensors", "anomalies.csv"} <= {path.name for path in folder.iterdir()}
    assert not list(folder.glob("events*"))
    saved = read_config(folder)
    assert (saved.trainer.fast_dev_run, saved.bootstrap_samples, saved.logger) == (True, 20, {})
    first, last = out.splitlines()[0], out.splitlines()[-2]
    assert first == (
        "fast_dev_run: 1 training step, 1 validation batch, and all that follows; without tensorboard. No number below "
        "means anything"
    )
    assert "everything ran; its numbers mean nothing" in last

    code, _, err = cli("detect", "resume=latest")
    assert (code, "There is no detect run" in err) == (2, True)
    code, _, err = cli("detect", f"resume={folder}")
    assert (code, "is a fast_dev_run, which learned nothing" in err) == (2, True)
    code, _, err = cli("detect", "resume=latest", "trainer.fast_dev_run=true")
    assert (code, "trainer.fast_dev_run can't change in a resumed run" in err) == (2, True)


def test_a_number_is_that_many_steps_then_one_validation(cli: Cli) -> None:
    folder, out = run(cli, "detect", "model=ae", "trainer.fast_dev_run=3", "trainer.validate_every_n_steps=1")
    assert steps_of(folder) == [3]
    assert out.startswith("fast_dev_run: 3 training steps, 3 validation batches,")


@pytest.fixture
def validations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batches of a validation in each training, which are small here."""
    monkeypatch.setattr("ssl_cli.data.batches.EVAL_BATCH_IMAGES", 16)
    monkeypatch.setattr("ssl_cli.data.text.packing.EVAL_BATCH_TOKENS", 16)
    begin, sizes = Learner.on_fit_start, []

    def on_fit_start(self: Learner) -> None:
        sizes.append(len(self.val_dataloader()))
        begin(self)

    monkeypatch.setattr(Learner, "on_fit_start", on_fit_start)
    return sizes


def test_every_stage_of_a_model_takes_one_step(cli: Cli, validations: list[int]) -> None:
    folder, out = run(cli, "reconstruct", "model=vqvae", "prior_steps=500", "model.quantizer.num_codes=8")
    assert (steps_of(folder), steps_of(folder / "prior")) == ([1], [1])
    assert validations == [1, 1]  # of 5 each: 72 images and 68 grids of codes
    assert "then its prior: 1 step;" in out
    assert (folder / "report.html").is_file()
    folder, _ = run(cli, "reconstruct", "model=dbn_ae", "model.network.hidden=[16]", "probes=false")
    assert read_config(folder).model.rbm_epochs == 1


def test_pretraining_takes_one_step(cli: Cli, published: Path, validations: list[int]) -> None:
    words = ["data=text", f"data.files={published}/text", "data.document=block", "data.cache=tokens"]
    folder, _ = run(cli, "pretrain", *words, "model.network.size=tiny", "model.network.context=16", "eval_tokens=null")
    assert (steps_of(folder), validations) == ([1], [1])
    assert read_config(folder).eval_tokens == read_config(folder).val_tokens


def test_finetuning_starts_from_the_latest_run_of_the_outputs(cli: Cli, workdir: Path) -> None:
    pretrained = pretrain_runs.make_run(workdir / "outputs" / "pretrain" / "bert-text" / "one", "bert", "wordpiece")
    words = [*task_words(workdir / "data", "glue/sst2"), "init=latest"]
    folder, _ = run(cli, "finetune", *words)
    assert steps_of(folder) == [1]
    assert read_config(folder).init == str(pretrained)
    assert [path.name for path in (workdir / "outputs").iterdir()] == ["pretrain"]


def test_a_sweep_has_its_runs_and_its_table_in_one_temporary_folder(cli: Cli, workdir: Path, temporary: Path) -> None:
    code, out, err = cli("detect", *FAST, "-m", "model=ae,gaussian", "anomalies=1")
    assert code == 0, err
    (folder,) = temporary.iterdir()
    names = sorted(path.name for path in (folder / "detect").iterdir())
    assert names == ["ae-breast_cancer", "gaussian-breast_cancer", "sweeps"]
    assert Path(out.splitlines()[-1]).parent == folder / "detect" / "sweeps"
    assert not list(workdir.iterdir())
    assert "Gaussian is fitted to all training rows in one go: trainer.fast_dev_run can't limit that" in err


def test_what_makes_no_sense_is_refused_and_leaves_nothing(cli: Cli, workdir: Path, temporary: Path) -> None:
    for words, sentence in (
        (["detect", "-m", "trainer.fast_dev_run=true,2", "model=gaussian"], "set it on the command line, to one value"),
        (["detect", "trainer.fast_dev_run=0"], "trainer.fast_dev_run must be true or false or a whole number of at le"),
        (["detect", "trainer.fast_dev_run=true", "data=table", "data.file=no.csv", "data.label=x"], "no.csv"),
        (["finetune", *FAST, "init=latest", "data.files.train=t.csv", "data.files.dev=d.csv"], "no finished pretrain"),
    ):
        code, out, err = cli(*words)
        assert (code, sentence in err + out) == (2, True), err
    assert not list(temporary.iterdir())
