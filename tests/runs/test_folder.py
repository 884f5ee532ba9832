"""The run folder, and what comes back from it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from omegaconf import OmegaConf
from sklearn.metrics import roc_auc_score

import ssl_cli
from ssl_cli.commands.detect.finished import DetectRun
from ssl_cli.errors import InputError
from ssl_cli.runs import folder as run_folder
from ssl_cli.runs.digests import write_digests
from tests.conftest import QUICK, Cli
from tests.helpers.detect_runs import MODELS, finished


def test_a_finished_run_holds_what_it_should(cli: Cli, table: Path) -> None:
    folder = finished(cli, "data=table", f"data.file={table}", "data.label=fraud")
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert names >= {
        "config.yaml", "metrics.json", "environment.json", "history.csv", "log.txt", "model.safetensors", "last.ckpt",
        "scores.parquet", "figures/roc.png", "figures/precision_recall.png", "figures/scores.png",
        "figures/training.png",
    }  # fmt: skip
    assert not any(name.endswith((".part", ".pkl")) for name in names)
    assert folder.parts[:-1] == ("outputs", "detect", "best-table")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert all(isinstance(value, float) for value in metrics.values())
    environment = json.loads((folder / "environment.json").read_text())
    assert set(environment) >= {
        "versions", "device", "git_revision", "seed", "data_fingerprint", "wall_time_s", "peak_memory_mb",
    }  # fmt: skip
    assert "auroc" in (folder / "log.txt").read_text()
    assert OmegaConf.load(folder / "config.yaml").facts.shape == [6]  # a, b, b is missing, kind=y, kind=z, kind=other


def test_scores_parquet_is_what_the_metrics_say(cli: Cli, table: Path) -> None:
    folder = finished(cli, "data=table", f"data.file={table}", "data.label=fraud", "fpr=0.2")
    scores = pyarrow.parquet.read_table(folder / "scores.parquet").to_pandas()
    metrics = run_folder.read_metrics(folder)
    assert list(scores.columns) == ["row", "split", "score", "p_value", "flagged", "label"]
    assert roc_auc_score(scores.label, scores.score) == pytest.approx(metrics["test/auroc"], abs=1e-12)
    assert scores.flagged.sum() == metrics["test/flagged"]
    np.testing.assert_array_equal(scores.flagged, scores.score > metrics["threshold/value"])
    np.testing.assert_array_equal(scores.label, pd.read_csv(table).fraud[scores.row] == 1)


@pytest.mark.parametrize("model", MODELS)
def test_load_reproduces_the_scores(cli: Cli, table: Path, model: str) -> None:
    folder = finished(cli, f"model={model}", "data=table", f"data.file={table}", "data.label=fraud", "fpr=0.2")
    saved = pyarrow.parquet.read_table(folder / "scores.parquet").to_pandas()
    run = ssl_cli.load("latest")
    frame = pd.read_csv(table).iloc[saved.row]
    np.testing.assert_array_equal(run.score(frame), saved.score)
    np.testing.assert_array_equal(run.p_value(frame), saved.p_value)
    np.testing.assert_array_equal(run.flag(frame), saved.flagged)


def test_load_takes_arrays_and_embeds(cli: Cli) -> None:
    from sklearn.datasets import load_breast_cancer

    folder = finished(cli)
    run = ssl_cli.load(folder)
    rows = load_breast_cancer().data
    saved = pyarrow.parquet.read_table(folder / "scores.parquet").to_pandas()
    np.testing.assert_allclose(run.score(rows[saved.row]), saved.score, rtol=1e-6)
    assert run.embed(rows).shape == (569, 256)
    assert run.metrics["test/auroc"] > 0.5
    with pytest.raises(InputError, match=r"must be \(N, 30\): mean radius"):
        run.score(rows[:, :5])


def test_without_labels_every_row_is_scored(cli: Cli, table: Path) -> None:
    folder = finished(cli, "data=table", f"data.file={table}", "data.drop=[fraud]")
    scores = pyarrow.parquet.read_table(folder / "scores.parquet").to_pandas()
    np.testing.assert_array_equal(scores.row, np.arange(170))
    assert scores.label.isna().all()
    assert (scores.p_value.isna() == (scores.split != "test")).all()
    metrics = run_folder.read_metrics(folder)
    assert "test/auroc" not in metrics and metrics["test/flagged"] >= 0
    assert (folder / "figures" / "scores.png").is_file() and not (folder / "figures" / "roc.png").exists()


def test_the_same_seed_gives_the_same_run(cli: Cli, table: Path) -> None:
    words = ["data=table", f"data.file={table}", "data.label=fraud"]
    one, two = finished(cli, *words), finished(cli, *words)
    assert one != two
    assert (one / "metrics.json").read_bytes() == (two / "metrics.json").read_bytes()
    assert (one / "model.safetensors").read_bytes() == (two / "model.safetensors").read_bytes()
    assert run_folder.read_metrics(finished(cli, *words, "seed=1")) != run_folder.read_metrics(one)


def test_latest_is_the_newest_and_unfinished_runs_are_said(cli: Cli, table: Path) -> None:
    words = ["data=table", f"data.file={table}", "model=gaussian"]
    one, two = finished(cli, *words), finished(cli, *words)
    assert run_folder.find_run("latest") == two
    (two / "metrics.json").unlink()
    assert run_folder.find_run("latest", finished=True) == one
    with pytest.raises(
        InputError, match=r"is not finished: it has no metrics.json. Resume it with `ssl detect resume="
    ):
        ssl_cli.load(two)
    _, out, _ = cli("list", "runs")
    assert "killed" in out and "finished" in out


def test_damaged_runs_are_listed_and_named(cli: Cli, table: Path) -> None:
    folder = finished(cli, "data=table", f"data.file={table}", "model=gaussian")
    (folder / "metrics.json").write_text("{")
    (folder.parent / "2024 best").mkdir()
    (folder.parent / "2024 best" / "config.yaml").write_text("a: [")
    code, out, _ = cli("list", "runs")
    assert code == 0
    assert out.count("damaged") >= 2
    with pytest.raises(InputError, match=r"metrics.json is damaged"):
        ssl_cli.load(folder)
    assert cli("detect", f"resume={folder.parent / '2024 best'}")[0] == 2


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed", "bf16-true", "16-mixed"])
def test_every_precision_ends_in_scores(cli: Cli, table: Path, precision: str) -> None:
    folder = finished(cli, "data=table", f"data.file={table}", f"trainer.precision={precision}")
    saved = pyarrow.parquet.read_table(folder / "scores.parquet").to_pandas()
    frame = pd.read_csv(table).iloc[saved.row]
    np.testing.assert_array_equal(ssl_cli.load(folder).score(frame), saved.score)


FOREIGN = ["os.system", "torch.load", "torch.hub.load", "subprocess.run", "ssl_cli.files.write_text"]


FOREIGN += ["ssl_cli.runs.folder.subprocess.run", "ssl_cli.data.io.arrow.Path", "torch.nn.modules.module.torch.load"]


@pytest.mark.parametrize("target", FOREIGN)
def test_a_run_folder_names_no_foreign_class(cli: Cli, table: Path, target: str) -> None:
    folder = finished(cli, "data=table", f"data.file={table}", "model=gaussian")
    cfg = OmegaConf.load(folder / "config.yaml")
    cfg.model.ridge = {"_target_": target, "command": "touch hacked"}
    OmegaConf.save(cfg, folder / "config.yaml")
    write_digests(folder)
    with pytest.raises(InputError, match=f"names {target}, which isn't one of ssl's own classes"):
        DetectRun(folder)
    code, _, err = cli("detect", f"resume={folder}")
    assert code == 2 and f"names {target}" in err
    assert not Path("hacked").exists()


def test_a_users_own_class_comes_back_when_it_is_trusted(cli: Cli, table: Path, workdir: Path) -> None:
    source = "from ssl_cli.methods.detectors.gaussian import Gaussian\n\n\nclass Mine(Gaussian):\n    pass\n"
    (workdir / "my_detectors.py").write_text(source)
    (workdir / "conf" / "model").mkdir(parents=True)
    (workdir / "conf" / "model" / "mine.yaml").write_text("# Mine\n_target_: my_detectors.Mine\nridge: 0.1\n")
    folder = finished(cli, "data=table", f"data.file={table}", "model=mine")
    with pytest.raises(InputError, match=r"trust=\('my_detectors',\)"):
        ssl_cli.load(folder)
    assert len(ssl_cli.load(folder, trust=("my_detectors",)).score(pd.read_csv(table))) == 170
    assert cli("detect", f"resume={folder}")[0] == 2
    assert cli("detect", f"resume={folder}", "trust=my_detectors")[0] == 0


@pytest.mark.parametrize("name", ["preprocessor.json", "calibration.safetensors", "model.safetensors"])
def test_a_damaged_file_of_a_run_is_said(cli: Cli, table: Path, name: str) -> None:
    folder = finished(cli, "data=table", f"data.file={table}")
    (folder / name).write_bytes(b"torn")
    with pytest.raises(InputError, match="is damaged"):
        ssl_cli.load(folder)


def test_f1_and_contamination_end_to_end(cli: Cli, table: Path) -> None:
    words = ["data=table", f"data.file={table}", "data.label=fraud", "model=gaussian"]
    plain = pyarrow.parquet.read_table(finished(cli, *words) / "scores.parquet").num_rows
    folder = finished(cli, *words, "threshold=f1")
    assert "Labels were used" in (folder / "log.txt").read_text()
    assert pyarrow.parquet.read_table(folder / "scores.parquet").num_rows < plain  # development rows are tested no more
    contaminated = [*words, "data.contamination=0.1"]
    for calibrate in ("split", "cross"):
        log = (finished(cli, *contaminated, f"calibrate={calibrate}", "data.calibration=0.5") / "log.txt").read_text()
        assert "anomalies are among the" in log
        assert "not guaranteed, since there are anomalies" in log


@pytest.mark.parametrize("model", ["best", "dae", "knn"])
def test_cross_fitted_calibration_uses_every_training_row_out_of_fold(cli: Cli, table: Path, model: str) -> None:
    words = ["data=table", f"data.file={table}", "data.label=fraud", f"model={model}", "calibrate=cross", "folds=3"]
    folder = finished(cli, *words)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["calibration/rows"] == 75  # half of 150 normal rows, none of them held out
    log = (folder / "log.txt").read_text()
    assert "75 train, 95 test" in log
    assert "not guaranteed, since the 75 calibration scores are of 3 other models" in log
    # No score is of a row that its model has seen: nearest neighbours would find it at a distance of 0.
    assert model == "best" or ssl_cli.load(folder).calibration.min() > 0
    again = finished(cli, *words)
    np.testing.assert_array_equal(ssl_cli.load(again).calibration, ssl_cli.load(folder).calibration)


def test_load_from_another_working_directory(
    cli: Cli, table: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = finished(cli, "data=table", f"data.file={table}").resolve()
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert len(ssl_cli.load(folder).score(pd.read_csv(table))) == 170


def test_no_place_for_a_run_is_said(cli: Cli, workdir: Path) -> None:
    (workdir / "file").write_text("")
    code, _, err = cli("detect", *QUICK, "model=gaussian", "paths.outputs=file")
    assert code == 2
    assert "No run folder can be made in file/detect" in err
