"""The loggers, each tried offline; what they hold is read back with their own readers."""

import json
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from PIL import Image

from ssl_cli.runs import folder as run_folder
from ssl_cli.runs.digests import write_digests
from tests.conftest import QUICK, Cli, run_ssl

EXTRA = "needs the extra tracking: pip install 'ssl-cli[tracking]'"
SMALL = [*QUICK, "model=ae", "anomalies=1"]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No other machine is reached, and the home folder stays clean."""
    connect = socket.socket.connect

    def only_here(self: socket.socket, address: Any) -> None:
        assert self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1", "localhost"), address
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", only_here)
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path_factory.mktemp("wandb")))


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The folder and output of one run with all three loggers, in a separate process."""
    for package in ("tensorboard", "wandb", "mlflow"):
        pytest.importorskip(package, reason=EXTRA)
    folder = tmp_path_factory.mktemp("run")
    home = {"HOME": str(folder / "home"), "XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": ""}
    home["MPLCONFIGDIR"] = matplotlib.get_cachedir()  # or it reads all fonts anew, which takes seconds
    done = run_ssl("detect", *SMALL, "fpr=0.1", "logger=[tensorboard,wandb,mlflow]", cwd=folder, **home)
    assert done.returncode == 0, done.stderr
    return folder / done.stdout.strip().splitlines()[-1], done


