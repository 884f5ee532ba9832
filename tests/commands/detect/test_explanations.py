"""Explanations of anomalies: each detector's contributions against its formula, and their text against the table."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_cli.commands.detect.explanations import Explains
from ssl_cli.methods.autoencoders.autoencoder import Autoencoder
from ssl_cli.methods.autoencoders.variational import VAE, gaussian_kl
from ssl_cli.methods.detectors.gaussian import Gaussian
from ssl_cli.methods.detectors.knn import KNN
from ssl_cli.methods.detectors.residual_explanation import in_both, mahalanobis_savings
from ssl_cli.methods.detectors.residual_knn import ResidualKNN
from ssl_cli.models.mlp import MLPAutoencoder
from tests.conftest import QUICK, Cli

EXPLAINED = ["best", "residual_knn", "gaussian", "knn", "ae", "dae", "vae"]
EACH = [slice(j, j + 1) for j in range(4)]  # four columns of one feature each


@pytest.fixture
def x() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(300, 4)) @ rng.normal(size=(4, 4))).astype(np.float32)


def test_gaussian_expects_the_conditional_mean_and_contributes_what_it_would_save(x: np.ndarray) -> None:
    detector = Gaussian(ridge=0.0)
    detector.fit(x, seed=0)
    batch = {"x": torch.from_numpy(x[:5] + 3)}
    expected, part = (out.numpy() for out in detector.explain(batch, EACH))
    mean, covariance = x.astype(float).mean(0), np.cov(x.T.astype(float), bias=True)
    for row, values in enumerate(batch["x"].numpy().astype(float)):
        for j in range(4):
            rest = [i for i in range(4) if i != j]
            slope = covariance[j, rest] @ np.linalg.inv(covariance[np.ix_(rest, rest)])
            assert expected[row, j] == pytest.approx(mean[j] + slope @ (values[rest] - mean[rest]), rel=1e-3, abs=1e-3)
            mended = batch["x"][row].clone()
            mended[j] = float(expected[row, j])
            saved = 4 * (detector.score({"x": batch["x"][row : row + 1]}) - detector.score({"x": mended[None]}))
            assert part[row, j] == pytest.approx(float(saved), rel=1e-3, abs=1e-3)


def test_the_features_of_one_symbol_contribute_together() -> None:
    # z determines which of three symbols s is. The last row's pair never occurs. Explained one by one, the features of
    # s would expect each other.
    rng = np.random.default_rng(0)
    z = rng.integers(0, 3, size=600)
    x = np.c_[z + rng.normal(0, 0.1, size=600), np.eye(3)[z]].astype(np.float32)
    detector = Gaussian(ridge=1e-3)
    detector.fit(x, seed=0)
    odd = np.array([[2, 0, 1, 0]], dtype=np.float32)
    expected, part = (
        out.numpy()[0] for out in detector.explain({"x": torch.from_numpy(odd)}, [slice(0, 1), slice(1, 4)])
    )
    assert expected[1:].argmax() == 2
    assert part[1] > 0.9 * part[0]


def nearest_others(rows: torch.Tensor, k: int) -> torch.Tensor:
    """Return the indices (N, k) of the rows nearest to each row, itself left out."""
    squared = ((rows[:, None] - rows[None]) ** 2).sum(-1).fill_diagonal_(torch.inf)
    return squared.topk(k, dim=1, largest=False).indices


def test_residual_knn_expects_the_mean_of_its_neighbours(x: np.ndarray) -> None:
    detector = ResidualKNN(k=3)
    detector.fit(x, seed=0)
    batch = {"x": torch.from_numpy(x[:20] + 1)}
    expected, part = detector.explain(batch, EACH)
    here, rows = detector._spaces(batch["x"])[1], detector.spaces[1].rows
    squared = ((here[:, None] - rows[None]) ** 2).sum(-1)
    nearest = squared.topk(3, dim=1, largest=False)
    torch.testing.assert_close(expected, torch.from_numpy(x)[nearest.indices].mean(1))
    near = detector._near(here, nearest.indices, EACH)
    torch.testing.assert_close(near.sum(1), nearest.values.mean(1), rtol=1e-3, atol=1e-4)
    near = near - detector._near(rows, nearest_others(rows, 3), EACH).mean(0)
    linear = [mahalanobis_savings(z[:, :4].double(), detector.state["residual"], [], EACH) for z in (here, rows)]
    linear_excess = (linear[0] - linear[1].mean(0)).clamp(min=0)
    torch.testing.assert_close(part, in_both(near.clamp(min=0), linear_excess), rtol=1e-3, atol=1e-4)


def test_savings_are_what_the_gaussian_would_save(x: np.ndarray) -> None:
    z = torch.from_numpy(x).double()
    precision = torch.linalg.inv(z.T.cov(correction=0))
    columns = [slice(0, 1), slice(1, 4)]
    saved = mahalanobis_savings(z - z.mean(0), precision / precision.diagonal().sqrt(), [[1, 4]], columns)
    saved = saved * torch.tensor([1, 2])  # degrees of freedom: those of a category are one less than its features
    gaussian = Gaussian(ridge=0.0)
    gaussian.fit(x, seed=0)
    torch.testing.assert_close(saved.float(), gaussian.explain({"x": torch.from_numpy(x)}, columns)[1])


def test_a_column_must_stand_out_in_both_views() -> None:
    near = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    linear = torch.tensor([[0.0, 2.0, 8.0], [0.0, 5.0, 1.0]])
    torch.testing.assert_close(in_both(near, linear), torch.tensor([[0, (0.5 * 0.2) ** 0.5, 0], [1, 0, 0]]))


def test_what_a_feature_does_to_the_residuals_of_others_is_its_own(x: np.ndarray) -> None:
    """Each neighbour's part, in loops: the difference in a feature times what the differences add up to there."""
    detector = ResidualKNN(k=2)
    detector.fit(x, seed=0)
    points, rows = detector._spaces(torch.from_numpy(x[:3] + 1))[1], detector.spaces[1].rows
    _, nearest = detector.spaces[1](points, 2)
    state = {name: value.numpy() for name, value in detector.state.items()}
    for b, parts in enumerate(detector._near(points, nearest, EACH).numpy()):
        for j in range(4):
            naive = 0.0
            for neighbour in nearest[b]:
                value, residual = np.split((points[b] - rows[neighbour]).numpy().astype(float), 2)
                slopes = [residual[i] * state["residual"][j, i] / state["residual_std"][i] for i in range(4)]
                naive += (value[j] ** 2 + value[j] * sum(slopes)) / 2
            assert parts[j] == pytest.approx(naive, rel=1e-3, abs=1e-4)


