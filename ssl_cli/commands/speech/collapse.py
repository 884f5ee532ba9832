"""Detection of collapse in speech: a model trained without an error, but its units, content or voice are not used.

Warnings are based on training utterances. A decoder is tried: if other recordings in the same voice, or the same
recordings in other voices, give the same frames, it ignores what it should listen to.
"""

from typing import Any

import numpy as np

from ssl_cli.commands.reconstruct.collapse import MIN_PERPLEXITY_SHARE, MIN_USED_SHARE, UNUSED_CODES, CollapseWarning
from ssl_cli.commands.speech.batches import map_utterances
from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.evaluation.metrics.audio import entropy_bits
from ssl_cli.methods.protocols import AdvisesOnCollapse
from ssl_cli.methods.speech.protocols import ConvertsVoices, HasContent, HasUnits, ReconstructsSpeech

# Signs of collapse, which a method's `collapse_advice` takes.
IGNORED_CONTENT, IGNORED_VOICE, CONSTANT_VOICE = "ignored_content", "ignored_voice", "constant_voice"
MAX_UTTERANCES, TRIED_UTTERANCES, TRIED_VOICES = 2000, 16, 6  # for units, and to try a decoder with
TRIED_FRAMES = 64
MAX_TOP_SHARE = 0.9  # of the steps have one unit: the others carry hardly anything
MIN_VOICE_DEVIATION = 0.01  # of the speakers' mean codes, relative to the size of a code
MIN_CONTENT_CHANGE = 0.05  # variance over recordings of what a decoder gives, relative to that of the recordings
MIN_VOICE_CHANGE = 0.02  # variance over voices of what it gives, relative to that of the recordings
ADVICE = {
    IGNORED_CONTENT: "a smaller optim.lr, more steps (trainer.max_steps) or a wider code (model.encoder.latent)",
    IGNORED_VOICE: "a narrower code (model.encoder.latent), or model=voice_ae, whose content has less of the voice",
    CONSTANT_VOICE: "more steps (trainer.max_steps) or a smaller optim.lr",
    UNUSED_CODES: "a later model.quantize_after, or fewer codes",
}


def collapse_warnings(model: Any, data: SpeechData, seed: int) -> list[CollapseWarning]:
    """Return all warnings about what a model does not use, the most serious first."""
    tried = Trial(model, data, seed)
    warnings: list[CollapseWarning | None] = []
    if isinstance(model, ReconstructsSpeech):
        warnings.append(ignored_content(tried))
    if isinstance(model, HasUnits):
        warnings.append(unused_units(tried))
    if len(data.reader.speakers) > 1:
        if isinstance(model, HasContent):
            warnings.append(constant_voice(tried))
        if isinstance(model, ConvertsVoices):
            warnings.append(ignored_voice(tried))
    return [warning for warning in warnings if warning]


class Trial:
    """Normalised training utterances of a model, (T, M) each, and the speaker of each."""

    def __init__(self, model: Any, data: SpeechData, seed: int):
        split = data.splits["train"]
        rows = np.random.default_rng([seed, 18]).permutation(len(split))[:MAX_UTTERANCES]
        chosen = split.take(np.sort(rows))
        self.model, self.reader, self.speaker = model, data.reader, chosen.speaker
        self.utterances = data.reader.utterances(chosen)

    def of_speaker(self, speaker: int) -> np.ndarray:
        """Return an utterance of a speaker, the voice's reference."""
        return self.utterances[int(np.flatnonzero(self.speaker == speaker)[0])]

    def tried(self) -> list[np.ndarray]:
        """Return the beginnings of the longest utterances, as many frames of each."""
        longest = sorted(self.utterances, key=len, reverse=True)[:TRIED_UTTERANCES]
        n_frames = min(TRIED_FRAMES, len(longest[-1]))
        return [utterance[:n_frames] for utterance in longest]

    def decoded(self, utterances: list[np.ndarray], speaker: int) -> np.ndarray:
        """Return what the model makes of utterances in the voice of a speaker, (N, T, M)."""
        function = self.model.convert if isinstance(self.model, ConvertsVoices) else self.model.reconstruct_frames
        references = [self.of_speaker(speaker)] * len(utterances)
        return np.stack(map_utterances(self.model, function, utterances, [speaker] * len(utterances), references))


