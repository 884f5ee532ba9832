"""GPT over frames: the loss against a naive transcription, causality, short utterances."""

import numpy as np
import pytest
import torch
from torch import Tensor

from ssl_cli.errors import InputError
from ssl_cli.methods.speech.frame_protocols import LearnsFromFrames
from ssl_cli.methods.speech.next_frames import NextFrames
from ssl_cli.models.frame_transformer import FrameTransformer

M = 4
LENGTH = torch.tensor([11, 2, 7])


def model_of(steps: int = 3) -> NextFrames:
    torch.manual_seed(0)
    return NextFrames(FrameTransformer(M, 32, layers=1, width=8, heads=2, causal=True), steps)


def batch(padding: float = 0.0) -> dict[str, Tensor]:
    x = torch.randn(3, 11, M, generator=torch.Generator().manual_seed(1))
    return {"frames": x.masked_fill((torch.arange(11) >= LENGTH[:, None])[..., None], padding), "length": LENGTH}


@torch.no_grad()
@pytest.mark.parametrize("steps", [1, 3])
def test_the_loss_is_the_absolute_difference_from_the_frame_steps_on(steps: int) -> None:
    model, of = model_of(steps), batch()
    predicted = model.head(model.network(of["frames"], LENGTH))
    differences = [
        abs(float(predicted[row, t, m] - of["frames"][row, t + steps, m]))
        for row in range(3)
        for t in range(int(LENGTH[row]) - steps)
        for m in range(M)
    ]
    assert float(model(of)["loss"]) == pytest.approx(np.mean(differences), abs=1e-5)
    torch.testing.assert_close(model(batch(padding=5.0))["loss"], model(of)["loss"])


@torch.no_grad()
def test_a_prediction_depends_on_no_later_frame() -> None:
    model, of = model_of(), batch()
    changed = of["frames"].clone()
    changed[0, 6:] += 1
    after = model.predict(of | {"frames": changed})
    assert torch.equal(after[0, :6], model.predict(of)[0, :6])
    assert (after[0, 6] != model.predict(of)[0, 6]).any()
    shown = model.predict_frames(of)
    assert torch.equal(shown.frames[0, 3:], model.predict(of)[0, :8])
    assert shown.predicted.sum(1).tolist() == [8, 0, 4]
    assert isinstance(model, LearnsFromFrames)


def test_utterances_too_short_to_predict_a_frame_have_no_loss() -> None:
    of = {"frames": torch.randn(2, 2, M), "length": torch.tensor([2, 1])}
    loss = model_of()(of)["loss"]
    loss.backward()
    assert float(loss) == 0


def test_a_network_that_sees_later_frames_is_refused() -> None:
    with pytest.raises(InputError, match=r"model.network.causal must be true"):
        NextFrames(FrameTransformer(M, 32, layers=1, width=8, heads=2))
