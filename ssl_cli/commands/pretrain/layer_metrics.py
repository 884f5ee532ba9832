"""Units of a layer of a model of speech: k-means classes of its vectors, beside those of log-mels.

The layer is chosen on utterances that are held out for validation, and reported on those of the test.
"""

from typing import Any

import numpy as np

from ssl_cli.commands.pretrain.audio_probes import layer_vectors
from ssl_cli.commands.speech.probes import some
from ssl_cli.commands.speech.unit_metrics import UnitSystem, baselines, fit_classes, unit_metrics
from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.data.audio.utterances import SpeechSplit
from ssl_cli.evaluation.metrics.audio import count_table, information_share

NUM_UNITS = 100  # HuBERT's first number of classes


def layer_unit_metrics(model: Any, data: SpeechData, seed: int) -> dict[str, float]:
    """Return the metrics of the best layer's units, as those of `unit_metrics`, and test/unit_layer.

    Empty without alignments, or without a validation and a test split.
    """
    if not {"val", "test"} <= set(data.splits) or any(data.splits[name].phone is None for name in ("val", "test")):
        return {}
    val, test, train = (data.splits[name] for name in ("val", "test", "train"))
    fitted = (of_layer(model, data, some(train, seed), k) for k in range(model.network.layers + 1))
    layers = [fit_classes(vectors, NUM_UNITS, [seed, 17]) for vectors in fitted]
    shares = [phone_share(each.predict(of_layer(model, data, val, k)), val, data) for k, each in enumerate(layers)]
    best = int(np.argmax(shares))
    units = layers[best].predict(of_layer(model, data, test, best)).astype(np.int64)
    systems = {"": UnitSystem(units, layers[best].cluster_centers_)}
    systems |= baselines(data, test, len(layers[best].cluster_centers_), seed)
    metrics = unit_metrics(systems, test, data, seed)
    return {f"test/{name}": value for name, value in ({"unit_layer": best} | metrics).items()}


def of_layer(model: Any, data: SpeechData, split: SpeechSplit, layer: int) -> np.ndarray:
    """Return the vectors of one layer for all frames of a split, (F, C)."""
    return np.concatenate(layer_vectors(model, data, split, layer))


def phone_share(units: np.ndarray, split: SpeechSplit, data: SpeechData) -> float:
    """Return the PNMI of the units of all frames of a split, 0 if it has only one phone."""
    assert split.phone is not None
    share = information_share(count_table(split.phone, units, len(data.phones), int(units.max()) + 1))
    return 0.0 if np.isnan(share) else share
