"""PyOD: detectors by name, reproducible by the seed, and restored with the same scores."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from ssl_cli.errors import InputError
from ssl_cli.methods.detectors.pyod import EXAMPLES, PyOD, find_class
from ssl_cli.methods.protocols import Detector
from tests.conftest import Cli, run_ssl

pytest.importorskip("pyod", reason="needs the extra pyod: pip install 'ssl-cli[pyod]'")

RNG = np.random.default_rng(0)
TRAIN = RNG.normal(size=(120, 4)).astype(np.float32)
TEST = np.concatenate([RNG.normal(size=(30, 4)), RNG.normal(6, 1, size=(10, 4))]).astype(np.float32)
QUICK = {"AutoEncoder": {"epoch_num": 2}, "IForest": {"n_estimators": 20}, "LODA": {"n_bins": 5}}
KINDS = ["COPOD", "ECOD", "IForest", "KNN", "HBOS", "PCA", "LOF", "AutoEncoder", "LODA", "GMM", "DeepSVDD"]


def fitted(detector: str, seed: int = 0, **options: object) -> PyOD:
    model = PyOD(detector, QUICK.get(detector, {}) | options)
    model.fit(TRAIN, seed)
    return model


def scores(detector: Detector, x: np.ndarray = TEST) -> np.ndarray:
    with torch.inference_mode():
        return detector.score({"x": torch.from_numpy(x)}).numpy()


@pytest.mark.parametrize("name", KINDS)
def test_saved_and_restored_scores_the_same_bits(tmp_path: Path, name: str) -> None:
    detector = fitted(name, seed=7)
    assert isinstance(detector, Detector)
    before = scores(detector)
    assert before.dtype == np.float64
    detector.save(tmp_path)
    again = PyOD(name, QUICK.get(name))
    again.restore(tmp_path)
    np.testing.assert_array_equal(scores(again), before)


@pytest.mark.parametrize("name", KINDS)
def test_larger_is_more_abnormal(name: str) -> None:
    found = scores(fitted(name))
    assert np.median(found[30:]) > np.median(found[:30])


@pytest.mark.parametrize("name", ["COPOD", "ECOD", "ROD", "VAE", "KNN"])
def test_a_score_does_not_depend_on_the_batch(name: str) -> None:
    detector = fitted(name, **({"epoch_num": 1} if name == "VAE" else {}))
    assert detector.one_by_one == (name != "KNN")
    np.testing.assert_allclose(scores(detector, TEST[-3:]), scores(detector)[-3:], rtol=1e-6)


def test_scores_are_pyods_own() -> None:
    from pyod.models.ecod import ECOD
    from pyod.models.knn import KNN

    wide = TEST.astype(np.float64)
    np.testing.assert_allclose(
        scores(fitted("KNN", n_neighbors=3)), KNN(n_neighbors=3).fit(TRAIN).decision_function(wide)
    )
    ecod = ECOD().fit(TRAIN.astype(np.float64))
    np.testing.assert_allclose(scores(fitted("ECOD")), [ecod.decision_function(row[None])[0] for row in wide])


@pytest.mark.parametrize("name", ["IForest", "AutoEncoder", "LODA"])
def test_every_draw_follows_from_the_seed_and_global_generators_stay(name: str) -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), dict(os.environ)
    one, other = scores(fitted(name)), scores(fitted(name, seed=1))
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()
    assert before[2] == dict(os.environ)
    np.random.seed(2)
    np.testing.assert_array_equal(scores(fitted(name)), one)
    assert not np.array_equal(one, other)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    scores(fitted("AutoEncoder"))
    assert capfd.readouterr() == ("", "")


def test_a_run_with_other_scores_in_this_pyod_is_rejected(tmp_path: Path) -> None:
    fitted("KNN").save(tmp_path)
    content = load_file(tmp_path / "model.safetensors")
    content["scores"] *= 2
    save_file(content, tmp_path / "model.safetensors", {"seed": "0", "pyod": "1.0"})
    with pytest.raises(InputError, match=r"gives other scores than it did\. The run was made with pyod 1\.0"):
        PyOD("KNN").restore(tmp_path)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "model.detector must name a detector of PyOD: ECOD, COPOD, IForest, LOF, HBOS, GMM, INNE, LODA, AutoEnc"),
        (["detector=COPODD"], "is no detector of PyOD for tables. Did you mean COPOD? It has ABOD, "),
        (["detector=copod"], "Did you mean COPOD?"),
        (["detector=DOMINANT"], "is no detector of PyOD for tables."),
        (["detector=DevNet"], "model.detector=DevNet learns from labels"),
        (
            ["detector=KNN", "options.n_neighbour=3"],
            "n_neighbour is not an option of KNN. Did you mean n_neighbors? It takes",
        ),
        (
            ["detector=KNN", "options.contamination=7"],
            "model.options don't suit KNN: ",
        ),
        (["detector=LSCP"], "model.options.detector_list is missing: LSCP needs it."),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_reported_before_any_data_is_read(cli: Cli, words: list[str], sentence: str) -> None:
    code, _, err = cli("detect", "data=creditcard", "model=pyod", *(f"model.{word}" for word in words))
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err


def test_examples_are_detectors_of_pyod() -> None:
    assert [find_class(name).__name__ for name in EXAMPLES] == list(EXAMPLES)


def test_rows_that_do_not_suit_a_detector() -> None:
    with pytest.raises(InputError, match="KNN can't be fitted to 120 rows of 4 features: "):
        fitted("KNN", n_neighbors=500)
    with pytest.raises(InputError, match="SOS only compares rows with the rows beside them"):
        fitted("SOS")


def test_without_pyod_the_message_has_the_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"detector=KNN needs the package pyod: pip install 'ssl-cli\[pyod\]'"):
        PyOD("KNN")


def test_listing_the_models_imports_no_pyod(workdir: Path) -> None:
    done = run_ssl("list", "models", cwd=workdir, PYTHONPROFILEIMPORTTIME="1")
    assert "pyod" in done.stdout
    assert "pyod" not in done.stderr.replace("ssl_cli.methods.detectors.pyod", "")
