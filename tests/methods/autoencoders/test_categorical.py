"""CategoricalAutoencoder: mutual information against the paper's sums, its code, its deformed views."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ssl_cli.data.images.augment import Augment
from ssl_cli.errors import InputError
from ssl_cli.methods.autoencoders.categorical import CategoricalAutoencoder, mutual_information
from ssl_cli.models.convnet import Classifier
from ssl_cli.models.mlp import MLPAutoencoder

SHAPE = [1, 8, 8]


def model(classes: int = 5, **options: float) -> CategoricalAutoencoder:
    torch.manual_seed(1)
    network = MLPAutoencoder(SHAPE, [16], 3, outputs_per_latent=2, condition=classes)
    return CategoricalAutoencoder(network, Classifier(SHAPE, [4, 8], 16, classes), Augment.deformation(), **options)


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return torch.rand(40, *SHAPE)


def test_mutual_information_equals_the_papers_sums() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(12, 4).softmax(1), torch.randn(12, 4).softmax(1)
    joint = [
        [sum(float(a[c] * b[d]) for a, b in zip(first, second, strict=True)) / 12 for d in range(4)] for c in range(4)
    ]
    joint = [[(joint[c][d] + joint[d][c]) / 2 for d in range(4)] for c in range(4)]
    share = [sum(row) for row in joint]
    naive = sum(joint[c][d] * math.log(joint[c][d] / (share[c] * share[d])) for c in range(4) for d in range(4))
    shared, spread = mutual_information(first, second)
    assert float(shared) == pytest.approx(naive, rel=1e-4)
    assert float(spread) == pytest.approx(-sum(p * math.log(p) for p in share), rel=1e-4)


def test_mutual_information_of_equal_and_of_independent_views() -> None:
    sure = torch.eye(4).repeat(3, 1)
    assert float(mutual_information(sure, sure)[0]) == pytest.approx(math.log(4), rel=1e-4)
    assert float(mutual_information(sure, torch.full((12, 4), 0.25))[0]) == pytest.approx(0, abs=1e-5)


def test_the_loss_is_the_sum_of_its_parts(x: Tensor) -> None:
    trained = model(style_weight=2.0, mutual_info_weight=3.0, entropy_weight=5.0)
    torch.manual_seed(3)
    losses = trained({"x": x})
    torch.manual_seed(3)
    first, second = trained.classifier(torch.cat([trained.deform(x), trained.deform(x)])).chunk(2)
    chosen = functional.gumbel_softmax(first, 1.0, hard=True)
    mean, log_var = trained.network.encode(x).chunk(2, dim=1)
    style = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
    rebuilt = trained.network.decode(torch.cat([chosen, style], 1)).sigmoid()
    error = -(x * rebuilt.log() + (1 - x) * (1 - rebuilt).log()).flatten(1).sum(1).mean()
    rate = (0.5 * (mean**2 + log_var.exp() - 1 - log_var)).sum(1).mean()
    shared, spread = mutual_information(first.softmax(1), second.softmax(1))
    whole = (error + 2 * rate - 3 * shared - 5 * spread) / 64
    torch.testing.assert_close(losses["loss"], whole)


def test_gradients_reach_all_parameters(x: Tensor) -> None:
    trained = model()
    trained({"x": x})["loss"].backward()
    assert all(part.grad is not None and part.grad.abs().sum() > 0 for part in trained.parameters())


def test_the_code_is_one_class_and_a_style(x: Tensor) -> None:
    trained = model().eval()
    with torch.no_grad():
        trained.fit_statistics((x * 255).to(torch.uint8))
        code = trained.embed({"x": x})
        assert code.shape == (40, 5 + 3)
        torch.testing.assert_close(code[:, :5].sum(1), torch.ones(40))
        assert torch.equal(trained.codes({"x": x})[:, 0], code[:, :5].argmax(1))
        assert trained.code_counts.sum() == 40
        hard = torch.cat([functional.one_hot(code[:, :5].argmax(1), 5).float(), code[:, 5:]], 1)
        torch.testing.assert_close(trained.decode(hard), trained.reconstruct({"x": x}))


def test_generated_classes_have_the_training_frequencies(x: Tensor) -> None:
    trained = model().eval()
    trained.code_counts.copy_(torch.tensor([[0, 7, 0, 0, 0]]))
    torch.manual_seed(0)
    drawn = trained.generate(6)
    assert drawn.shape == (6, *SHAPE)
    only = trained.decode(
        torch.cat([functional.one_hot(torch.ones(6, dtype=torch.int64), 5).float(), torch.zeros(6, 3)], 1)
    )
    assert not torch.equal(drawn[0], drawn[1])  # the style differs
    assert (drawn - only).abs().mean() < 0.2  # the class doesn't


def test_a_decoder_with_another_number_of_classes_is_rejected() -> None:
    with pytest.raises(InputError, match=r"an MLPAutoencoder whose condition is the number of classes, 5"):
        CategoricalAutoencoder(
            MLPAutoencoder(SHAPE, [16], 3, outputs_per_latent=2, condition=4),
            Classifier(SHAPE, [4], 16, 5),
            Augment.deformation(),
        )
