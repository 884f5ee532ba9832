"""ssl convert: say the same in another voice, with a finished run."""

from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.finished import runs_that_can
from ssl_cli.commands.speech.apply import FIGURES, MAX_FIGURES
from ssl_cli.commands.speech.finished import UNKNOWN, SpeechRun, Voice, frame_scale, reopen, utterances_of
from ssl_cli.commands.speech.wav_files import SUFFIX, wav_bytes, wav_names, write_wav
from ssl_cli.data.audio.reader import ReadSpeech
from ssl_cli.data.io.remedies import SOUND_SUFFIXES
from ssl_cli.errors import InputError
from ssl_cli.evaluation.plots.spectrograms import Sound, spectrogram_columns
from ssl_cli.methods.speech.protocols import ConvertsVoices
from ssl_cli.runs.outputs import (
    check_output_is_apart,
    check_output_is_free,
    move_into_place,
    output_folder,
    temporary_folder,
    warn_about_rejected_files,
    write_output_file,
    write_rejected_files,
)

FIGURE = "spectrograms.png"


def run(cfg: DictConfig) -> Path:
    """Convert `cfg.source` to the voice of `cfg.target`, and return the path of the output."""
    source, output = Path(cfg.source).expanduser(), None if cfg.output is None else Path(cfg.output).expanduser()
    to_file = output is not None and output.suffix.lower() == SUFFIX
    if to_file:
        check_output_file(source, cfg.target, output, cfg.overwrite)
    else:
        check_output_is_folder(source, output)
        check_output_is_apart(source, cfg.output)
        check_output_is_free(cfg.output, cfg.overwrite)
    can_convert = runs_that_can("convert voices", ConvertsVoices, trust=tuple((cfg.trust or "").split()))
    finished = reopen(cfg.run, cfg.paths.outputs, cfg.trust, run_filter=can_convert)
    finished.require(ConvertsVoices, "convert voices")
    finished.use_vocoder(cfg.vocoder)
    speech, voice = finished.read(source), finished.voice(cfg.target)
    if to_file and len(speech.names) > 1:
        raise InputError(f"source={source} holds {len(speech.names):,} recordings: set output to a folder for them.")
    console.say(f"convert {source} to the voice of {voice.name} with {finished.folder}")
    warn_about_voice(finished, voice)
    converted = finished.convert(speech, voice)
    waves = [finished.waveform(log_mels) for log_mels in converted]
    if to_file:
        assert output is not None
        with temporary_folder(output) as folder:
            draw(folder / FIGURE, finished, speech, 0, voice, converted[0])
            move_into_place(folder / FIGURE, output.with_suffix(".png"))
        # Last, since it is the output.
        write_output_file(output, wav_bytes(waves[0], finished.reader.settings.sample_rate_hz))
        place = output
    else:
        place = write_folder(cfg, finished, speech, voice, converted, waves)
    warn_about_rejected_files(speech.rejected, len(waves), reasons_written=not to_file)
    seconds = sum(map(len, waves)) / finished.reader.settings.sample_rate_hz
    console.say(f"recordings: {len(waves):,} converted, {seconds:.1f} s in all; their spectrograms are beside them")
    return place


def check_output_file(source: Path, target: str, output: Path | None, overwrite: bool) -> None:
    """Raise InputError if an output file would replace the source, the target or, without `overwrite`, any other."""
    assert output is not None
    for name, path in (("source", source), ("target", Path(target).expanduser())):
        if path.exists() and output.resolve() == path.resolve():
            raise InputError(f"output={output} is the {name} itself: name another file.")
    if not output.parent.is_dir():
        raise InputError(f"output={output}: there is no folder {output.parent}; make it first.")
    if output.is_dir():
        raise InputError(f"output={output} is a folder; name a file in it.")
    taken = [path for path in (output, output.with_suffix(".png")) if path.exists()]
    if taken and not overwrite:
        raise InputError(f"{taken[0]} exists: set output to another name, or overwrite=true.")


def check_output_is_folder(source: Path, output: Path | None) -> None:
    """Raise InputError if the output of one recording is named as a file of sound that is not WAV."""
    if source.is_file() and output is not None and output.suffix.lower() in SOUND_SUFFIXES:
        raise InputError(f"output={output} must be a {SUFFIX} file, or a folder: no other sound is written.")


def warn_about_voice(finished: SpeechRun, voice: Voice) -> None:
    """Warn of what to expect of a voice that the run was not trained on."""
    if voice.speaker == UNKNOWN:
        advice = "" if finished.config.choices.model == "voice_knn" else " A run of model=voice_knn comes closer."
        console.warn(
            f"{voice.name} is no speaker of the run's training: expect a voice between this one and similar training "
            f"speakers, who are {', '.join(finished.reader.speakers[:20])}.{advice}"
        )


def write_folder(
    cfg: DictConfig, finished: SpeechRun, speech: ReadSpeech, voice: Voice, converted: list[np.ndarray],
    waves: list[np.ndarray],
) -> Path:
    """Write a WAV for each recording, and the spectrograms of the first, into the output folder; return its path."""
    default_parent = Path(cfg.paths.outputs) / "converted" / finished.folder.resolve().name
    with output_folder(cfg.output, cfg.overwrite, default_parent) as (folder, place):
        for k, (file, wave) in enumerate(zip(wav_names(speech.names), waves, strict=True)):
            write_wav(folder / file, wave, finished.reader.settings.sample_rate_hz)
            if k < MAX_FIGURES:
                draw((folder / FIGURES / file).with_suffix(".png"), finished, speech, k, voice, converted[k])
        write_rejected_files(folder, speech.rejected, cfg.escape_formulas)
    return place


def draw(path: Path, finished: SpeechRun, speech: ReadSpeech, k: int, voice: Voice, converted: np.ndarray) -> None:
    """Draw the spectrograms of recording k, of the voice that it is converted to, and of the conversion."""
    mean, std = voice.moments
    original = utterances_of(speech)[k]
    target = voice.reference[: max(len(original), 100)] * std + mean
    path.parent.mkdir(parents=True, exist_ok=True)
    sounds = [Sound("source", original), Sound(f"voice of {voice.name}", target), Sound("converted", converted)]
    spectrogram_columns(path, speech.names[k], [sounds], frame_scale(finished))
