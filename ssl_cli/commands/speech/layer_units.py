"""Units of a layer: k-means classes of the vectors that a network has for frames of speech (arXiv 2106.07447)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ssl_cli.commands.speech.finished import SpeechRun
from ssl_cli.commands.speech.unit_metrics import fit_classes
from ssl_cli.data.audio.reader import ReadSpeech
from ssl_cli.errors import InputError

NUM_UNITS = 50


@dataclass
class LayerUnits:
    """Classes of the vectors of one layer of a run's model."""

    run: SpeechRun
    layer: int
    means: Any  # of scikit-learn

    @property
    def num_units(self) -> int:
        """Return how many classes there are."""
        return len(self.means.cluster_centers_)

    def units(self, speech: ReadSpeech) -> list[np.ndarray]:
        """Return the class of each frame of each recording, (T,)."""
        vectors = self.run.layer(self.run.normalized(speech), self.layer)
        return [self.means.predict(own).astype(np.int64) for own in vectors]


def fit_layer_units(run: SpeechRun, layer: int | None, num_units: int | None, seed: int) -> LayerUnits:
    """Fit classes to the recordings of the training speakers that the run keeps; by default of a middle layer.

    Raises InputError if the model has no such layer, or the run keeps fewer frames than classes.
    """
    voices = run.reader.voices
    if voices is None:
        raise InputError(f"{run.folder} is damaged: it has no voices.")
    utterances = run.reader.utterances(voices)
    n_layers = run.layers(utterances)
    chosen = n_layers // 2 if layer is None else layer
    if chosen >= n_layers:
        raise InputError(f"layer={chosen}: the model has layers 0 (its input) to {n_layers - 1}.")
    vectors = np.concatenate(run.layer(utterances, chosen))
    n = num_units or NUM_UNITS
    if len(vectors) < n:
        raise InputError(f"num_units={n}: the run keeps only {len(vectors):,} frames of its speakers.")
    return LayerUnits(run, chosen, fit_classes(vectors, n, [seed, 6]))

