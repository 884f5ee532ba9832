"""Units of a layer: k-means classes of the vectors that a network has for frames of speech (arXiv 2106.07447)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.cluster import MiniBatchKMeans

from ssl_cli.commands.speech.finished import SpeechRun
from ssl_cli.data.audio.reader import ReadSpeech
from ssl_cli.errors import InputError

NUM_UNITS = 50
MAX_VECTORS = 50_000  # that the classes are fitted to


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
    frames = run.reader.normalize(voices.frames, voices.begin, voices.speaker)
    utterances = [frames[a:b] for a, b in zip(voices.begin[:-1], voices.begin[1:], strict=True)]
    n_layers = run.layers(utterances)
    chosen = n_layers // 2 if layer is None else layer
    if chosen >= n_layers:
        raise InputError(f"layer={chosen}: the model has layers 0 (its input) to {n_layers - 1}.")
    vectors = np.concatenate(run.layer(utterances, chosen))
    n = num_units or NUM_UNITS
    if len(vectors) < n:
        raise InputError(f"num_units={n}: the run keeps only {len(vectors):,} frames of its speakers.")
    rows = np.random.default_rng([seed, 6]).permutation(len(vectors))[:MAX_VECTORS]
    means = MiniBatchKMeans(n, batch_size=4096, n_init=5, random_state=seed).fit(vectors[rows])
    return LayerUnits(run, chosen, means)

