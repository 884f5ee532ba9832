"""Classification of utterances: pooling, padding, the loss against a naive transcription, batches of one."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ssl_cli.methods.supervised.speech_classification import SpeechClassificationHead, pool_frames
from ssl_cli.models.frame_transformer import FrameTransformer

M = 4
LENGTH = torch.tensor([12, 1, 7, 2])


def model_of(pool: str = "thirds") -> SpeechClassificationHead:
    torch.manual_seed(0)
    network = FrameTransformer(M, 32, layers=2, width=8, heads=2)
    model = SpeechClassificationHead(network, 3, pool, dropout=0.0)  # type: ignore[arg-type]
    torch.nn.init.normal_(model.layer_weights)
    torch.nn.init.normal_(model.decide.weight)
    return model


def batch(padding: int = 0) -> dict[str, Tensor]:
    x = torch.randn(4, 12, M, generator=torch.Generator().manual_seed(1))
    x = x * (torch.arange(12) < LENGTH[:, None])[..., None]
    return {"frames": functional.pad(x, (0, 0, 0, padding)), "length": LENGTH, "label": torch.tensor([0, 2, 1, 1])}


def test_thirds_are_means_of_equal_parts() -> None:
    frames = torch.arange(1.0, 8.0).view(1, 7, 1)
    assert pool_frames(frames, torch.tensor([6]), 3)[0].tolist() == [1.5, 3.5, 5.5]
    assert pool_frames(frames, torch.tensor([7]), 3)[0].tolist() == [2.0, 4.0, 6.0], "3 frames each, of 7"
    assert pool_frames(frames, torch.tensor([1]), 3)[0].tolist() == [1.0, 1.0, 1.0]
    assert pool_frames(frames, torch.tensor([4]), 1)[0].tolist() == [2.5]


@torch.no_grad()
@pytest.mark.parametrize("pool", ["mean", "thirds"])
def test_scores_do_not_depend_on_padding_or_on_the_rest_of_the_batch(pool: str) -> None:
    model = model_of(pool).eval()
    whole = np.stack(model.predict_batch(batch(padding=9)))
    for row, length in enumerate(LENGTH.tolist()):
        alone = {"frames": batch()["frames"][row : row + 1, :length], "length": LENGTH[row : row + 1]}
        assert model.predict_batch(alone)[0] == pytest.approx(whole[row], abs=1e-5)


@torch.no_grad()
def test_the_loss_is_the_cross_entropy_of_the_standardized_mean() -> None:
    model, of = model_of("mean").train(), batch()
    layers = model.network.hidden_layers(of["frames"], LENGTH)
    shares, means = model.layer_weights.softmax(0), []
    for row, length in enumerate(LENGTH.tolist()):
        mixed = sum(
            share * (x[row, :length] - x[row, :length].mean(1, keepdim=True))
            / (x[row, :length].var(1, correction=0, keepdim=True) + 1e-5).sqrt()
            for share, x in zip(shares, layers, strict=True)
        )
        means.append(mixed.mean(0))  # type: ignore[union-attr]
    x = torch.stack(means)
    standard = (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()
    logits = standard @ model.decide.weight.T + model.decide.bias
    expected = -logits.log_softmax(1)[torch.arange(4), of["label"]].mean()
    torch.testing.assert_close(model(of)["loss"], expected)


def test_a_batch_of_one_can_be_learned_from() -> None:
    model = model_of().train()
    one = {name: array[:1] for name, array in batch().items()}
    model(one)["loss"].backward()
    assert model.decide.weight.grad is not None
    assert model.network.project.weight.grad is not None
    assert model.decide.weight.grad.isfinite().all()
    assert model.network.mask_vector.grad is None
