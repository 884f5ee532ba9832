"""Signs of collapse in models that are broken on purpose."""

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssl_cli.commands.speech.collapse import collapse_warnings
from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.data.audio.reader import SpeechReader
from tests.helpers.speech_data import PHONES, SETTINGS, SPEAKERS, WORDS, toy_speech, toy_split


class Healthy(nn.Module):
    """Moves the mean of what it hears to that of the reference; its units are the loudest band."""

    hears_reference: ClassVar[bool] = True
    reference_s: ClassVar[float] = 1.0
    stride: ClassVar[int] = 2
    alphabet = 24

    def reconstruct_frames(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["frames"]

    def content(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["frames"][:, ::2]

    def speaker_code(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["reference"].sum(1) / batch["reference_length"][:, None]

    def convert(self, batch: dict[str, Tensor]) -> Tensor:
        x = batch["frames"]
        return x - x.mean(1, keepdim=True) + self.speaker_code(batch)[:, None]

    def units(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["frames"][:, ::2].argmax(2)

    def unit_vectors(self) -> Tensor:
        return torch.eye(24)


class OneUnit(Healthy):
    def units(self, batch: dict[str, Tensor]) -> Tensor:
        return (batch["frames"][:, ::2, 0] > 1e6).long() + 7


class FewUnits(Healthy):
    def units(self, batch: dict[str, Tensor]) -> Tensor:
        return super().units(batch) // 8


class Advised(FewUnits):
    def collapse_advice(self, sign: str, enough: int) -> str:
        return f"num_codes={enough}" if sign == "unused_codes" else ""


class ConstantVoice(Healthy):
    def speaker_code(self, batch: dict[str, Tensor]) -> Tensor:
        return torch.ones(len(batch["frames"]), 24) + 1e-3 * super().speaker_code(batch)


class IgnoresVoice(Healthy):
    def convert(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["frames"]


class IgnoresContent(Healthy):
    def convert(self, batch: dict[str, Tensor]) -> Tensor:
        return 0 * batch["frames"] + self.speaker_code(batch)[:, None]


def signs(model: Any, data: SpeechData) -> list[str]:
    return [warning.name for warning in collapse_warnings(model, data, 0)]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Healthy(), []),
        (OneUnit(), ["one unit"]),
        (FewUnits(), ["unused units"]),
        (ConstantVoice(), ["constant voice", "ignored voice"]),
        (IgnoresVoice(), ["ignored voice"]),
        (IgnoresContent(), ["ignored content"]),
    ],
)
def test_each_sign_is_found_and_no_other(model: Any, expected: list[str]) -> None:
    assert signs(model, toy_speech()) == expected


def test_a_warning_says_what_was_seen_and_what_to_try() -> None:
    (warning,) = collapse_warnings(OneUnit(), toy_speech(), 0)
    assert warning.text.startswith("One unit for nearly everything: unit 7 is that of 100.0% of all ")
    (warning,) = collapse_warnings(Advised(), toy_speech(), 0)
    assert "3 of 24 units occur in 72 training recordings" in warning.text and warning.text.endswith("Try num_codes=3.")
    (warning,) = collapse_warnings(IgnoresContent(), toy_speech(), 0)
    assert "16 different recordings" in warning.text and "Try a smaller optim.lr" in warning.text


def test_a_single_speaker_has_no_other_voice() -> None:
    train = toy_split(4, [0], 0)
    reader = SpeechReader.fit(SETTINGS, "global", train, (SPEAKERS[:1], WORDS, PHONES), True, False)
    data = SpeechData({"train": train}, SPEAKERS[:1], WORDS, PHONES, reader, "")
    assert signs(ConstantVoice(), data) == [] and signs(IgnoresContent(), data) == ["ignored content"]
    assert np.unique(train.speaker).tolist() == [0]
