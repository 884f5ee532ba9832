"""The adversarial speech autoencoder: the losses of its turns against naive transcriptions."""

from typing import Any

import numpy as np
import pytest
import torch

from ssl_cli.errors import InputError
from ssl_cli.methods.speech.adversarial_autoencoder import AdversarialSpeechAutoencoder
from ssl_cli.methods.training_protocols import Alternates
from ssl_cli.models.conv1d import FrameDecoder, FrameEncoder, SpeakerTable, StepClassifier

BATCH: dict[str, Any] = {
    "frames": torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0)),
    "length": torch.tensor([6, 3]),
    "speaker": torch.tensor([2, 0]),
}


def model(**options: Any) -> AdversarialSpeechAutoencoder:
    torch.manual_seed(0)
    networks = FrameEncoder(5, 4, 8, 1, 3, [2]), FrameDecoder(5, 4, 6, 8, 1, 3, [2]), SpeakerTable(3, 6)
    return AdversarialSpeechAutoencoder(*networks, options.pop("judge", StepClassifier(4, 3, 8)), **options)


@torch.no_grad()
def test_the_losses_of_the_turns_are_those_of_the_paper() -> None:
    """arXiv 1804.02812, eq. 1 to 3: the judge minimises its cross entropy, the autoencoder the error minus a part."""
    gan, errors, heard = model(adversary=0.2).eval(), [], []
    for row, length in enumerate([6, 3]):
        x, n = BATCH["frames"][row : row + 1, :length], BATCH["length"][row : row + 1]
        code = gan.encoder(x, n)
        rebuilt = gan.decoder(code, gan.voices(BATCH["speaker"][row : row + 1]), n, length)
        errors += (rebuilt - x).abs().flatten().tolist()
        for logits in gan.judge(code, torch.tensor([code.shape[1]]))[0]:
            heard.append(float(logits.logsumexp(0) - logits[BATCH["speaker"][row]]))
    as_autoencoder = gan.losses(BATCH, "autoencoder")
    assert gan.losses(BATCH, "judge")["loss"].item() == pytest.approx(np.mean(heard), rel=1e-4)
    assert as_autoencoder["speaker_cross_entropy"].item() == pytest.approx(np.mean(heard), rel=1e-4)
    assert as_autoencoder["loss"].item() == pytest.approx(np.mean(errors) - 0.2 * np.mean(heard), rel=1e-4)


def test_the_turns_share_out_the_weights() -> None:
    gan = model()
    assert isinstance(gan, Alternates)
    groups = gan.parameter_groups()
    assert set(groups["judge"]) == set(gan.judge.parameters())
    assert set(groups["judge"]) | set(groups["autoencoder"]) == set(gan.parameters())
    gan.losses(BATCH, "judge")["loss"].backward()
    assert all(weight.grad is None for weight in groups["autoencoder"])


def test_the_adversary_rises_with_the_batches() -> None:
    gan = model(adversary=0.4, warmup_batches=10).train()
    for k, weight in ((0, 0.0), (5, 0.2), (30, 0.4)):
        losses = gan.losses(BATCH | {"k": k}, "autoencoder")
        torch.testing.assert_close(losses["error"] - losses["loss"], weight * losses["speaker_cross_entropy"])


def test_the_encoder_learns_to_hide_the_speaker_from_the_judge() -> None:
    heard = []
    for adversary in (0.0, 1.0):
        gan = model(adversary=adversary)
        optimizer = torch.optim.Adam(gan.parameter_groups()["autoencoder"], 0.01)
        for _ in range(40):
            optimizer.zero_grad()
            losses = gan(BATCH | {"k": 0})
            losses["loss"].backward()
            optimizer.step()
        heard.append(losses["speaker_cross_entropy"].item())
    assert heard[1] > heard[0] + 0.5


@pytest.mark.parametrize(
    ("judge", "message"), [((4, 2), "judge.classes must be 3"), ((5, 3), "judge.inputs must be 4")]
)
def test_a_judge_that_does_not_fit_is_refused(judge: tuple[int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        model(judge=StepClassifier(*judge))