@pytest.fixture
def run(process: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    return process[0]


@pytest.fixture
def client(run: Path, workdir: Path) -> Any:
    """MLflow's own client of the store in `outputs`, which holds the first run already: making one takes seconds."""
    (workdir / "outputs").mkdir()
    shutil.copy(run.parents[2] / "mlflow.db", workdir / "outputs")
    return store(workdir / "outputs")


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard reads from a folder's event files: name -> (step, value)."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason=EXTRA)
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def store(outputs: Path) -> Any:
    mlflow = pytest.importorskip("mlflow", reason=EXTRA)
    return mlflow.MlflowClient(f"sqlite:///{outputs / 'mlflow.db'}")


def mlflow_run(client: Any, folder: Path) -> Any:
    return client.get_run(json.loads((folder / "tracking.json").read_text())["mlflow"])


def wandb_records(folder: Path) -> Iterator[Any]:
    """The records of the folder's only .wandb file, which is a log in LevelDB's format."""
    internal = pytest.importorskip("wandb.proto.wandb_internal_pb2", reason=EXTRA)
    (path,) = folder.parents[2].glob("wandb/offline-run-*/run-*.wandb")
    content, at, payload = path.read_bytes(), 7, b""
    assert content.startswith(b":W&B")
    while at < len(content):
        left_in_block = 32768 - at % 32768
        if left_in_block < 7:
            at += left_in_block
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        payload += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last of its parts
            record = internal.Record()
            record.ParseFromString(payload)
            yield record
            payload = b""


def values(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def history(folder: Path, column: str) -> list[tuple[int, float]]:
    return [(int(row["step"]), pytest.approx(row[column])) for row in run_folder.read_history(folder / "history.csv")]


def resumed(cli: Cli, *words: str) -> str:
    code, _, err = cli("detect", "resume=latest", *words)
    return err if code else ""


# --- what each holds ----------------------------------------------------------------------------------------


def test_tensorboard_holds_the_history_and_the_metrics(run: Path) -> None:
    found, metrics = scalars(run), run_folder.read_metrics(run)
    for column in ("train/loss", "val/loss", "lr", "epoch"):
        assert found[column] == history(run, column)
    assert {name: points[-1][1] for name, points in found.items() if name in metrics} == pytest.approx(metrics)
    assert found["test/auroc"][0][0] == 4


def test_tensorboard_holds_the_figures_and_the_run_says_how_to_see_them(
    process: tuple[Path, subprocess.CompletedProcess[str]]
) -> None:
    folder, done = process
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason=EXTRA)
    events = accumulator.EventAccumulator(str(folder))
    events.Reload()
    files = {f"figures/{path.stem}": path.read_bytes() for path in (folder / "figures").glob("*.png")}
    assert {"figures/roc", "figures/training"} <= set(files)
    found = {name: events.Images(name)[0] for name in events.Tags()["images"]}
    assert {name: image.encoded_image_string for name, image in found.items()} == files
    with Image.open(folder / "figures" / "roc.png") as picture:
        assert picture.size == (found["figures/roc"].width, found["figures/roc"].height)
    assert found["figures/roc"].step == run_folder.read_history(folder / "history.csv")[-1]["step"]
    assert done.stdout.splitlines()[-2] == "TensorBoard: tensorboard --logdir outputs"


def test_mlflow_holds_the_config_the_history_and_the_metrics(run: Path) -> None:
    client = store(run.parents[2])
    tracked = mlflow_run(client, run)
    assert tracked.info.status == "FINISHED"
    assert tracked.info.run_name == f"ae-breast_cancer {run.name}"
    assert tracked.data.params["model.network.shape"] == "[30]"
    assert tracked.data.params["choices.logger"] == "tensorboard,wandb,mlflow"
    assert not [name for name in tracked.data.params if name.startswith("logger.")]
    rows = client.get_metric_history(tracked.info.run_id, "val/loss")
    assert [(row.step, row.value) for row in rows] == history(run, "val/loss")
    metrics = run_folder.read_metrics(run)
    assert {name: tracked.data.metrics[name] for name in metrics} == metrics


def test_wandb_holds_the_config_the_history_and_the_metrics(run: Path) -> None:
    records = list(wandb_records(run))
    rows = [values(record.history.item) for record in records if record.HasField("history")]
    assert [(row["step"], row["val/loss"]) for row in rows if "val/loss" in row] == history(run, "val/loss")
    assert rows[-1]["test/auroc"] == run_folder.read_metrics(run)["test/auroc"]
    (start,) = [record.run for record in records if record.HasField("run")]
    assert (start.project, start.run_id) == ("ssl", json.loads((run / "tracking.json").read_text())["wandb"])
    assert values(start.config.update)["optim.lr"] == pytest.approx(0.001)
    assert not start.HasField("git")
    assert [record.exit.exit_code for record in records if record.HasField("exit")] == [0]


def test_a_model_without_steps_is_tracked_too(cli: Cli) -> None:
    assert cli("detect", *QUICK, "model=gaussian", "logger=tensorboard")[0] == 0
    folder = run_folder.find_run("latest")
    assert scalars(folder)["test/auroc"] == [(0, pytest.approx(run_folder.read_metrics(folder)["test/auroc"]))]


def test_fits_of_folds_are_not_tracked(cli: Cli) -> None:
    assert cli("detect", *SMALL, "logger=tensorboard", "calibrate=cross", "folds=2")[0] == 0
    folder = run_folder.find_run("latest")
    assert scalars(folder)["val/loss"] == history(folder, "val/loss")
    assert len(list(folder.rglob("events.out.*"))) == 1


def test_csv_writes_nothing_more_and_a_sweep_may_compare_lists(cli: Cli) -> None:
    code, _, err = cli("detect", "-m", *QUICK, "model=gaussian", "logger=[csv,tensorboard],csv")
    assert code == 0, err
    both, alone = run_folder.all_runs("outputs")
    assert (
        run_folder.read_config(both).choices.logger == "csv,tensorboard" and run_folder.read_config(alone).logger == {}
    )
    assert list(both.glob("events.out.*")) and not list(alone.glob("events.out.*"))
    assert not (alone / "tracking.json").exists() and not Path("outputs/mlflow.db").exists()


# --- failures and resumed runs ------------------------------------------------------------------------------


def test_a_diverged_run_is_marked_failed(cli: Cli, client: Any) -> None:
    code, _, err = cli("detect", *SMALL, "optim.lr=1e30", "optim.warmup_steps=0", "logger=[mlflow,wandb]")
    assert code == 2 and "Try a smaller optim.lr" in err
    folder = run_folder.find_run("latest")
    assert mlflow_run(client, folder).info.status == "FAILED"
    records = wandb_records(folder)
    assert [record.exit.exit_code for record in records if record.HasField("exit")] == [1]


def test_a_resumed_run_goes_on_in_the_same_places(cli: Cli, client: Any) -> None:
    words = ["trainer.checkpoint_every_n_steps=2", "optim.schedule=constant", "logger=[tensorboard,wandb,mlflow]"]
    assert cli("detect", *SMALL, *words)[0] == 0
    folder = run_folder.find_run("latest")
    ids = json.loads((folder / "tracking.json").read_text())
    assert resumed(cli, "trainer.max_steps=8") == ""
    assert json.loads((folder / "tracking.json").read_text()) == ids
    assert [step for step, _ in scalars(folder)["val/loss"]] == [2, 4, 6, 8]
    assert scalars(folder)["val/loss"] == history(folder, "val/loss")
    tracked = mlflow_run(client, folder)
    assert len(client.search_runs([tracked.info.experiment_id])) == 2  # with the one that was there
    assert (tracked.info.run_id, tracked.info.status) == (ids["mlflow"], "FINISHED")
    assert [row.step for row in client.get_metric_history(ids["mlflow"], "val/loss")] == [2, 4, 6, 8]
    assert resumed(cli) == ""  # with no step left: nothing is lost
    assert scalars(folder)["val/loss"] == history(folder, "val/loss")
    parts = [path.name for path in folder.parents[2].glob("wandb/offline-run-*")]
    assert parts and all(ids["wandb"] in name for name in parts)


def test_a_store_that_breaks_does_not_end_the_run(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorboard", reason=EXTRA)
    from ssl_cli.runs.loggers.tensorboard import TensorBoard

    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(TensorBoard, "write", full)
    code, _, err = cli("detect", *SMALL, "logger=tensorboard")
    assert code == 0
    assert err.count("TensorBoard stopped recording this run: OSError: No space left on device.") == 1


# --- untrusted run folders ----------------------------------------------------------------------------------


def test_a_run_folder_does_not_decide_where_numbers_go(cli: Cli, client: Any) -> None:
    assert cli("detect", *QUICK, "model=gaussian", "logger=mlflow")[0] == 0
    folder = run_folder.find_run("latest")
    config = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(config.replace("tracking_uri: null", "tracking_uri: http://stranger:1"))
    write_digests(folder)
    sentence = "set logger.mlflow.tracking_uri=http://stranger:1 again, or logger.mlflow.tracking_uri=null to keep"
    assert sentence in resumed(cli)
    assert resumed(cli, "logger.mlflow.tracking_uri=null") == ""
    (folder / "tracking.json").write_text('{"mlflow": "../../x"}')
    assert "'../../x' is no id of MLflow" in resumed(cli)
    (folder / "tracking.json").write_text(json.dumps({"mlflow": "0" * 32}))
    assert "can't be resumed" in resumed(cli)
    (folder / "config.yaml").write_text(
        config.replace("ssl_cli.runs.loggers.mlflow.MLflow", "ssl_cli.runs.loggers.mlflow.import_module")
    )
    write_digests(folder)
    assert "isn't one of ssl's own classes" in resumed(cli)


# --- messages before the training ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["logger=tensorbord"], "logger=tensorbord is not a choice. Did you mean tensorboard?"),
        (["model=[ae,knn]"], "model takes one choice; `-m model=NAME,NAME` compares several."),
        (["logger=[csv,mlfow]"], "logger=mlfow is not a choice. Did you mean mlflow?"),
        (["-m", "logger=[csv,wandbb],csv"], "logger=wandbb is not a choice. Did you mean wandb?"),
        (["logger=wandb", "logger.wandb.projct=x"], "logger.wandb.projct is not an option. Did you mean project?"),
        (["logger.wandb.offline=false"], "logger.wandb has options, but isn't chosen: set logger=wandb"),
        (["logger=wandb", "logger.wandb.project=a/b"], "logger.wandb.project must be a name without"),
        (["logger=mlflow", "logger.mlflow.tracking_uri=http://me:pw@h"], "logger.mlflow.tracking_uri has a password"),
        (["+logger.x={_target_: ssl_cli.data.tables.datasets.Table}"], "logger.x._target_ must name a subclass of"),
    ],
)
def test_faults_are_reported_before_any_data_is_read(cli: Cli, workdir: Path, words: list[str], sentence: str) -> None:
    code, _, err = cli("detect", *words)
    assert code == 2
    assert sentence in err
    assert not (workdir / "outputs").exists()