def ignored_content(tried: Trial) -> CollapseWarning | None:
    """Warn if a decoder gives nearly the same frames for different recordings in the same voice."""
    utterances = tried.tried()
    if len(utterances) < 2:
        return None
    spoken, given = np.stack(utterances), tried.decoded(utterances, int(tried.speaker[0]))
    share = float(given.var(0).mean() / max(spoken.var(0).mean(), 1e-12))
    if share >= MIN_CONTENT_CHANGE:
        return None
    return CollapseWarning(
        "ignored content",
        f"Ignored content: what the model gives for {len(utterances)} different recordings in the same voice varies by "
        f"{share:.1%} of what they vary by. The decoder does not use what is said. "
        f"{advice(tried.model, IGNORED_CONTENT, 1)}",
    )


def unused_units(tried: Trial) -> CollapseWarning | None:
    """Warn if nearly all steps have the same unit, or many units occur never or hardly ever."""
    model, first = tried.model, [tried.utterances[0][:1]] * len(tried.utterances)
    units = np.concatenate(map_utterances(model, model.units, tried.utterances, tried.speaker, first, model.stride))
    counts = np.bincount(units, minlength=model.alphabet)
    top, used, effective = counts.max() / counts.sum(), int((counts > 0).sum()), 2 ** entropy_bits(counts)
    possible = min(model.alphabet, len(units))
    if top > MAX_TOP_SHARE:
        return CollapseWarning(
            "one unit",
            f"One unit for nearly everything: unit {counts.argmax()} is that of {top:.1%} of all {len(units):,} steps "
            f"of training recordings. The units say hardly anything. {advice(model, UNUSED_CODES, max(used, 2))}",
        )
    if used >= MIN_USED_SHARE * possible and effective >= MIN_PERPLEXITY_SHARE * possible:
        return None
    return CollapseWarning(
        "unused units",
        f"Unused units: {used} of {model.alphabet} units occur in {len(tried.utterances):,} training recordings, and "
        f"their perplexity is {effective:.3g}. The others carry no information. "
        f"{advice(model, UNUSED_CODES, max(used, 2))}",
    )


def constant_voice(tried: Trial) -> CollapseWarning | None:
    """Warn if the code of the voice is nearly the same for all speakers."""
    model, heard = tried.model, tried.utterances
    codes = np.stack(map_utterances(model, model.speaker_code, heard, tried.speaker, heard, None))
    means = np.stack([codes[tried.speaker == speaker].mean(0) for speaker in np.unique(tried.speaker)])
    deviation = float(np.sqrt(means.var(0).sum() / max(np.square(codes).sum(1).mean(), 1e-12)))
    if deviation >= MIN_VOICE_DEVIATION:
        return None
    return CollapseWarning(
        "constant voice",
        f"Constant voice: the speaker codes of {len(means)} speakers differ by {deviation:.2%} of their size. They do "
        f"not say who speaks. {advice(model, CONSTANT_VOICE, 1)}",
    )


def ignored_voice(tried: Trial) -> CollapseWarning | None:
    """Warn if a decoder gives nearly the same frames for the same recordings in different voices."""
    utterances, reader = tried.tried(), tried.reader
    voices = np.unique(tried.speaker)[:TRIED_VOICES].tolist()
    # Log-mels: of speaker-normalised frames, part of the voice comes back with the speaker's mean and deviation.
    given = np.stack([reader.denormalize(tried.decoded(utterances, voice), voice) for voice in voices])
    spoken = np.concatenate([reader.denormalize(frames, voices[0]) for frames in utterances])  # (N * T, M)
    share = float(given.var(0).mean() / max(spoken.var(0).mean(), 1e-12))  # of (voices, N, T, M)
    if share >= MIN_VOICE_CHANGE:
        return None
    return CollapseWarning(
        "ignored voice",
        f"Ignored voice: the same recordings in {len(voices)} different voices vary by {share:.2%} of what recordings "
        f"vary by. The decoder hardly listens to the voice: it takes the voice from the content. "
        f"{advice(tried.model, IGNORED_VOICE, 1)}",
    )


def advice(model: Any, sign: str, enough: int) -> str:
    """Return a sentence on what to try: from the model itself, or for any model of speech."""
    own = model.collapse_advice(sign, enough) if isinstance(model, AdvisesOnCollapse) else ""
    return f"Try {own or ADVICE[sign]}."