def test_knn_expects_the_mean_of_its_neighbours(x: np.ndarray) -> None:
    detector = KNN(k=3)
    detector.fit(x[10:], seed=0)
    odd = x[:10] + 3
    expected, part = (out.numpy() for out in detector.explain({"x": torch.from_numpy(odd)}, EACH))
    nearest = np.argsort(((odd[:, None] - x[None, 10:]) ** 2).sum(-1), axis=1)[:, :3]
    np.testing.assert_allclose(expected, x[10:][nearest].mean(1), rtol=1e-5)
    rows = torch.from_numpy(x[10:])
    usual = (rows - rows[nearest_others(rows, 3)].mean(1)).square().mean(0).numpy()
    np.testing.assert_allclose(part, np.maximum((odd - expected) ** 2 - usual, 0), rtol=1e-4, atol=1e-5)


def test_the_contributions_of_a_reconstruction_add_up_to_its_score(x: np.ndarray) -> None:
    batch = {"x": torch.from_numpy(x)}
    plain = Autoencoder(MLPAutoencoder(shape=[4], hidden=[8], latent=2))
    plain.fit_statistics(batch["x"])
    torch.testing.assert_close(plain.explain(batch, EACH)[1].mean(1), plain.score(batch))
    # With one posterior sample at the mean, the score is the sum of contributions, the rate and a constant.
    variational = VAE(MLPAutoencoder(shape=[4], hidden=[8], latent=2, outputs_per_latent=2), score_samples=1)
    variational.score_noise.zero_()
    rate = gaussian_kl(*variational.posterior(batch["x"]))
    constant = (variational.log_std + 0.5 * np.log(2 * np.pi)).sum()
    torch.testing.assert_close(variational.explain(batch, EACH)[1].sum(1) + rate + constant, variational.score(batch))


