"""ssl finetune: from labelled files to a finished run, and errors for bad input."""

import csv
import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import ssl_cli
from ssl_cli.models.cpu import has_bf16
from ssl_cli.runs.digests import write_digests
from ssl_cli.runs.folder import read_history
from ssl_cli.training.module import Learner
from tests.conftest import Cli
from tests.helpers.pretrain_runs import make_run

GOOD, BAD = ("bird sing warm sun fly", "swim moon cold fish dog")
QUICK = [
    "trainer=cpu",
    "trainer.precision=32-true",
    "trainer.max_epochs=null",
    "bootstrap_samples=20",
    "optim.warmup_steps=0",
]
SMALL = ["model.size=tiny", "model.context=32", "tokenizer.vocab_size=200"]
Row = tuple[str, str]


def sentences(n: int, seed: int) -> list[Row]:
    """Return texts of the words of one list or of the other, which are easy to classify."""
    draw = np.random.default_rng(seed)
    kinds = draw.integers(0, 2, n)
    return [(" ".join(draw.choice((GOOD, BAD)[kind].split(), 4)), ("good", "bad")[kind]) for kind in kinds]


def write(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])


@pytest.fixture
def files(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())  # otherwise reading all fonts again takes seconds
    for name, n in (("train", 64), ("dev", 40), ("test", 30)):
        write(workdir / f"{name}.csv", sentences(n, seed=len(name)))
    return ["task=classify", *(f"data.files.{name}={name}.csv" for name in ("train", "dev", "test")), *QUICK]


def run(cli: Cli, *words: str) -> Path:
    code, out, err = cli("finetune", *words)
    assert code == 0, err
    return Path(out.strip().splitlines()[-1])


def metrics_of(folder: Path) -> dict[str, float]:
    return json.loads((folder / "metrics.json").read_text())


def test_each_line_of_progress_has_the_validation_of_its_step(cli: Cli, files: list[str]) -> None:
    code, out, err = cli("finetune", *files, *SMALL, "trainer.max_steps=30", "trainer.validate_every_n_steps=10")
    assert code == 0, err
    lines = [line.split() for line in out.splitlines() if line.startswith("training, step")]
    printed = {
        int(line[2].partition("/")[0]): float(line[line.index("dev/loss") + 1]) for line in lines if len(line) > 3
    }
    history = {row["step"]: row["dev/loss"] for row in read_history(Path(out.split()[-1]) / "history.csv")}
    assert list(history) == [10, 20, 30] == [step for step in printed if step in history]
    assert all(printed[step] == pytest.approx(history[step], rel=1e-3) for step in history)


def test_a_run_learns_and_can_be_reopened(cli: Cli, files: list[str]) -> None:
    folder = run(cli, *files, *SMALL, "trainer.max_steps=30", "optim.lr=2e-3")
    metrics = metrics_of(folder)
    assert folder.parts[-2] == "none-classify"
    assert metrics["dev/accuracy"] == 1 and metrics["test/accuracy"] > 0.8 and metrics["train/examples_per_s"] > 0
    for split, n in (("dev", 40), ("test", 30)):
        lines = [json.loads(line) for line in (folder / f"predictions-{split}.jsonl").read_text().splitlines()]
        assert len(lines) == n
        right = [line["prediction"] == line["label"] for line in lines]
        assert np.mean(right) == pytest.approx(metrics[f"{split}/accuracy"])
    assert not (folder / "predictions-train.jsonl").exists()
    assert (folder / "report.html").is_file() and (folder / "figures" / "training.png").is_file()
    reopened: Any = ssl_cli.load(folder)
    assert [each["prediction"] for each in reopened.predict([{"text": "sing bird"}, {"text": "cold moon"}])] == [
        "good",
        "bad",
    ]


def test_a_network_with_a_short_context_can_be_fine_tuned(cli: Cli, files: list[str], workdir: Path) -> None:
    start = make_run(workdir / "start", "bert", "wordpiece", context=24)
    folder = run(cli, *files, f"init={start}", "trainer.max_steps=2")
    assert folder.parts[-2] == "bert-pydoc-classify"


