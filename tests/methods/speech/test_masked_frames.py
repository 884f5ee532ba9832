"""BERT over frames: both losses against naive transcriptions, units, padding, saving."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ssl_cli.errors import InputError
from ssl_cli.methods.speech.frame_protocols import LearnsFromFrames
from ssl_cli.methods.speech.masked_frames import NEIGHBOURS, MaskedFrames, stack_neighbours
from ssl_cli.methods.speech.span_masks import span_masks
from ssl_cli.models.frame_transformer import FrameTransformer

M, UNITS = 4, 6
LENGTH = torch.tensor([14, 3, 9])


def model_of(target: Any = "units", **options: Any) -> MaskedFrames:
    torch.manual_seed(0)
    network = FrameTransformer(M, 32, layers=1, width=8, heads=2)
    model = MaskedFrames(network, target, UNITS, mask_ratio=0.4, span=3, **options)
    model.initialize_from_frames([batch(), batch(padding=5)], 0, lambda _: None)
    return model


def batch(padding: int = 0) -> dict[str, Tensor]:
    x = torch.randn(3, 14, M, generator=torch.Generator().manual_seed(1))
    x = x * (torch.arange(14) < LENGTH[:, None])[..., None]
    return {"frames": functional.pad(x, (0, 0, 0, padding)), "length": LENGTH}


def masked_in(of: dict[str, Tensor]) -> Tensor:
    return span_masks(of["length"], of["frames"].shape[1], 0.4, 3)


@torch.no_grad()
def test_the_loss_of_units_is_the_cross_entropy_of_masked_frames() -> None:
    model, of = model_of(), batch()
    torch.manual_seed(7)
    out = model(of)
    torch.manual_seed(7)
    masked = masked_in(of)
    losses, hits = [], []
    for row in range(3):
        for t in range(int(LENGTH[row])):
            if masked[row, t]:
                around = [of["frames"][row, s] if 0 <= s < 14 else torch.zeros(M) for s in range(t - 3, t + 4)]
                unit = int((model.centers - torch.cat(around)).square().sum(1).argmin())
                scores = model.head(model.network(of["frames"], LENGTH, masked)[row, t])
                losses.append(-scores.log_softmax(0)[unit].item())
                hits.append(float(int(scores.argmax()) == unit))
    assert float(out["loss"]) == pytest.approx(np.mean(losses), abs=1e-5)
    assert float(out["masked_accuracy"]) == pytest.approx(np.mean(hits))
    bits = model.derived_metrics({"loss": float(out["loss"])})["bits_per_frame"]
    assert bits == pytest.approx(np.mean(losses) / np.log(2), abs=1e-5)


@torch.no_grad()
def test_the_loss_of_frames_is_the_absolute_difference_of_masked_frames() -> None:
    model, of = model_of("frames"), batch()
    torch.manual_seed(7)
    out = model(of)
    torch.manual_seed(7)
    masked = masked_in(of)
    predicted = model.head(model.network(of["frames"], LENGTH, masked))
    differences = [
        abs(float(predicted[row, t, m] - of["frames"][row, t, m]))
        for row, t in masked.nonzero().tolist()
        for m in range(M)
    ]
    assert float(out["loss"]) == pytest.approx(np.mean(differences), abs=1e-5)
    assert set(out) == {"loss"}
    assert model.derived_metrics({"loss": 1.0}) == {}


def test_units_do_not_depend_on_padding() -> None:
    model = model_of()
    short, long = model.target_units(batch()["frames"]), model.target_units(batch(padding=5)["frames"])
    valid = torch.arange(14) < LENGTH[:, None]
    assert (short[valid] == long[:, :14][valid]).all()
    assert len(short[valid].unique()) > 2


def test_neighbours_are_stacked_in_the_order_of_time() -> None:
    x = torch.arange(1.0, 6.0).view(1, 5, 1)
    assert stack_neighbours(x)[0, 0].tolist() == [0, 0, 0, 1, 2, 3, 4]
    assert stack_neighbours(x)[0, 4].tolist() == [2, 3, 4, 5, 0, 0, 0]


def test_units_are_found_again_from_the_same_seed_and_from_no_padding() -> None:
    model, again = model_of(), model_of()
    assert (model.centers == again.centers).all()
    means = torch.cat([stack_neighbours(batch()["frames"][k : k + 1, :n])[0] for k, n in enumerate(LENGTH)]).mean(0)
    x = torch.cat([stack_neighbours(batch()["frames"])[k, :n] for k, n in enumerate(LENGTH)])
    counts = torch.bincount(torch.cdist(x, model.centers).argmin(1), minlength=UNITS)
    torch.testing.assert_close((model.centers * counts[:, None]).sum(0) / counts.sum(), means, atol=1e-4, rtol=0)


def test_more_units_than_frames_are_refused() -> None:
    model = MaskedFrames(FrameTransformer(M, 32, layers=1, width=8, heads=2), n_units=1000)
    with pytest.raises(InputError, match=r"model.n_units=1000: the training data has only 26 frames"):
        model.initialize_from_frames([batch()], 0, lambda _: None)


def test_predictions_are_of_masked_frames_alone() -> None:
    model, of = model_of(), batch()
    torch.manual_seed(7)
    out = model.predict_frames(of)
    assert out.units is not None
    assert out.predicted_units is not None
    assert (out.units == out.predicted_units)[~out.predicted].all()
    assert (out.frames[~out.predicted] == 0).all()
    middle = model.centers[:, NEIGHBOURS * M : (NEIGHBOURS + 1) * M]
    assert (out.frames[out.predicted] == middle[out.predicted_units[out.predicted]]).all()


def test_a_saved_model_is_the_same_and_encodes_whole_utterances() -> None:
    model, file = model_of(), io.BytesIO()
    torch.save(model.state_dict(), file)
    again = MaskedFrames(FrameTransformer(M, 32, layers=1, width=8, heads=2), "units", UNITS, 0.4, 3)
    again.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    assert isinstance(model, LearnsFromFrames)
    for a, b in zip(model.eval().hidden_layers(batch()), again.eval().hidden_layers(batch()), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(model.target_units(batch()["frames"]), again.target_units(batch()["frames"]))


def test_a_causal_network_is_refused() -> None:
    with pytest.raises(InputError, match=r"model.network.causal must be false"):
        MaskedFrames(FrameTransformer(M, 32, layers=1, width=8, heads=2, causal=True))
