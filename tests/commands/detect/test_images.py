"""`ssl detect` and `ssl score` on images, of which one class is normal."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ssl_cli
from ssl_cli.data.images.datasets import Digits
from ssl_cli.data.io.arrow import read_table
from ssl_cli.errors import InputError
from ssl_cli.runs.digests import write_digests
from tests.conftest import QUICK, Cli


def detected(cli: Cli, *words: str) -> tuple[Path, str, str]:
    code, out, err = cli("detect", *QUICK, *words)
    assert code == 0, err
    return Path(out.strip().splitlines()[-1]), out, err


@pytest.fixture
def on_photographs(cli: Cli, published: Path) -> Path:
    """A finished run on a folder of image files."""
    return detected(cli, "data=images", f"data.dir={published}/photographs", "data.normal=dog", "model=knn")[0]


@pytest.mark.figures
def test_one_digit_is_normal(cli: Cli) -> None:
    run, out, _ = detected(cli, "data=digits", "data.normal=4", "model=conv_ae", "trainer.max_steps=40")
    assert "data=digits seed=0: 8 x 8 grey; images: 81 train, 1,707 test, 9 calibration" in out
    assert "normal: 4; anomalies: 0, 1, 2, 3, 5, 6, 7, 8, 9" in out
    assert "normal images" in out
    assert json.loads((run / "metrics.json").read_text())["test/auroc"] > 0.9
    with (run / "anomalies.csv").open(newline="") as file:
        anomalies = list(csv.DictReader(file))
    assert list(anomalies[0]) == ["rank", "row", "score", "p_value", "flagged", "label", "class", "file"]
    digits = Digits().read()
    assert digits.label is not None
    for row in anomalies:
        assert row["class"] == str(digits.label[int(row["row"])])
        assert row["label"] == str(row["class"] != "4")
    assert Image.open(run / "figures" / "anomalies.png").width > 400

    finished = ssl_cli.load(run)
    rows = [int(row["row"]) for row in anomalies]
    np.testing.assert_allclose(finished.score(digits.x[rows]), [float(row["score"]) for row in anomalies], rtol=1e-5)
    np.testing.assert_allclose(finished.score(digits.x[rows] / 255), finished.score(digits.x[rows]), rtol=1e-4)
    assert finished.embed(digits.x[:3]).shape == (3, 32)
    with pytest.raises(InputError, match=r"must be an array \(N, 1, 8, 8\), not \(3, 8, 8\)"):
        finished.score(digits.x[:3, 0])
    with pytest.raises(InputError, match=r"bytes .uint8., or numbers from 0 to 1; these range from 0 to"):
        finished.score(digits.x[:3] * 2.0)


def test_damaged_files_are_left_out_and_scores_name_the_others(cli: Cli, published: Path, on_photographs: Path) -> None:
    assert "1 of 49 image files" in (on_photographs / "log.txt").read_text()
    scores = read_table(on_photographs / "scores.parquet").to_pydict()
    assert set(scores["class"]) == {"cat", "dog"}
    assert all(file.startswith(f"{kind}/") for kind, file in zip(scores["class"], scores["file"], strict=True))


def test_a_folder_is_scored(cli: Cli, published: Path, on_photographs: Path) -> None:
    code, out, err = cli("score", f"run={on_photographs}", f"input={published}/photographs", "output=x.csv")
    assert code == 0, err
    assert "images: 49 in = 48 scored + 1 rejected" in out
    assert "1 images can't be read and are in rejects.csv: cat/torn.png: it is damaged" in err
    found = read_table(Path("x.csv")).to_pydict()
    assert list(found) == ["name", "row", "score", "p_value", "flagged"]
    run = ssl_cli.load(on_photographs)
    names, x, rejected = run.preprocessor.read_all(published / "photographs")
    assert found["name"] == names
    assert len(rejected) == 1
    np.testing.assert_allclose(found["score"], run.score(x), rtol=1e-5)
    np.testing.assert_allclose(found["p_value"], run.p_value(x))
    with Path("rejects.csv").open(newline="") as file:
        [reject] = list(csv.DictReader(file))
    assert (reject["row"], reject["text"]) == ("24", "cat/torn.png")

    code, out, err = cli("score", f"input={published}/photographs/dog/01.png", "output=one.parquet")
    assert code == 0, err
    assert read_table(Path("one.parquet"))["name"].to_pylist() == ["01.png"]


def test_the_wrong_kind_of_input(cli: Cli, published: Path, on_photographs: Path) -> None:
    Path("new.csv").write_text("a,b\n1,2\n")
    for words, sentence in (
        (["input=new.csv"], "the run was trained on images (32 x 32 RGB), so it must be an image, or a folder"),
        (["input=absent"], "input=absent is neither a file nor a folder"),
        ([f"input={published}/photographs", "keep=[a]"], "keep, header and delimiter are for tables"),
        ([f"input={published}/photographs/cat/torn.png"], "None of the 1 images can be read"),
    ):
        code, _, err = cli("score", f"run={on_photographs}", "output=o.csv", *words)
        assert code == 2
        assert sentence in err
        assert not Path("o.csv").exists()

    table = detected(cli, "model=knn")[0]
    for name in (f"{published}/photographs", f"{published}/photographs/dog/01.png"):
        code, _, err = cli("score", f"run={table}", f"input={name}", "output=o.csv")
        assert code == 2
        assert "the run was trained on a table, so it must be a CSV or Parquet file" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["data=digits", "data.normal=11"], "data.normal=11 is not a class"),
        (["data=digits", "data.normal=[0,1.5]"], "data.normal must be a whole number or a text or a list"),
        (["data=images", "data.dir=absent"], "data.dir=absent: there is no such file or folder"),
        (["data=images", "data.dir=.", "data.size=0"], "data.size must be a whole number of at least 1"),
        (["data=images"], "data.dir is missing"),
    ],
)
def test_bad_input_gets_one_sentence_and_no_run(cli: Cli, words: list[str], sentence: str) -> None:
    code, _, err = cli("detect", *words)
    assert code == 2
    assert sentence in err
    assert err.count("\n") == 1
    assert not Path("outputs").exists()


def test_an_untrusted_reader_of_another_shape(cli: Cli, on_photographs: Path) -> None:
    path = on_photographs / "preprocessor.json"
    path.write_text(path.read_text().replace("32", "31", 1))
    write_digests(on_photographs)
    with pytest.raises(InputError, match=r"preprocessor\.json is damaged: its rows do not have the model's shape"):
        ssl_cli.load(on_photographs)


@pytest.mark.parametrize("words", [["threshold=fdr", "calibrate=cross", "folds=2"], ["threshold=f1"]])
def test_other_thresholds_work_on_images(cli: Cli, words: list[str]) -> None:
    run, _, _ = detected(cli, "data=digits", "data.contamination=0.05", "model=knn", *words)
    assert json.loads((run / "metrics.json").read_text())["test/auroc"] > 0.9
