"""Metrics of reconstruct: equal to their formulas, and determined by the seed."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssl_cli.commands.reconstruct import evaluate, report
from ssl_cli.commands.reconstruct.predictions import ModelOutputs, seeded
from ssl_cli.data.images.datasets import ImageData, ImageSplit
from ssl_cli.evaluation.metrics.probes import ProbeData
from ssl_cli.methods.autoencoders.variational import VAE
from ssl_cli.models.pca import fit_pca
from tests.commands.reconstruct.conftest import SMALL, OutputsOf

DOCS = (Path(__file__).parents[3] / "docs" / "reconstruct.md").read_text()


class LinearGaussian(nn.Module):
    """x = 0.5 + W z, whose posterior is known; the encoder returns it, slightly wrong."""

    shape, latent, outputs_per_latent = [1, 2, 3], 2, 2

    def __init__(self, noise_std: float):
        super().__init__()
        self.basis = 0.2 * torch.linalg.qr(torch.randn(6, 2, generator=torch.Generator().manual_seed(0)))[0]  # (D, Z)
        self.precision = 1 + 0.2**2 / noise_std**2  # of the posterior: the basis is orthogonal
        self.noise_std = noise_std

    def encode(self, x: Tensor) -> Tensor:
        mean = (x.flatten(1) - 0.5) @ self.basis / (self.noise_std**2 * self.precision)
        return torch.cat([mean + 0.1, torch.full_like(mean, math.log(1.3 / self.precision))], dim=1)

    def decode(self, z: Tensor) -> Tensor:
        return (0.5 + z @ self.basis.T).unflatten(1, self.shape)


def test_nll_is_the_exact_one_of_a_linear_gaussian_model() -> None:
    network = LinearGaussian(0.15)
    model = VAE(network, likelihood="gaussian", noise_std=0.15).eval()
    x = np.random.default_rng(0).integers(60, 200, (40, 1, 2, 3)).astype(np.uint8)
    split_outputs = ModelOutputs(model, ImageSplit(x, None, np.arange(40)))
    rows = torch.from_numpy(x).flatten(1).double() / 255
    covariance = (network.basis @ network.basis.T + 0.15**2 * torch.eye(6)).double()
    exact = -torch.distributions.MultivariateNormal(torch.full((6,), 0.5).double(), covariance).log_prob(rows)

    found = evaluate.likelihood_metrics(split_outputs, seed=0, samples=3000, n_images=25)
    assert found["nll"] == pytest.approx(float(exact[:25].mean()), abs=0.02)
    assert found["elbo"] < -float(exact[:25].mean()) - 0.01  # a bound that is not tight here
    assert found["bits_per_dim"] == pytest.approx(found["nll"] / (6 * math.log(2)) + math.log2(256))
    rough = evaluate.likelihood_metrics(split_outputs, seed=0, samples=1, n_images=25)["nll"]
    assert rough > found["nll"]


def test_images_are_binarized_once_by_the_seed(outputs_of: OutputsOf) -> None:
    split_outputs = outputs_of("vae", binarize=True)["test"]
    seen: list[Tensor] = []
    model = split_outputs.model
    whole, bound = model.log_likelihood, model.elbo
    model.log_likelihood = lambda x, samples: seen.append(x) or whole(x, samples)
    model.elbo = lambda x, samples: seen.append(x) or bound(x, samples)
    found = evaluate.likelihood_metrics(split_outputs, seed=3, samples=5, n_images=20)
    del model.log_likelihood, model.elbo
    assert torch.equal(seen[0], seen[1]) and set(seen[0].unique().tolist()) == {0.0, 1.0}
    assert found["bits_per_dim"] == pytest.approx(found["nll"] / (64 * math.log(2)))
    assert evaluate.likelihood_metrics(split_outputs, seed=4, samples=5, n_images=20) != found


@pytest.mark.parametrize("name", ["vae", "onehot_ae", "vqvae"])
def test_metrics_follow_from_the_seed_and_leave_the_generators_alone(
    outputs_of: OutputsOf, digits: ImageData, name: str
) -> None:
    outputs = outputs_of(name)
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state()
    first = evaluate.measure(outputs, 5, 10, 30, True)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(3)
    np.random.rand(3)
    again = {split: ModelOutputs(split_outputs.model, digits.splits[split]) for split, split_outputs in outputs.items()}
    assert evaluate.measure(again, 5, 10, 30, True) == first


@pytest.mark.parametrize("name", sorted(SMALL))
def test_every_metric_is_finite_and_explained(outputs_of: OutputsOf, name: str) -> None:
    found = evaluate.measure(outputs_of(name), 0, 5, 20, True)
    assert all(math.isfinite(value) for value in found.values())
    assert {"test/mse", "test/psnr", "test/ssim", "test/linear_probe_100", "test/knn_all_pca"} <= set(found)
    for key in found:
        known = key.removeprefix("test/")
        assert known in report.MEANINGS or known.startswith(tuple(report.PROBES)), key
    for known in report.MEANINGS:
        assert f"`{known}`" in DOCS, known
    has = {
        "nll": name in ("vae", "beta_vae"),
        "kl_active_dims": name in ("vae", "beta_vae"),
        "perplexity": name in ("vqvae", "binary_ae", "onehot_ae"),
        "bits_per_image": name in ("vqvae", "binary_ae"),
        "majority_accuracy": name == "onehot_ae",
    }
    assert {key: f"test/{key}" in found for key in has} == has


def test_sizes_of_discrete_codes(outputs_of: OutputsOf) -> None:
    assert evaluate.code_usage(outputs_of("vqvae")["test"])["bits_per_image"] == 4 * 4  # 2 x 2 places, 16 letters
    assert evaluate.code_usage(outputs_of("binary_ae")["test"])["bits_per_image"] == 12


def test_the_code_of_pca_scores_as_the_pca_baseline(outputs_of: OutputsOf) -> None:
    found = evaluate.measure(outputs_of("pca"), 0, 1, 1, True)
    for name in ("linear_probe_100", "linear_probe_all", "knn_100", "knn_all"):
        assert found[f"test/{name}"] == pytest.approx(found[f"test/{name}_pca"], abs=0.02)
        assert found[f"test/{name}_pixels"] > 0.3


def test_the_images_of_probes_are_limited_before_their_features_are_computed(
    outputs_of: OutputsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = outputs_of("ae")["train"]
    assert evaluate.limit_images(train, 64, seed=0) is train
    monkeypatch.setattr(evaluate, "SUBSET_SIZES", (10, 20))
    monkeypatch.setattr(evaluate, "MAX_PROBE_VALUES", 64 * 50)
    few = evaluate.limit_images(train, 64, seed=0)
    assert len(few) == 50 and set(few.labels) == set(range(10))
    fitted = []
    monkeypatch.setattr(evaluate, "fit_pca", lambda x, n, seed: fitted.append(len(x)) or fit_pca(x, n, seed))
    evaluate.probe_metrics(train, outputs_of("ae")["test"], 0)
    assert fitted == [50]


def test_all_components_of_the_pixels_have_the_pixels_neighbours(outputs_of: OutputsOf, digits: ImageData) -> None:
    x = digits.splits["train"].x.reshape(160, -1)[:, :12].astype(np.float32)  # fewer pixels than images
    pca, _ = evaluate.principal_components(x, x, 12, 0)
    order = [np.arange(160)]
    labels = digits.splits["train"].label
    assert labels is not None
    plain, turned = (evaluate.knn_probe(ProbeData(rows, rows, labels, labels), order) for rows in (x, pca))
    assert plain == pytest.approx(turned, abs=0.02)


def test_images_without_labels_have_no_probes_and_unknown_ones_are_left_out(
    outputs_of: OutputsOf, digits: ImageData
) -> None:
    model = outputs_of("ae")["test"].model
    bare = {name: ModelOutputs(model, ImageSplit(split.x, None, split.row)) for name, split in digits.splits.items()}
    assert set(evaluate.measure(bare, 0, 1, 1, True)) == {"test/mse", "test/squared_error", "test/psnr", "test/ssim"}
    some, known = {}, {}
    for name, split in digits.splits.items():
        assert split.label is not None
        label = np.where(np.arange(len(split.x)) % 3 == 0, -1, split.label)
        some[name] = ModelOutputs(model, ImageSplit(split.x, label, split.row))
        known[name] = some[name].take(np.flatnonzero(label >= 0))
    found = evaluate.measure(some, 0, 1, 1, True)
    assert {k: v for k, v in found.items() if "probe" in k or "knn" in k} == measures_of_probes(known)


def measures_of_probes(outputs: dict[str, ModelOutputs]) -> dict[str, float]:
    return {
        f"test/{name}": value for name, value in evaluate.probe_metrics(outputs["train"], outputs["test"], 0).items()
    }


def test_seeded_draws_do_not_depend_on_earlier_ones() -> None:
    draws = []
    for skipped in (0, 3):
        torch.rand(skipped)
        with seeded(nn.Linear(1, 1), 7):
            draws.append(torch.rand(4))
    assert torch.equal(*draws)
