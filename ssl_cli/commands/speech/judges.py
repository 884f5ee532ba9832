"""Judges of speech: small networks that learn words or speakers from real recordings, and listen to waveforms.

They know nothing of the model that they judge. Half of the clips that they learn from are real, half are the same
recordings through Griffin-Lim, so that its noise is no reason to mistake a voice.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.commands.speech.batches import padded
from ssl_cli.commands.speech.waveforms import heard, to_waveforms
from ssl_cli.data.audio.reader import SpeechReader
from ssl_cli.data.audio.utterances import SpeechSplit
from ssl_cli.models.frame_classifier import FrameClassifier
from ssl_cli.models.vocoders import Vocoder

MAX_CLIPS, MAX_SYNTHESIZED = 6000, 600  # recordings that a judge learns from; of those, through Griffin-Lim, too
CROP_S = 1.5  # of a longer recording, in training
STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 300, 32, 3e-3, 0.05
TIME_SHARE, BAND_SHARE = 0.25, 0.2  # at most so much of a clip is masked, in training
LOUDER = 0.5  # standard deviation of the change of loudness, in nepers
SMOOTHING = 0.05  # of the labels
JUDGE_BATCH = 64


@dataclass
class Judge:
    """A listener, and the names of what it knows."""

    network: FrameClassifier
    classes: list[str]

    def probabilities(self, log_mels: Sequence[np.ndarray]) -> np.ndarray:
        """Return the probability of each class for each sound, log-mels (T, M) of its waveform, (N, C)."""
        result = np.empty((len(log_mels), len(self.classes)), np.float32)
        order = np.argsort([len(frames) for frames in log_mels], kind="stable")
        with torch.inference_mode():
            for rows in np.split(order, range(JUDGE_BATCH, len(order), JUDGE_BATCH)):
                if len(rows):
                    logits = self.network(*padded([log_mels[k] for k in rows]))
                    result[rows] = logits.softmax(1).numpy()
        return result

    def answers(self, log_mels: Sequence[np.ndarray]) -> np.ndarray:
        """Return the most probable class of each sound, (N,)."""
        return self.probabilities(log_mels).argmax(1)


@dataclass
class Judges:
    """A judge of words, if the data says which they are, and one of speakers, if there are several."""

    word: Judge | None
    speaker: Judge | None


def train_judges(
    splits: Sequence[SpeechSplit],
    words: Sequence[str],
    speakers: Sequence[str],
    reader: SpeechReader,
    seed: int,
    vocoder: Vocoder | None = None,
) -> Judges:
    """Train judges on real recordings, which must not be those that are judged. All draws follow from the seed."""
    rng = np.random.default_rng([seed, 11])
    places = [(k, u) for k, split in enumerate(splits) for u in range(len(split))]
    real = [places[row] for row in np.sort(rng.permutation(len(places))[:MAX_CLIPS])]
    synthesized = [real[row] for row in np.sort(rng.permutation(len(real))[:MAX_SYNTHESIZED])]
    longest = 1 + round(2 * CROP_S * reader.settings.frames_per_s)
    waves = to_waveforms([splits[k].utterance(u)[:longest] for k, u in synthesized], reader.settings, vocoder)
    clips = [splits[k].utterance(u) for k, u in real] + heard(waves, reader)
    word = np.array([splits[k].word[u] for k, u in real + synthesized])
    speaker = np.array([splits[k].speaker[u] for k, u in real + synthesized])
    return Judges(
        _train(clips, word, len(real), list(words), reader, seed),
        _train(clips, speaker, len(real), list(speakers), reader, seed),
    )


def _train(
    clips: list[np.ndarray], labels: np.ndarray, n_real: int, classes: list[str], reader: SpeechReader, seed: int
) -> Judge | None:
    """Return a judge of labels, -1 for an unknown one; None if fewer than two labels occur.

    The first `n_real` clips are real, the others synthesized; each batch has as many of both.
    """
    known = labels >= 0
    if len(np.unique(labels[known])) < 2:
        return None
    rng = np.random.default_rng([seed, 12])
    sources = [np.flatnonzero(known[:n_real]), n_real + np.flatnonzero(known[n_real:])]
    with torch.random.fork_rng([]), torch.enable_grad():
        torch.manual_seed(seed)
        network = FrameClassifier(reader.settings.n_mels, len(classes))
        network.mean.copy_(torch.from_numpy(reader.mean))
        network.std.copy_(torch.from_numpy(reader.std))
        optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, STEPS)
        for _ in range(STEPS):
            rows = np.concatenate([rng.choice(source, BATCH // 2) for source in sources])
            frames, length = _augmented([clips[k] for k in rows], reader, rng)
            logits, truth = network(frames, length), torch.from_numpy(labels[rows])
            loss = functional.cross_entropy(logits, truth, label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return Judge(network.eval(), classes)


def _augmented(clips: list[np.ndarray], reader: SpeechReader, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return random crops of clips as a batch, louder or quieter, with masked times and bands."""
    longest, crops = round(CROP_S * reader.settings.frames_per_s), []
    for clip in clips:
        begin = rng.integers(max(0, len(clip) - longest) + 1)
        crop = clip[begin : begin + longest] + np.float32(rng.normal(0, LOUDER))
        crop[_random_span(crop.shape[0], TIME_SHARE, rng)] = reader.mean
        bands = _random_span(crop.shape[1], BAND_SHARE, rng)
        crop[:, bands] = reader.mean[bands]
        crops.append(crop)
    return padded(crops)


def _random_span(n: int, share: float, rng: np.random.Generator) -> slice:
    """Return a random stretch of at most a share of n places."""
    width = int(rng.uniform(0, share) * n)
    begin = int(rng.integers(n - width + 1))
    return slice(begin, begin + width)
