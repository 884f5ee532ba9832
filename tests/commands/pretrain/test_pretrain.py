"""ssl pretrain: from text to a finished run, and its error messages."""

import json
import shutil
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

import ssl_cli
from ssl_cli.commands.pretrain.evaluate import evaluate
from ssl_cli.config.instantiate import build
from ssl_cli.runs.folder import read_history
from ssl_cli.training.module import Learner
from tests.conftest import Cli

QUICK = ["trainer=cpu", "trainer.max_steps=6", "trainer.batch_size=8", "trainer.validate_every_n_steps=3"]
SMALL = ["model.network.size=tiny", "model.network.context=24", "data.cache=tokens"]


@pytest.fixture
def stories(published: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("MPLCONFIGDIR", matplotlib.get_cachedir())  # or it reads all fonts again, which takes seconds
    monkeypatch.setenv("XDG_CACHE_HOME", str(workdir / "home"))
    return ["data=text", f"data.files={published}/text", "data.document=block", *QUICK, *SMALL]


def run(cli: Cli, *words: str) -> Path:
    code, out, err = cli("pretrain", *words)
    assert code == 0, err
    return Path(out.strip().splitlines()[-1])


@pytest.mark.parametrize("model", ["bert", "gpt"])
def test_a_finished_run_can_be_loaded(cli: Cli, stories: list[str], model: str) -> None:
    folder = run(cli, *stories, f"model={model}")
    metrics = json.loads((folder / "metrics.json").read_text())
    wanted = {"val/loss", "val/perplexity", "train/tokens_per_s"}
    assert wanted | {"val/masked_accuracy" if model == "bert" else "val/bits_per_byte"} == set(metrics)
    assert metrics["val/perplexity"] == pytest.approx(np.exp(metrics["val/loss"]))
    for name in ("examples.txt", "report.html", "tokenizer.json", "figures/training.png", "figures/optimizer.png"):
        assert (folder / name).stat().st_size > 0
    row = read_history(folder / "history.csv")[-1]
    assert row["step"] == 6
    assert row["train/grad_norm"] > 0
    assert row["train/tokens_per_s"] > 0
    reopened = ssl_cli.load(folder)
    data = build(reopened.config.data).tokenize(build(reopened.config.tokenizer))
    again = evaluate(reopened.model, data.rows("val", reopened.model, 0, 8), 0)
    assert again == {name: metrics[name] for name in again}


def test_the_embedded_text_is_learned_and_masks_are_filled(cli: Cli) -> None:
    words = ["trainer=cpu", "trainer.max_steps=40", "trainer.batch_size=8", "optim.warmup_steps=5"]
    folder = run(cli, *words, "data.cache=tokens", "model.network.size=tiny")
    history = read_history(folder / "history.csv")
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    assert history[-1]["val/loss"] < np.log(len(vocabulary)) - 0.5
    code, out, err = cli("fill", "text=the value of the [MASK] is returned.", "n=3")
    assert code == 0, err
    assert "%" in out


def test_a_resumed_run_reaches_the_same_weights(cli: Cli, stories: list[str]) -> None:
    """In the middle of an epoch, with masked spans, swapped sentences and dropout."""
    model = ["model.mask_unit=span", "model.sentence_task=sop", "model.network.dropout=0.1"]
    rest = [*stories, *model, "optim.schedule=constant"]
    whole = run(cli, *rest, "trainer.max_steps=7")
    part = run(cli, *rest, "trainer.max_steps=4")
    code, out, err = cli("pretrain", f"resume={part}", "trainer.max_steps=7")
    assert code == 0, err
    assert "This run cached its data in tokens." in out
    for name, weights in load_file(whole / "model.safetensors").items():
        assert torch.equal(weights, load_file(part / "model.safetensors")[name]), name


class Crash(BaseException):
    """Ends a run in the middle of a batch, as a kill does: nothing is saved."""


@pytest.mark.long
def test_killed_at_many_moments_and_resumed(
    cli: Cli, stories: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every option on, also killed again after it was resumed: every row of the history, and the weights."""
    model = ["model.mask_unit=span", "model.sentence_task=sop", "model.network.dropout=0.1"]
    often = ["trainer.validate_every_n_steps=4", "trainer.checkpoint_every_n_steps=1", "trainer.max_steps=16"]
    options = ["trainer.ema_decay=0.9", "trainer.patience=100", "trainer.gradient_clip_val=0.1"]
    words = [*stories, *model, *often, *options, "trainer.accumulate_grad_batches=2"]
    whole = run(cli, *words)
    add_gradient = Learner._add_gradient
    for n, batches in enumerate([(1, 2), (7, 15), (8, 16), (9, 17), (23, 24), (31,)]):
        command = [*words, f"paths.outputs=cut{n}"]
        for batch in batches:

            def crash(self: Learner, each: dict[str, Any], *rest: Any, at: int = batch) -> Any:
                if each["k"] == at:
                    raise Crash
                return add_gradient(self, each, *rest)

            with monkeypatch.context() as patch, pytest.raises(Crash):
                patch.setattr(Learner, "_add_gradient", crash)
                cli("pretrain", *command)
            command = ["resume=latest", f"paths.outputs=cut{n}"]
        cut = run(cli, *command)
        rows, again = (_same_bits(folder) for folder in (whole, cut))
        assert rows == again, batches
        weights, resumed = (load_file(folder / "model.safetensors") for folder in (whole, cut))
        assert all(torch.equal(weights[name], resumed[name]) for name in weights), batches


def _same_bits(folder: Path) -> list[dict[str, float]]:
    """Return the rows of the history without what depends on the clock."""
    rows = read_history(folder / "history.csv")
    return [{name: row[name] for name in row if name != "seconds" and not name.endswith("_per_s")} for row in rows]


@pytest.mark.parametrize(("words", "tokenizer"), [(["model=gpt"], "bpe"), (["model=gpt", "tokenizer=char"], "char")])
def test_gpt_has_a_lossless_tokenizer(cli: Cli, stories: list[str], words: list[str], tokenizer: str) -> None:
    code, out, err = cli("pretrain", *stories, *words, "show=batch")
    assert code == 0, err
    assert f"tokenizer={tokenizer} " in out


def test_bits_per_byte_need_a_lossless_tokenizer(cli: Cli, stories: list[str]) -> None:
    folder = run(cli, *stories, "model=gpt", "tokenizer=wordpiece", "trainer.max_steps=1")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert "val/perplexity" in metrics and "val/bits_per_byte" not in metrics


def test_next_sentences_need_two_documents_in_each_split(cli: Cli, stories: list[str], workdir: Path) -> None:
    """With one document no second text is of another document, and all labels would be the same."""
    (workdir / "one.txt").write_text("One sees well. All go there. " * 2000)
    rest = [word for word in stories if not word.startswith("data.")]
    code, _, err = cli("pretrain", *rest, "data.files=one.txt", "data.cache=tokens", "model.sentence_task=nsp")
    assert (code, err.count("\n")) == (2, 1), err
    assert "the train text has fewer than two that fill a row each" in err
    assert not (workdir / "outputs").exists()


def test_show_batch_creates_no_run(cli: Cli, stories: list[str], workdir: Path) -> None:
    code, out, err = cli("pretrain", *stories, "show=batch", "model.sentence_task=nsp")
    assert code == 0, err
    assert "[MASK]" in out
    assert "below each token that is to be predicted: the original" in out
    assert out.count("\n") < 20
    assert "the second text" in out
    assert not (workdir / "outputs").exists()


def test_a_ready_cache_is_used_again(cli: Cli, stories: list[str], workdir: Path) -> None:
    run(cli, *stories)
    (place,) = (workdir / "tokens").iterdir()
    before = place.stat().st_mtime_ns
    run(cli, *stories, "seed=1")
    assert [place] == list((workdir / "tokens").iterdir())
    assert place.stat().st_mtime_ns == before


def test_the_learning_rate_is_zero_at_max_time(cli: Cli, stories: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock of 12 s per step, five steps fill a minute, though max_steps is six."""
    monkeypatch.setattr(Learner, "elapsed_s", lambda learner: 12.0 * learner.step)
    words = ["trainer.max_time=00:01:00", "optim.warmup_steps=0", "trainer.validate_every_n_steps=1"]
    history = read_history(run(cli, *stories, *words) / "history.csv")
    assert [row["lr"] for row in history] == pytest.approx([8e-3 * (1 - k / 5) for k in (1, 2, 3, 4, 5)] + [0])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["model.network.context=4096"], "fewer than the 4,095 of one row"),
        (["model.replace.keep=0.5"], "shares that add up to 1"),
        (["data=breast_cancer"], "ssl pretrain can't use data=breast_cancer"),
        (["model=vae"], "ssl pretrain needs a model that can learn from text"),
        (["tokenizer.vocab_size=5"], "vocab_size"),
        (["init=nowhere/at-all-here/x"], "nowhere/at-all-here/x"),
        (["init=.", "model.network.layers=3"], "model.network.layers: no effect with init="),
        (["model.sentence_task=nsp", "trainer.batch_size=1"], "trainer.batch_size"),
        (["model.sentence_task=sop", "data.isolate_documents=true"], "data.isolate_documents=false"),
        (["data.phrases=words.txt"], "no effect with model.mask_unit=token: set model.mask_unit=whole_word"),
        (["data.phrases=words.txt", "model=gpt"], "model=gpt masks no words. Leave it out"),
        (["show=everything"], "show must be one of batch or null"),
    ],
)
def test_invalid_options_are_reported_in_one_sentence(
    cli: Cli, stories: list[str], workdir: Path, words: list[str], sentence: str
) -> None:
    replaced = {"data=breast_cancer": "data.", "model=vae": "model."}
    replaced |= {"init=nowhere/at-all-here/x": "model.network.size"}
    rest = [word for word in stories if not word.startswith(replaced.get(words[0], "-"))]
    code, _, err = cli("pretrain", *rest, *words)
    assert code == 2
    assert sentence in err
    assert err.count("\n") == 1, err
    assert not (workdir / "outputs").exists()