def test_loaded_parts_are_printed(cli: Cli, files: list[str], workdir: Path) -> None:
    start = make_run(workdir / "start", "bert", "wordpiece")
    code, out, err = cli("finetune", *files, f"init={start}", "freeze=encoder", "trainer.max_steps=3")
    assert code == 0, err
    printed = {line.split("  ")[0].strip(): line for line in out.splitlines()}
    assert "loaded" in printed["blocks"] and "new" in printed["head"] and "not used" in out
    assert "parameters are trained" in out
    folder = Path(out.strip().splitlines()[-1])
    before, after = load_file(start / "model.safetensors"), load_file(folder / "model.safetensors")
    shared = [name for name in before if name.startswith("network.")]
    assert shared and all(torch.equal(before[name], after[name]) for name in shared), "no weight of it was trained"


AVERAGED = ["trainer.ema_decay=0.9", "trainer.accumulate_grad_batches=2", "trainer.patience=100"]
SAME_BITS = ("dev/loss", "dev/accuracy", "train/loss", "train/grad_norm")  # of two runs of a seed


@pytest.mark.parametrize("how", [[], ["lora=4"], ["layer_decay=0.7", "freeze=embeddings"], AVERAGED], ids=str)
def test_a_resumed_run_reaches_the_same_weights(cli: Cli, files: list[str], workdir: Path, how: list[str]) -> None:
    start = make_run(workdir / "start", "bert", "wordpiece")
    steady = ["optim.schedule=constant", "trainer.validate_every_n_steps=2", "optim.lr=1e-3"]
    rest = [*files, f"init={start}", *how, *steady]
    whole = run(cli, *rest, "trainer.max_steps=7")
    part = run(cli, *rest, "trainer.max_steps=4")
    code, _, err = cli("finetune", f"resume={part}", "trainer.max_steps=7")
    assert code == 0, err
    ours, theirs = load_file(whole / "model.safetensors"), load_file(part / "model.safetensors")
    assert ours.keys() == theirs.keys()
    for name, weights in ours.items():
        assert torch.equal(weights, theirs[name]), name
    assert metrics_of(whole)["dev/accuracy"] == metrics_of(part)["dev/accuracy"]
    rows, resumed = (read_history(folder / "history.csv") for folder in (whole, part))
    assert [[row[name] for name in SAME_BITS] for row in rows] == [[row[name] for name in SAME_BITS] for row in resumed]


class Crash(BaseException):
    """Ends a run in the middle of a batch, as a kill does: nothing is saved."""


@pytest.mark.long
@pytest.mark.parametrize("how", [[], AVERAGED, [*AVERAGED, "trainer.precision=bf16-mixed"]], ids=str)
def test_each_row_of_the_history_is_that_of_an_uninterrupted_run(
    cli: Cli, files: list[str], monkeypatch: pytest.MonkeyPatch, how: list[str]
) -> None:
    """Killed before, at and after a validation, and inside an accumulation window."""
    every = ["trainer.validate_every_n_steps=4", "trainer.checkpoint_every_n_steps=1", "trainer.batch_size=16"]
    words = [*files, *SMALL, *every, *how, "trainer.max_steps=20"]
    whole = read_history(run(cli, *words) / "history.csv")
    add_gradient = Learner._add_gradient
    for n, batch in enumerate((6, 7, 8, 9, 13, 15, 16, 17, 18, *((23, 30, 38) if how else ()))):

        def crash(self: Learner, each: dict[str, Any], *rest: Any, at: int = batch) -> Any:
            if each["k"] == at:
                raise Crash
            return add_gradient(self, each, *rest)

        outputs = f"paths.outputs=cut{n}"
        with monkeypatch.context() as patch, pytest.raises(Crash):
            patch.setattr(Learner, "_add_gradient", crash)
            cli("finetune", *words, outputs)
        resumed = read_history(run(cli, "resume=latest", outputs) / "history.csv")
        for row, again in zip(whole, resumed, strict=True):
            assert [row[name] for name in SAME_BITS] == [again[name] for name in SAME_BITS], (batch, row["step"])


