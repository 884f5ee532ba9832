"""Finished runs of ssl finetune on speech: `ssl_cli.load("latest").predict("recordings/")`."""

from pathlib import Path

import numpy as np

from ssl_cli.commands.finished import WEIGHTS
from ssl_cli.commands.speech.batches import map_utterances
from ssl_cli.commands.speech.finished import UNKNOWN, SpeechRun
from ssl_cli.config.instantiate import build
from ssl_cli.errors import InputError
from ssl_cli.methods.supervised.speech_classification import SpeechClassificationHead
from ssl_cli.runs.folder import CONFIG
from ssl_cli.tasks.speech_classification import SpeechClassification
from ssl_cli.tasks.task import Prediction

TEST_FRAMES = 10  # of silence, that are predicted to check the run


class FinetunedSpeechRun(SpeechRun):
    """A classifier of utterances, its classes, and the reader that turns recordings into its input."""

    def restore(self) -> None:
        """Read reader, task and classes, and predict a few frames. Raises InputError if the run is damaged."""
        super().restore()
        self.labels = [str(label) for label in self.config.facts.labels]
        self.task: SpeechClassification = build(self.config.task)
        if not isinstance(self.task, SpeechClassification) or not isinstance(self.model, SpeechClassificationHead):
            raise InputError(f"{self.folder / CONFIG} is damaged: its task and its model don't belong to each other.")
        if self.model.n_labels != len(self.labels):
            raise InputError(
                f"{self.folder / CONFIG} is damaged: it has {len(self.labels)} labels, its model {self.model.n_labels}."
            )
        self._scores([np.zeros((TEST_FRAMES, self.reader.settings.n_mels), np.float32)])

    def predict(self, recordings: str | Path) -> list[Prediction]:
        """Return the prediction for a recording, or for each one in a folder; those that can't be read are left out.

        Raises InputError if none can be read.
        """
        speech = self.read(recordings)
        return self.predict_utterances(speech.names, self.normalized(speech))

    def predict_utterances(self, names: list[str], utterances: list[np.ndarray]) -> list[Prediction]:
        """Return the prediction for each utterance, normalised frames (T, M), with its name as `id`."""
        return self.task.decode(names, self._scores(utterances), self.labels, None)

    def _scores(self, utterances: list[np.ndarray]) -> list[np.ndarray]:
        """Return the scores (n_labels,) of each utterance, (T, M). Raises InputError if they are not finite."""
        scores = map_utterances(
            self.model,
            lambda batch: self.model.logits(self.model.hidden(batch), batch),
            utterances,
            [UNKNOWN] * len(utterances),
            [frames[:1] for frames in utterances],
            stride=None,
        )
        if not all(np.isfinite(each).all() for each in scores):
            raise InputError(f"{self.folder / WEIGHTS} holds numbers that are NaN or infinite: train it again.")
        return scores
