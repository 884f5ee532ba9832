"""Metrics of units that are known: those of phones, of speakers, and k-means classes beside them."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssl_cli.commands.speech import unit_metrics
from ssl_cli.commands.speech.unit_metrics import UnitSystem
from tests.helpers.speech_data import toy_speech


class LoudestBand(nn.Module):
    """The unit of two frames is the loudest band of the first one."""

    alphabet, stride = 24, 2

    def units(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["frames"][:, ::2].argmax(2)

    def unit_vectors(self) -> Tensor:
        return torch.eye(24)


def test_units_of_a_model_are_those_of_its_frames_beside_kmeans() -> None:
    data = toy_speech()
    test = data.splits["test"]
    systems = unit_metrics.unit_systems(LoudestBand(), data, test, 0)
    assert set(systems) == {"", "kmeans", "kmeans7"}
    normal = data.reader.normalize(test.frames, test.begin, test.speaker)
    first = test.begin[3]
    expected = [normal[first + k - k % 2].argmax() for k in range(test.lengths[3])]
    assert systems[""].units[first : test.begin[4]].tolist() == expected
    assert all(len(system.units) == len(test.frames) for system in systems.values())
    assert systems["kmeans"].vectors.shape == (24, 24) and systems["kmeans7"].vectors.shape == (24, 7 * 24)
    metrics = unit_metrics.unit_metrics(systems, test, data, 0)
    assert metrics["units_per_s"] == 50 and metrics["units_per_s_kmeans"] == 100
    assert metrics["pnmi_lead_kmeans"] == pytest.approx(metrics["pnmi"] - metrics["pnmi_kmeans"])
    assert metrics["pnmi_lead_kmeans_low"] <= metrics["pnmi_lead_kmeans"] <= metrics["pnmi_lead_kmeans_high"]


def test_units_of_phones_and_units_of_speakers() -> None:
    data = toy_speech()
    test = data.splits["test"]
    assert test.phone is not None
    phones = unit_metrics.metrics_of(UnitSystem(test.phone, np.eye(4)), test, data, 0)
    assert phones["pnmi"] == pytest.approx(1) and phones["pnmi_without_silence"] == pytest.approx(1)
    assert phones["abx_across"] == 0 and phones["unit_speaker"] < 0.01
    speakers = unit_metrics.metrics_of(UnitSystem(np.repeat(test.speaker, test.lengths), np.eye(3)), test, data, 0)
    assert speakers["unit_speaker"] == pytest.approx(1) and speakers["abx_across"] == 0.5 and speakers["pnmi"] < 0.01


def test_silence_is_no_phone_of_abx() -> None:
    data = toy_speech()
    test = data.splits["test"]
    system = UnitSystem(test.phone, np.eye(4))  # type: ignore[arg-type]
    before = unit_metrics.metrics_of(system, test, data, 0)["abx_triples"]
    data.phones[0] = "d"
    assert unit_metrics.metrics_of(system, test, data, 0)["abx_triples"] > before


def test_frames_with_those_around_them() -> None:
    frames = np.arange(8.0).reshape(4, 2)
    (first, *_), (*_, last) = (unit_metrics.with_context([frames, frames[:1]], 1)[k : k + 4] for k in (0, 0))
    np.testing.assert_array_equal(first.reshape(2, 3), [[0, 0, 2], [1, 1, 3]])
    np.testing.assert_array_equal(last.reshape(2, 3), [[4, 6, 6], [5, 7, 7]])
    assert unit_metrics.with_context([frames, frames[:1]], 1).shape == (5, 6)


def test_without_phones_only_the_speaker_is_measured() -> None:
    data = toy_speech()
    test = data.splits["test"]
    test.phone = None
    system = UnitSystem(np.zeros(len(test.frames), np.int64), np.eye(1))
    assert set(unit_metrics.metrics_of(system, test, data, 0)) == {"unit_speaker"}