def test_the_best_weights_are_kept(cli: Cli, files: list[str]) -> None:
    """The learning rate is so high that the best weights aren't the last."""
    wild = ["optim.lr=3e-2", "optim.schedule=constant", "trainer.gradient_clip_val=null"]
    words = [*files, *SMALL, *wild, "trainer.validate_every_n_steps=2"]
    code, out, err = cli("finetune", *words, "trainer.max_steps=24")
    assert code == 0, err
    folder = Path(out.strip().splitlines()[-1])
    found = [(row["dev/accuracy"], int(row["step"])) for row in read_history(folder / "history.csv")]
    best, step = max(found, key=lambda one: one[0])  # the first of those
    assert metrics_of(folder)["dev/accuracy"] == best and step < 24
    assert f"kept step {step} of 24, chosen on dev by accuracy" in out
    kept, last = (
        load_file(one / "model.safetensors") for one in (folder, run(cli, *words, f"trainer.max_steps={step}"))
    )
    assert all(torch.equal(weights, last[name]) for name, weights in kept.items())


def test_final_metrics_are_those_of_the_best_validation_also_in_half_precision(cli: Cli, files: list[str]) -> None:
    if not has_bf16(torch.device("cpu")):
        pytest.skip("this CPU has no bfloat16")
    words = ["trainer.precision=bf16-mixed", "trainer.max_steps=12", "trainer.validate_every_n_steps=3"]
    folder = run(cli, *files, *SMALL, *words)
    found = [row["dev/accuracy"] for row in read_history(folder / "history.csv")]
    assert metrics_of(folder)["dev/accuracy"] == max(found)


def test_a_run_without_a_checkpoint_cannot_be_resumed(cli: Cli, files: list[str]) -> None:
    folder = run(cli, *files, *SMALL, "trainer.max_steps=2")
    for path in (*folder.glob("*.ckpt"), folder / "metrics.json"):
        path.unlink()
    code, _, err = cli("finetune", f"resume={folder}")
    assert code == 2 and "ended before its first checkpoint" in err


def test_other_weights_in_the_same_folder_are_another_run(cli: Cli, files: list[str], workdir: Path) -> None:
    start = make_run(workdir / "start", "bert", "wordpiece")
    words = [*files, f"init={start}", "trainer.max_steps=2", "sweep.skip_done=true"]
    first = run(cli, *words)
    assert run(cli, *words) == first
    weights = load_file(start / "model.safetensors")
    weights["network.last_norm.weight"] += 0.1
    save_file(weights, start / "model.safetensors")
    write_digests(start)
    assert run(cli, *words) != first


