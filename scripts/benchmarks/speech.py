"""Features of speech and waveforms from them, beside librosa, on one thread.

Features: from the files of a folder to normalised frames in splits, as every verb reads them, in seconds of sound a
second; beside it librosa's loop over the files (load, mel spectrogram, logarithm) with the same settings. Waveforms:
Griffin-Lim from log-mels, 32 iterations, in batches; beside it librosa's mel_to_audio, one by one, and its Griffin-Lim
alone, which is given linear magnitudes. With --run RUN also the conversion of files by a finished run. Both sides take
turns, so that a busy machine slows both equally; figures are medians of CPU time, and ratios are medians of those of
each round.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import torch

import ssl_cli
from ssl_cli.commands.speech.waveforms import to_waveforms
from ssl_cli.data.audio import cache
from ssl_cli.data.audio.features import MelSettings, log_mel
from ssl_cli.data.audio.folder import SpeechFolder

EXTRA = "bench"  # scripts/bench installs it
SHARED = Path(os.environ.get("SSL_SHARED", Path(__file__).parents[3] / "shared")) / "data"
SETTINGS = MelSettings(8000, 64, 32.0, 10.0)  # of data=fsdd
TRANSFORM = {"n_fft": SETTINGS.n_fft, "hop_length": SETTINGS.hop}
N_LOOP_FILES = 300  # of librosa's loop: it is slow
N_WAVES = 60


def ours(folder: Path, to_cache: Path | None) -> None:
    """Read all recordings of FSDD, in memory or through the cache on disk."""
    options = {} if to_cache is None else {"cache": str(to_cache)}
    data = SpeechFolder(
        dir=str(folder), pattern="{word}_{speaker}_{take}", test_takes=[0, 1, 2, 3, 4], sample_rate_hz=8000, **options
    ).speech_splits(0)
    assert sum(len(split) for split in data.splits.values()) == 3000


def librosa_loop(files: list[Path]) -> list[np.ndarray]:
    """Read files one by one and return their log-mels."""
    frames = []
    for file in files:
        wave, _ = librosa.load(file, sr=8000)
        mel = librosa.feature.melspectrogram(y=wave, sr=8000, n_mels=64, power=1.0, **TRANSFORM)
        frames.append(np.log(np.maximum(mel, 1e-5)))
    return frames


def cpu_s(act: Callable[[], object]) -> float:
    """Return the seconds of CPU time that a call takes, of all its threads."""
    start = time.process_time()
    act()
    return time.process_time() - start


def features(rounds: int) -> None:
    """Print how many times faster than real time each side reads FSDD."""
    folder = SHARED / "fsdd" / "recordings"
    files = sorted(folder.glob("*.wav"))
    total_s = sum(librosa.get_duration(path=file) for file in files)
    some = files[:: len(files) // N_LOOP_FILES]
    some_s = sum(librosa.get_duration(path=file) for file in some)
    librosa_loop(some[:2])
    figures: dict[str, list[float]] = {"ssl, in memory": [], "ssl, written to the cache": [], "librosa": []}
    for _ in range(rounds):
        figures["ssl, in memory"].append(total_s / cpu_s(lambda: ours(folder, None)))
        limit, cache.MAX_MEMORY_BYTES = cache.MAX_MEMORY_BYTES, 1 << 20
        with tempfile.TemporaryDirectory() as place:
            to_cache = Path(place)
            figures["ssl, written to the cache"].append(total_s / cpu_s(lambda to=to_cache: ours(folder, to)))
        cache.MAX_MEMORY_BYTES = limit
        figures["librosa"].append(some_s / cpu_s(lambda: librosa_loop(some)))
    show(f"Features of {total_s:,.0f} s of FSDD, times real time", figures)


def waveforms(rounds: int) -> None:
    """Print how many times faster than real time each side makes waveforms of FSDD's frames."""
    files = sorted((SHARED / "fsdd" / "recordings").glob("*_0.wav"))[:N_WAVES]
    waves = [librosa.load(file, sr=8000)[0] for file in files]
    log_mels = [log_mel(torch.from_numpy(wave)[None], SETTINGS)[0].numpy() for wave in waves]
    total_s = sum(map(len, waves)) / 8000
    to_audio = librosa.feature.inverse.mel_to_audio
    mels = [np.exp(frames.T) for frames in log_mels]
    linear = [librosa.feature.inverse.mel_to_stft(mel, sr=8000, n_fft=SETTINGS.n_fft, power=1.0) for mel in mels]
    figures: dict[str, list[float]] = {}
    for _ in range(rounds):
        taken_s = {
            "ssl, in batches": cpu_s(lambda: to_waveforms(log_mels, SETTINGS)),
            "librosa, mel_to_audio": cpu_s(lambda: [to_audio(mel, sr=8000, power=1.0, **TRANSFORM) for mel in mels]),
            "librosa, Griffin-Lim alone": cpu_s(lambda: [librosa.griffinlim(s, hop_length=80) for s in linear]),
        }
        for name, seconds in taken_s.items():
            figures.setdefault(name, []).append(total_s / seconds)
    show(f"Waveforms of {total_s:,.0f} s from log-mels, 32 iterations, times real time", figures)


def conversions(rounds: int, run: str) -> None:
    """Print how many times faster than real time a finished run converts files, Griffin-Lim included."""
    finished = ssl_cli.load(run)
    files = sorted((SHARED / "fsdd" / "recordings").glob("*_0.wav"))[:N_WAVES]
    total_s = sum(librosa.get_duration(path=file) for file in files)
    voice = finished.voice(finished.reader.speakers[0])
    with tempfile.TemporaryDirectory() as place:
        for file in files:
            (Path(place) / file.name).symlink_to(file.resolve())

        def convert() -> None:
            to_waveforms(finished.convert(finished.read(place), voice), finished.reader.settings)

        values = [total_s / cpu_s(convert) for _ in range(rounds)]
    name = finished.config.choices.model
    show(f"Conversion of {total_s:,.0f} s by {name}, from files to waveforms, times real time", {name: values})


def show(title: str, figures: dict[str, list[float]]) -> None:
    """Print the median of each side, and ours against the others."""
    print(f"\n{title}\n")
    print("| side | median | lowest | highest | ours against it |\n|---|---|---|---|---|")
    first = next(iter(figures.values()))
    for name, values in figures.items():
        ratio = statistics.median(a / b for a, b in zip(first, values, strict=True))
        print(f"| {name} | {statistics.median(values):,.0f} | {min(values):,.0f} | {max(values):,.0f} | {ratio:.1f} |")


def main() -> None:
    """Measure both, in rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--run", help="a finished run of a model that converts voices, to measure it too")
    arguments = parser.parse_args()
    rounds = arguments.rounds
    torch.set_num_threads(1)  # librosa's loop takes one thread anyway
    cache.THREADS = 1
    features(rounds)
    waveforms(rounds)
    if arguments.run:
        conversions(rounds, arguments.run)


if __name__ == "__main__":
    main()