def test_many_unknown_tokens_are_warned_of(cli: Cli, workdir: Path) -> None:
    (workdir / "words.txt").write_text("\n".join(f"word{k} of {k * k}" for k in range(3000)))
    words = ["data=text", "data.files=words.txt", "tokenizer=word", "tokenizer.vocab_size=30", "data.cache=tokens"]
    code, _, err = cli("pretrain", *words, *QUICK, "model.network.size=tiny", "show=batch")
    assert code == 0
    assert "of the tokens are unknown to the tokenizer" in err


def test_an_empty_text_is_rejected(cli: Cli, workdir: Path) -> None:
    (workdir / "empty.txt").write_text(" \n\n")
    code, _, err = cli("pretrain", "data=text", "data.files=empty.txt", "data.cache=tokens", *QUICK)
    assert (code, err.count("\n")) == (2, 1)
    assert "every document is empty" in err
    assert not list(Path("tokens").glob("*")) and not Path("outputs").exists()


def test_initialize_from_a_checkpoint(cli: Cli, stories: list[str], workdir: Path) -> None:
    """Domain adaptation starts from what was exported: its shape, its tokenizer and its loss."""
    first = run(cli, *stories, "model.network.norm=post", "model.network.positions=learned")
    code, _, err = cli("export", f"run={first}", "output=checkpoint")
    assert code == 0, err
    rest = [word for word in stories if "model.network.size" not in word]
    second = run(cli, *rest, "init=checkpoint", "trainer.max_steps=1", "optim.lr=1e-9")
    mine, theirs = load_file(first / "model.safetensors"), load_file(second / "model.safetensors")
    torch.testing.assert_close(theirs, mine, atol=1e-6, rtol=0)
    config = OmegaConf.load(second / "config.yaml")
    assert (config.model.network.layers, config.model.network.norm, config.choices.tokenizer) == (
        2,
        "post",
        "pretrained",
    )
    assert (second / "tokenizer.json").is_file()
    code, _, err = cli("pretrain", *rest, "init=checkpoint", "model=gpt")
    assert code == 2
    assert "set model=bert" in err