@pytest.mark.parametrize(
    ("name", "install"),
    [("tensorboard", "tensorboard"), ("wandb", "'ssl-cli[tracking]'"), ("mlflow", "'ssl-cli[tracking]'")],
)
def test_a_missing_package_is_reported(
    cli: Cli, workdir: Path, monkeypatch: pytest.MonkeyPatch, name: str, install: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    code, _, err = cli("detect", f"logger={name}")
    assert code == 2
    assert f"logger={name} needs the package {name}: pip install {install}\n" in err
    assert not (workdir / "outputs").exists()


def test_a_server_that_is_not_there_is_one_sentence(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason=EXTRA)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    code, _, err = cli("detect", *SMALL, "logger=mlflow", "logger.mlflow.tracking_uri=http://127.0.0.1:9")
    assert code == 2
    assert err.startswith("error: logger=mlflow can't begin: ") and err.count("\n") == 1


def test_trackers_print_nothing(process: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = process
    assert done.stderr == ""
    assert not [line for line in done.stdout.splitlines() if "wandb" in line.lower() or "mlflow" in line.lower()]
    assert not list((folder.parents[3] / "home").rglob("*mlflow*"))


def test_the_help_lists_the_loggers(cli: Cli) -> None:
    lines = cli("detect", "--help", "--all")[1].splitlines()
    assert any("logger=tensorboard" in line for line in lines)
    assert "[default]" in next(line for line in lines if "logger=csv" in line)
    assert "override these as logger.KEY=" in cli("detect", "logger=wandb", "--help")[1]
