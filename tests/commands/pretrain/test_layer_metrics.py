"""Units of a layer: the layer that knows the phones is chosen, and reported on other utterances."""

from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from ssl_cli.commands.pretrain.layer_metrics import layer_unit_metrics
from ssl_cli.data.audio.datasets import SpeechData
from tests.helpers.speech_data import toy_speech


class Layers(nn.Module):
    """Three layers: the second is the phone, which the first band of a frame gives away; the others are constant."""

    network = SimpleNamespace(layers=2)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def hidden_layers(self, batch: dict[str, Tensor]) -> list[Tensor]:
        band = batch["frames"][..., :1]
        return [torch.ones_like(band), 10 * band, torch.ones_like(band)]


def speech() -> SpeechData:
    data = toy_speech(unheard=False)
    data.splits["val"] = data.splits["test"].take(np.arange(len(data.splits["test"])))
    for split in data.splits.values():
        split.phone = np.arange(len(split.frames)) // 4 % len(data.phones)
        split.frames[:, 0] = 5.0 * split.phone
    return data


def test_the_layer_that_knows_the_phones_is_chosen() -> None:
    metrics = layer_unit_metrics(Layers(), speech(), 0)
    assert metrics["test/unit_layer"] == 1
    assert metrics["test/pnmi"] > 0.99
    assert metrics["test/pnmi_lead_kmeans_low"] <= metrics["test/pnmi_lead_kmeans"] + 1e-9


def test_without_alignments_or_a_test_there_is_nothing_to_report() -> None:
    data = speech()
    data.splits["test"].phone = None
    assert layer_unit_metrics(Layers(), data, 0) == {}
    del data.splits["test"]
    assert layer_unit_metrics(Layers(), data, 0) == {}