def test_a_run_from_a_checkpoint_is_resumed_without_it(
    cli: Cli, stories: list[str], workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder has the tokenizer and its own checkpoints, and can be resumed from any working directory."""
    first = run(cli, *stories, "model.network.norm=post", "model.network.positions=learned")
    assert cli("export", f"run={first}", "output=checkpoint")[0] == 0
    rest = [word for word in stories if "model.network.size" not in word]
    rest += ["init=checkpoint", "optim.schedule=constant"]
    whole = run(cli, *rest, "trainer.max_steps=4").resolve()
    part = run(cli, *rest, "trainer.max_steps=2").resolve()
    bare = shutil.copytree(part, workdir / "bare")
    for path in bare.glob("*.ckpt"):
        path.unlink()
    cached = sorted(path.name for path in (workdir / "tokens").iterdir())
    shutil.move("checkpoint", "elsewhere")
    monkeypatch.chdir(first)
    code, _, err = cli("pretrain", f"resume={part}", "trainer.max_steps=4", f"data.cache={workdir / 'tokens'}")
    assert code == 0, err
    for name, weights in load_file(whole / "model.safetensors").items():
        assert torch.equal(weights, load_file(part / "model.safetensors")[name]), name
    assert sorted(path.name for path in (workdir / "tokens").iterdir()) == cached
    code, _, err = cli("pretrain", f"resume={bare}")
    assert code == 2
    assert "bare ended before its first checkpoint: start it again with the command that began it." in err


def test_a_tokenizer_larger_than_its_checkpoint_is_rejected(cli: Cli, stories: list[str], workdir: Path) -> None:
    folder = run(cli, *stories, "trainer.max_steps=1")
    assert cli("export", f"run={folder}", "output=small")[0] == 0
    larger = run(cli, *stories, "trainer.max_steps=1", "tokenizer=bpe")
    shutil.copy(larger / "tokenizer.json", workdir / "small" / "tokenizer.json")
    code, _, err = cli("pretrain", *(word for word in stories if "model.network.size" not in word), "init=small")
    assert (code, err.count("\n")) == (2, 1), err
    assert "more than the" in err


@pytest.mark.long
def test_two_processes_see_every_token_once_and_reach_the_loss_of_one(
    cli: Cli, stories: list[str], workdir: Path
) -> None:
    words = [*stories, "trainer.precision=32-true", "model=gpt"]
    one = json.loads((run(cli, *words) / "metrics.json").read_text())
    two = json.loads((run(cli, *words, "trainer=ddp", "trainer.accelerator=cpu") / "metrics.json").read_text())
    assert two["val/loss"] == pytest.approx(one["val/loss"], rel=1e-4)
    assert len(list((workdir / "tokens").iterdir())) == 1
    assert not (workdir / "home").exists()  # the other process uses data.cache too
