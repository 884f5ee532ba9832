"""ssl list runs: states, last message, filters, sorting."""

import json
import shutil
from pathlib import Path

import pytest

from ssl_cli.runs import folder
from tests.conftest import QUICK, Cli, run_here
from tests.helpers.processes import folder_of

WORDS = ["trainer=cpu", "bootstrap_samples=20"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four runs: two that finished, one that failed, and one as if it was killed just before it wrote its metrics."""
    place = tmp_path_factory.mktemp("made")
    gaussian = folder_of(run_here("detect", *WORDS, "model=gaussian", "seed=0", "fpr=0.2", cwd=place), place)
    (gaussian / "large").write_bytes(bytes(3_000_000))
    for words in (["model=knn", "seed=1"], ["model=ae", "optim.lr=1e9"]):
        run_here("detect", *WORDS, *words, cwd=place)
    killed = folder_of(run_here("detect", *WORDS, "model=knn", "seed=2", cwd=place), place)
    (killed / "metrics.json").unlink()
    environment = json.loads((killed / "environment.json").read_text())
    del environment["ended"]
    (killed / "environment.json").write_text(json.dumps(environment))
    return place


@pytest.fixture
def outputs(made: Path, workdir: Path) -> Path:
    return Path(shutil.copytree(made / "outputs", workdir / "outputs"))


def listed(cli: Cli, *words: str) -> list[list[str]]:
    code, out, err = cli("list", "runs", *words)
    assert code == 0, err
    return [line.split() for line in out.splitlines()[2:]]


def models(cli: Cli, *words: str) -> list[str]:
    return [row[0].split("/")[2].removesuffix("-breast_cancer") for row in listed(cli, *words)]


def test_states_and_last_lines(cli: Cli, outputs: Path) -> None:
    rows = listed(cli)
    assert [row[1] for row in rows] == ["finished", "finished", "failed", "killed"]
    assert "The loss became NaN or infinite in step" in " ".join(rows[2])
    assert "top anomalies: anomalies.csv" in " ".join(rows[3])  # its last line
    metrics = folder.read_metrics(Path(rows[0][0]))
    assert rows[0][4:6] == ["test/auroc", f"{metrics['test/auroc']:.4f}"]
    environment = json.loads((Path(rows[0][0]) / "environment.json").read_text())
    assert float(rows[0][6]) == pytest.approx(environment["wall_time_s"], abs=0.1)
    assert float(rows[0][7]) == pytest.approx(3, abs=0.2)  # MB


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["model=knn"], ["knn", "knn"]),
        (["model=knn,ae"], ["knn", "ae", "knn"]),
        (["model=knn", "state=finished"], ["knn"]),
        (["state=failed,killed"], ["ae", "knn"]),
        (["seed=0"], ["gaussian", "ae"]),
        (["optim.lr=0.001", "seed=0"], ["gaussian"]),
        (["trainer.patience=null", "seed=1"], ["knn"]),
        (["--sort", "model"], ["ae", "gaussian", "knn", "knn"]),
        (["--sort=-model"], ["knn", "knn", "gaussian", "ae"]),
        (["--sort", "state", "model=knn"], ["knn", "knn"]),
        (["--sort", "started"], ["gaussian", "knn", "ae", "knn"]),
    ],
)
def test_filters_and_sorting(cli: Cli, outputs: Path, words: list[str], expected: list[str]) -> None:
    assert models(cli, *words) == expected


def test_the_best_come_first_for_metrics_of_both_directions(cli: Cli, outputs: Path) -> None:
    def values(metric: str, *words: str) -> list[float]:
        return [folder.read_metrics(Path(row[0]))[metric] for row in listed(cli, *words)]

    for metric, largest in (("test/auroc", True), ("test/fpr", False)):
        found = values(metric, "--best", metric)
        assert len(found) == 2  # those that finished
        assert found == sorted(found, reverse=largest) and len(set(found)) == 2
    assert "best test/fpr first: the lowest" in cli("list", "runs", "--best", "test/fpr")[1]
    assert values("test/auroc", "--sort", "test/auroc", "state=finished") == sorted(
        values("test/auroc", "--best=test/auroc")
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["runs", "--best", "test/auruc"], "No run here has the metric test/auruc. Did you mean test/auroc?"),
        (["runs", "--sort", "secnds"], "--sort secnds: no run has it. Did you mean seconds?"),
        (["runs", "modle=knn"], "No run here has the option modle"),
        (["runs", "state=dead"], "state=dead: a run is one of finished, running, stopped, failed, killed, damaged"),
        (["runs", "--best"], "--best needs a name"),
        (["runs", "--best", "test/auroc", "--sort", "seconds"], "both set the order: use only one"),
        (["models", "model=knn"], "model is for runs: use `ssl list runs ...`"),
        (["rnus"], "ssl list has no rnus. Did you mean runs?"),
    ],
)
def test_unknown_names(cli: Cli, outputs: Path, words: list[str], sentence: str) -> None:
    code, _, err = cli("list", *words)
    assert code == 2
    assert sentence in err


def test_nothing_to_list(cli: Cli) -> None:
    assert "none in outputs yet" in cli("list", "runs")[1]
    cli("detect", "model=gaussian", *QUICK)
    assert "none in outputs matches" in cli("list", "runs", "model=knn")[1]


@pytest.mark.parametrize("place", ["paths.outputs=a b", "paths.outputs='a b'", 'paths.outputs="a b"'])
def test_quotes_are_no_part_of_a_value(cli: Cli, outputs: Path, place: str) -> None:
    outputs.rename("a b")
    code, out, _ = cli("list", "runs", place, "model='gaussian'")
    assert code == 0 and "a b/detect/gaussian-breast_cancer/" in out and "knn" not in out
