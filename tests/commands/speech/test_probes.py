"""Probes of codes whose content is known."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssl_cli.commands.speech import probes
from tests.helpers.speech_data import toy_speech


class Split(nn.Module):
    """Its content is the input without its mean over time; its speaker code is that mean."""

    hears_reference: ClassVar[bool] = True
    stride: ClassVar[int] = 1

    def content(self, batch: dict[str, Tensor]) -> Tensor:
        """Return frames without their mean over time, in which the speaker is."""
        x, n = batch["frames"], batch["length"][:, None, None]
        return x - x.sum(1, keepdim=True) / n

    def speaker_code(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["reference"].sum(1) / batch["reference_length"][:, None]


def test_a_speaker_code_has_the_speaker_and_the_content_does_not() -> None:
    metrics = probes.probe_metrics(Split(), toy_speech(), 0)
    assert metrics["test/speaker_code_speaker_probe"] > 0.95 and metrics["test/log_mel_speaker_probe_mean"] > 0.95
    assert metrics["test/content_speaker_probe_mean"] < 0.6 and metrics["test/content_word_probe_thirds"] > 0.95
    assert metrics["test/content_speaker_probe"] < 0.5 < metrics["test/log_mel_speaker_probe"]
    assert metrics["test/chance_speaker_probe"] == metrics["test/chance_word_probe"] == pytest.approx(1 / 3)
    lead = (metrics["test/content_speaker_probe"] - 1 / 3) / (metrics["test/log_mel_speaker_probe"] - 1 / 3)
    assert metrics["test/content_speaker_lead"] == pytest.approx(lead) and lead < 0.5


def test_a_table_of_speakers_hears_no_voice_and_unknown_words_have_no_probe() -> None:
    data = toy_speech()
    for split in data.splits.values():
        split.word[:] = -1
    model = Split()
    model.hears_reference = False  # type: ignore[misc]
    metrics = probes.probe_metrics(model, data, 0)
    assert "test/content_speaker_probe" in metrics
    assert not [name for name in metrics if "word" in name or "speaker_code" in name]
    del data.splits["test"]
    assert probes.probe_metrics(model, data, 0) == {}


def test_pooling_over_time() -> None:
    vectors = [np.arange(7.0)[:, None], np.array([[5.0]]), np.array([[1.0], [3.0]])]
    np.testing.assert_allclose(probes.pooled_mean(vectors)[:, 0], [3, 5, 2])
    np.testing.assert_allclose(probes.pooled_thirds(vectors), [[0.5, 2.5, 5], [5, 5, 5], [1, 1, 3]])


def test_rows_of_frames_have_the_label_of_their_utterance(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, labels = [np.full((n, 2), float(n)) for n in (3, 5, 9)], np.array([30, 50, 90])
    rows, of = probes.frame_rows(vectors, labels, 0)
    assert len(rows) == 17 and (rows[:, 0] * 10 == of).all()
    monkeypatch.setattr(probes, "MAX_VALUES", 8)
    assert len(probes.frame_rows(vectors, labels, 0)[0]) == 4


def test_torch_draws_are_not_used() -> None:
    before = torch.get_rng_state()
    probes.probe_metrics(Split(), toy_speech(), 0)
    assert torch.equal(before, torch.get_rng_state())
