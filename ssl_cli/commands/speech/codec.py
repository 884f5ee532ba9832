"""Speech as a small file: its units by a finished run, and back to recordings."""

import io
from pathlib import Path

import numpy as np
import soundfile
import soxr
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.reconstruct.codec import entropy_bits, model_fingerprint
from ssl_cli.commands.reconstruct.sslz_names import check_stays_inside, output_paths
from ssl_cli.commands.speech import sslz
from ssl_cli.commands.speech.evaluate import frame_distortion_db
from ssl_cli.commands.speech.finished import SpeechRun, utterances_of
from ssl_cli.commands.speech.wav_files import SUFFIX, write_wav
from ssl_cli.data.audio.features import log_mel_end_to_end
from ssl_cli.data.audio.reader import ReadSpeech
from ssl_cli.methods.speech.protocols import DecodesUnits
from ssl_cli.runs.outputs import output_folder, warn_about_rejected_files, write_output_file

OPUS = {"format": "OGG", "subtype": "OPUS", "compression_level": 1.0}  # the lowest rate that libsndfile offers
OPUS_RATES_HZ = (8000, 12_000, 16_000, 24_000, 48_000)


def compress_speech(source: Path, output: Path, finished: SpeechRun) -> Path:
    """Compress recordings into a file, and return its path."""
    finished.require(DecodesUnits, "turn units into speech")
    console.say(f"compress {source} with {finished.folder}")
    speech = finished.read(source)
    warn_about_rejected_files(speech.rejected, len(speech.names), reasons_written=False)
    units = finished.units(speech)
    compressed = sslz.CompressedSpeech(
        speech.names, np.diff(speech.begin), np.array(finished.speakers_of(speech)), np.concatenate(units)
    )
    model = finished.model
    content = sslz.pack(compressed, model.stride, model.code_counts.numpy(), model_fingerprint(finished))
    write_output_file(output, content)
    print_rates(finished, source, speech, compressed, content)
    return output


def decompress_speech(cfg: DictConfig, source: Path, finished: SpeechRun) -> Path:
    """Turn a file of compressed speech into WAV files, and return their folder."""
    finished.require(DecodesUnits, "turn units into speech")
    name = f"model={finished.config.choices.model} of {finished.folder}"
    model = finished.model
    compressed = sslz.unpack(source, model.stride, model.code_counts.numpy(), model_fingerprint(finished), name)
    output = Path(cfg.output).expanduser()
    files = output_paths(compressed.names, SUFFIX)
    check_stays_inside(output, files)
    console.say(f"decompress {source} with {finished.folder}")
    with output_folder(cfg.output, cfg.overwrite, output.parent) as (folder, place):
        for file, log_mels in zip(files, finished.decode_units(compressed), strict=True):
            write_wav(folder / file, finished.waveform(log_mels), finished.reader.settings.sample_rate_hz)
    console.say(f"{len(files):,} recordings of {source.stat().st_size:,} bytes")
    return place


def print_rates(
    finished: SpeechRun, source: Path, speech: ReadSpeech, compressed: sslz.CompressedSpeech, content: bytes
) -> None:
    """Print the size of the file and of its parts, the bitrate, and beside it that of Opus, with both distortions."""
    seconds = len(speech.frames) / finished.reader.settings.frames_per_s
    parts = sslz.part_sizes(content)
    own = entropy_bits(compressed.units[:, None]) / 8
    console.say(f"recordings: {len(speech.names):,} of {seconds:,.1f} s in all")
    console.say(f"bytes: {len(content):,}; of these " + ", ".join(f"{name} {size:,}" for name, size in parts.items()))
    console.say(f"ideal for the units by their own frequencies: {own:,.1f} bytes")
    rebuilt = finished.decode_units(compressed)
    distortion = np.mean([frame_distortion_db(*pair) for pair in zip(utterances_of(speech), rebuilt, strict=True)])
    rows = [["units", f"{8 * parts['units'] / seconds:,.0f}", f"{distortion:.2f}"]]
    rows.append(["the whole file", f"{8 * len(content) / seconds:,.0f}", f"{distortion:.2f}"])
    opus_bytes, opus_db = opus(finished, source, speech)
    rows.append(["Opus at its lowest", f"{8 * opus_bytes / seconds:,.0f}", f"{opus_db:.2f}"])
    columns = ["", "bits per second", "mel-cepstral distortion in dB"]
    console.say(console.table("", columns, rows, right=set(columns[1:])))
    console.say(
        "Units keep what is said, in a voice that the run knows. Opus keeps the voice; at its lowest rate it leaves "
        "out high frequencies, which weighs much in this distortion."
    )


def opus(finished: SpeechRun, source: Path, speech: ReadSpeech) -> tuple[int, float]:
    """Return the bytes of all recordings as one Opus stream at its lowest rate, and the mean distortion in dB.

    They are end to end, so that one header serves all.
    """
    settings, folder = finished.reader.settings, source if source.is_dir() else source.parent
    rate_hz = next((rate for rate in OPUS_RATES_HZ if rate >= settings.sample_rate_hz), OPUS_RATES_HZ[-1])
    waves = [finished.reader.waveform(folder / name) for name in speech.names]
    joined, content = np.concatenate(waves), io.BytesIO()
    soundfile.write(content, soxr.resample(joined, settings.sample_rate_hz, rate_hz), rate_hz, **OPUS)
    content.seek(0)
    decoded, _ = soundfile.read(content, dtype="float32")
    heard = soxr.resample(decoded, rate_hz, settings.sample_rate_hz)[: len(joined)]
    parts = np.split(np.pad(heard, (0, len(joined) - len(heard))), np.cumsum([len(wave) for wave in waves])[:-1])
    frames, length = log_mel_end_to_end(parts, settings)
    pairs = zip(utterances_of(speech), np.split(frames, np.cumsum(length)[:-1]), strict=True)
    return len(content.getvalue()), float(np.mean([frame_distortion_db(*pair) for pair in pairs]))