@pytest.mark.long
@pytest.mark.parametrize("start", ["none", pytest.param("start", marks=pytest.mark.long)])
def test_two_processes_reach_the_weights_of_one(cli: Cli, files: list[str], workdir: Path, start: str) -> None:
    make_run(workdir / "start", "bert", "wordpiece")
    shape = [] if start == "start" else SMALL
    words = [
        *files,
        *shape,
        f"init={start}",
        "model.dropout=0",
        "trainer.max_steps=3",
        "trainer.validate_every_n_steps=3",
    ]
    one = run(cli, *words)
    two = run(cli, *words, "trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2")
    losses = [read_history(folder / "history.csv")[-1]["dev/loss"] for folder in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_training_predictions_are_written_on_request(cli: Cli, files: list[str]) -> None:
    folder = run(cli, *files, *SMALL, "trainer.max_steps=2", "predict_train=true")
    assert len((folder / "predictions-train.jsonl").read_text().splitlines()) == 64
    assert "train/accuracy" in metrics_of(folder)


@pytest.mark.parametrize("precision", ["32-true", "auto"])
def test_predict_gives_the_numbers_of_the_run_bit_for_bit(cli: Cli, files: list[str], precision: str) -> None:
    """Also those of dev, whose labels were known, and in half precision."""
    write(Path("dev.csv"), sentences(150, seed=3))  # three batches
    folder = run(cli, *files, *SMALL, f"trainer.precision={precision}", "trainer.max_steps=4", "optim.lr=3e-3")
    for split in ("dev", "test"):
        output = f"{split}.jsonl"
        code, _, err = cli("predict", f"run={folder}", f"input={split}.csv", f"output={output}")
        assert code == 0, err
        predicted, of_run = (
            [json.loads(line)["probabilities"] for line in path.read_text().splitlines()]
            for path in (Path(output), folder / f"predictions-{split}.jsonl")
        )
        assert predicted == of_run
    reopened: Any = ssl_cli.load(folder)
    alone = [reopened.predict([text])[0]["probabilities"]["good"] for text, _ in sentences(150, seed=3)[:9]]
    of_dev = [json.loads(line)["probabilities"]["good"] for line in Path("dev.jsonl").read_text().splitlines()[:9]]
    is_half = precision == "auto" and has_bf16(torch.device("cpu"))
    assert alone == pytest.approx(of_dev, abs=0.02 if is_half else 1e-5)


def test_in_a_sweep_from_scratch_and_pretrained_the_network_is_the_same(
    cli: Cli, files: list[str], workdir: Path
) -> None:
    start = make_run(workdir / "start", "bert", "wordpiece")
    words = [*files, f"init=none,{start}", "trainer.max_steps=4", "trainer.validate_every_n_steps=2"]
    code, out, err = cli("finetune", "-m", *words)
    assert code == 0, err
    folder = Path(out.strip().splitlines()[-1])
    assert (folder / "curves.png").is_file()
    runs = [Path(row["run"]) for row in csv.DictReader((folder / "sweep.csv").open())]
    shapes = [{name: tuple(one.shape) for name, one in load_file(run / "model.safetensors").items()} for run in runs]
    assert shapes[0] == shapes[1]
    assert (runs[0] / "tokenizer.json").read_text() == (runs[1] / "tokenizer.json").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["task=classify"], "data.files.train=FILE"),
        (["task=classify", "data.files.train=train.csv"], "data.files.dev is missing"),
        (["task=classify", "data.files.train=no.csv", "data.files.dev=dev.csv"], "no.csv: there is no such file"),
        (["task=glue/sst3"], "Did you mean glue/sst2?"),
        (["task=glue/sst2", "data.dir=nowhere"], "data.dir=nowhere"),
        (["data=pydoc"], "data"),
        (["freeze=everything"], "freeze must be"),
        (["layer_decay=2"], "layer_decay must be"),
        (["init=nowhere/at/all"], "there is no such folder"),
        (["init=latest"], "There is no finished pretrain run"),
        (["model=bert"], "ssl finetune needs a model that can learn from labelled text"),
        (["max_length=3"], "max_length=3 leaves no room"),
        (["reinit=1"], "reinit needs a pretrained model"),
        (["init=start", "lora=4", "freeze=1"], "freeze contradicts it"),
        (["like=nowhere/at/all"], "like=nowhere/at/all: there is no such folder"),
    ],
)
def test_bad_input_is_reported_in_one_sentence(cli: Cli, files: list[str], words: list[str], message: str) -> None:
    make_run(Path("start"), "bert", "wordpiece")
    given = [] if words[0].startswith("task") else files
    size = [] if words[0].startswith(("init", "like")) else ["model.size=tiny"]
    code, _, err = cli("finetune", *given, *size, *words)
    assert code == 2
    assert message in err and "Traceback" not in err
    assert not list(Path("outputs").glob("finetune/*/*"))


def test_a_limited_validation_has_some_of_dev_and_the_end_all_of_it(
    cli: Cli, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """32 examples, of which the metrics of the curve are, and the final predictions of all 40."""
    monkeypatch.setattr("ssl_cli.commands.finetune.finetune.EVAL_BATCH_EXAMPLES", 16)
    limits = ["trainer.max_steps=2", "trainer.limit_val_batches=2", "trainer.limit_train_batches=0.5"]
    folder = run(cli, *files, *SMALL, *limits, "trainer.batch_size=16")
    (*_, last) = read_history(folder / "history.csv")
    assert last["epoch"] == 1  # 64 examples are 4 batches, half of them 2
    assert last["dev/accuracy"] * 32 == pytest.approx(round(last["dev/accuracy"] * 32))
    lines = (folder / "predictions-dev.jsonl").read_text().splitlines()
    right = [(row := json.loads(line))["label"] == row["prediction"] for line in lines]
    which = np.linspace(0, 39, 32).round().astype(int)
    assert len(right) == 40
    assert last["dev/accuracy"] == pytest.approx(np.mean(np.array(right)[which]))
