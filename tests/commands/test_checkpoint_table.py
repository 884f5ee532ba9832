"""ssl list checkpoints: the checkpoints of a run, which one is best, and which can be resumed from."""

from pathlib import Path

import pytest

from ssl_cli.commands import checkpoint_table
from ssl_cli.runs.folder import read_history
from ssl_cli.training.checkpoint_record import CheckpointRecord
from tests.conftest import Cli

WORDS = ["trainer=cpu", "model=dae", "bootstrap_samples=20"]


def listed(cli: Cli, *words: str) -> tuple[str, list[list[str]]]:
    """Return the title and the rows of the table, without its last two columns, each row by its cells."""
    code, out, err = cli("list", "checkpoints", *words)
    assert code == 0, err
    title, _, *rows = out.splitlines()
    return title, [row.split() for row in rows]


def test_a_run_that_stopped_early_and_its_folds(cli: Cli, workdir: Path) -> None:
    """It stops at the first validation that is not better, so the best one is the one before."""
    words = ["trainer.max_steps=3000", "trainer.checkpoint_every_n_steps=10", "trainer.validate_every_n_steps=10"]
    words += ["trainer.patience=1", "optim.lr=0.1", "optim.schedule=constant", "calibrate=cross", "folds=2"]
    assert cli("detect", *WORDS, *words)[0] == 0
    (folder,) = workdir.glob("outputs/detect/*/*")
    title, rows = listed(cli)
    assert title == f"checkpoints of {folder.relative_to(workdir)}"
    assert [row[0] for row in rows] == [
        *("last.ckpt", "previous.ckpt", "model.safetensors"),
        *(f"folds/{k}/{name}.ckpt" for k in range(2) for name in ("last", "previous")),
    ]
    *_, best, last = read_history(folder / "history.csv")
    assert best["step"] == last["step"] - 10 > 0
    for row, values in zip(rows, (last, best, best), strict=False):
        step = f"{values['step']:.0f}"
        assert row[1:6] == [step, f"{step}.00", f"{values['val/loss']:.4g}", "step", step]
    assert [" ".join(row[7:]) for row in rows[:3]] == [
        "last yes", "the one before, best yes", "used by ssl, best no: weights only",
    ]  # fmt: skip
    for row in rows:
        assert float(row[6]) == pytest.approx((folder / row[0]).stat().st_size / 1e6, abs=0.05)

    content = (folder / "last.ckpt").read_bytes()
    (folder / "last.ckpt").write_bytes(content[:-1])
    _, rows = listed(cli, f"run={folder}")
    assert " ".join(rows[0]).endswith("last no: is damaged (its checksum is wrong)")


def test_a_run_without_checkpoints_and_words_that_are_wrong(cli: Cli) -> None:
    assert cli("detect", "trainer=cpu", "model=gaussian", "bootstrap_samples=20")[0] == 0
    assert "none in outputs/detect/gaussian-breast_cancer/" in cli("list", "checkpoints")[1]
    for words, sentence in (
        (["run=nowhere"], "nowhere is no run folder: it has no config.yaml. `ssl list runs` shows those in outputs."),
        (["paths.outputs=empty"], "There is no run in "),
        (["models"], "models has no effect on checkpoints: use `ssl list checkpoints run=RUN`."),
        (["model=dae"], "model has no effect on checkpoints"),
        (["--best", "test/auroc"], "--best has no effect on checkpoints"),
    ):
        code, out, err = cli("list", "checkpoints", *words)
        assert (code, sentence in err, out) == (2, True, ""), err
    assert "`ssl list runs ...`" in cli("list", "models", "run=latest")[2]
    assert "ssl list checkpoints run=RUN" in cli("list", "--help")[1]


@pytest.mark.parametrize(("monitor", "best"), [("dev/accuracy", "previous.ckpt"), ("dev/loss", "last.ckpt")])
def test_a_loss_is_best_where_it_is_lowest_and_a_metric_where_it_is_highest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, monitor: str, best: str
) -> None:
    records = []
    for name, step, value in (("last.ckpt", 8, 0.5), ("previous.ckpt", 4, 0.75)):
        (tmp_path / name).write_bytes(b"")
        records.append(CheckpointRecord(tmp_path / name, step, 1.0, monitor, {"step": step, monitor: value}))
    (tmp_path / "config.yaml").write_text("verb: detect\n")
    monkeypatch.setattr(checkpoint_table, "records_of", lambda _: records)
    monkeypatch.setattr(checkpoint_table.run_folder, "read_config", lambda _: None)
    checkpoint_table.print_checkpoints(str(tmp_path), "outputs")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:] if "best" in line] == [best]