@pytest.mark.parametrize(
    "model", [pytest.param(name, marks=() if name == "residual_knn" else pytest.mark.long) for name in EXPLAINED]
)
def test_the_explanation_is_in_the_units_of_the_file(cli: Cli, workdir: Path, model: str) -> None:
    # One row breaks the rule b = 2 a, another has a new kind, a third a day far from the others.
    rng = np.random.default_rng(0)
    a = rng.normal(100, 10, size=400)
    rows = [[f"{v:.3f}", f"{2 * v:.3f}", "xy"[i % 2], f"2024-01-{i % 28 + 1:02}", "0"] for i, v in enumerate(a)]
    rows += [["100", "700", "x", "2024-01-15", "1"], ["100", "200", "z", "2024-01-15", "1"]]
    rows += [["100", "200", "x", "2031-06-01", "1"]]
    with Path("t.csv").open("w") as file:
        csv.writer(file).writerows([["a", "b", "kind", "day", "fraud"], *rows])
    words = [
        "data=table",
        "data.file=t.csv",
        "data.label=fraud",
        f"model={model}",
        "trainer=cpu",
        "bootstrap_samples=20",
    ]
    code, out, err = cli("detect", *words, "trainer.max_steps=400", "anomalies=3")
    assert code == 0, err
    folder = Path(out.strip().splitlines()[-1])
    with (folder / "anomalies.csv").open(newline="") as file:
        found = {int(row["row"]): row for row in csv.DictReader(file)}
    # A new symbol stands out less in a distance, and for a code that has room for one.
    assert set(found) == {400, 401, 402} or model in ("knn", "vae")
    assert found[400]["feature_1"] in ("a", "b")
    assert (found[400]["actual_1"], found[402]["actual_1"]) in (("700", "2031-06-01"), ("100", "2031-06-01"))
    if 401 in found:
        assert (found[401]["feature_1"], found[401]["actual_1"]) == ("kind", "z")
    assert found[402]["feature_1"] == "day"
    assert found[402]["expected_1"][:2] == "20"  # a date
    assert all(0 < float(row["share_1"]) <= 1 and row["label"] == str(int(row["row"]) >= 400) for row in found.values())
    assert (folder / "figures" / "anomalies.png").is_file()


@pytest.mark.parametrize("model", ["iforest", "ocsvm"])
def test_a_detector_that_cannot_explain_says_so(cli: Cli, model: str) -> None:
    code, out, err = cli("detect", *QUICK, f"model={model}", "anomalies=5")
    assert code == 0, err
    able = out.partition("this model can't explain its scores; ")[2].partition(" can")[0].split(", ")
    assert {"ae", "best", "dae", "gaussian", "knn", "residual_knn", "vae"} <= set(able)
    assert model not in able
    folder = Path(out.strip().splitlines()[-1])
    with (folder / "anomalies.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4", "5"]
    assert not any(row["feature_1"] for row in rows)
    assert not (folder / "figures" / "anomalies.png").exists()


def test_the_class_shows_which_model_explains() -> None:
    assert isinstance(Gaussian(), Explains)
    assert isinstance(Autoencoder(MLPAutoencoder(shape=[4], hidden=[8], latent=2)), Explains)


def test_without_labels_the_top_anomalies_of_all_rows_are_listed(cli: Cli, workdir: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=200)
    values[[3, 77]] = 50, -60
    Path("t.csv").write_text("v,w\n" + "\n".join(f"{v},{w}" for v, w in zip(values, rng.normal(size=200), strict=True)))
    code, out, err = cli("detect", "data=table", "data.file=t.csv", "model=knn", "anomalies=2")
    assert code == 0, err
    with (Path(out.strip().splitlines()[-1]) / "anomalies.csv").open(newline="") as file:
        assert {(row["row"], row["actual_1"], row["label"]) for row in csv.DictReader(file)} == {
            ("77", "-60.0", ""),  # as in the file
            ("3", "50.0", ""),
        }
