"""ssl units: the units of recordings by a finished run, as a table with times, and drawn over the spectrogram."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.finished import runs_that_can
from ssl_cli.commands.speech.apply import FIGURES, MAX_FIGURES
from ssl_cli.commands.speech.finished import SpeechRun, frame_scale, reopen, utterances_of
from ssl_cli.commands.speech.layer_units import fit_layer_units
from ssl_cli.data.audio.alignments import read_alignment
from ssl_cli.data.audio.reader import ReadSpeech
from ssl_cli.errors import InputError
from ssl_cli.evaluation.plots.spectrograms import Sound, Span, units_over_spectrogram
from ssl_cli.methods.speech.protocols import EncodesSpeech, HasUnits
from ssl_cli.runs.outputs import check_output_is_free, output_folder, warn_about_rejected_files, write_rejected_files

UNITS, COLUMNS = "units.tsv", ("file", "start_s", "end_s", "unit")
ALIGNMENTS = (".TextGrid", ".lab")


def run(cfg: DictConfig) -> Path:
    """Write the units of `cfg.input` into a folder, and return its path."""
    check_output_is_free(cfg.output, cfg.overwrite)
    source = Path(cfg.input).expanduser()
    can = runs_that_can("give units of speech", HasUnits, EncodesSpeech, trust=tuple((cfg.trust or "").split()))
    finished = reopen(cfg.run, cfg.paths.outputs, cfg.trust, ("reconstruct", "pretrain"), can)
    speech = finished.read(source)
    console.say(f"units of {source} with {finished.folder}")
    units, stride = units_of(cfg, finished, speech)
    unit_s = stride / finished.reader.settings.frames_per_s
    default_parent = Path(cfg.paths.outputs) / "units" / finished.folder.resolve().name
    with output_folder(cfg.output, cfg.overwrite, default_parent) as (folder, place):
        (folder / UNITS).write_text("".join(lines_of(speech.names, units, unit_s)), encoding="utf-8")
        for name, frames, own in list(zip(speech.names, utterances_of(speech), units, strict=True))[:MAX_FIGURES]:
            figure = (folder / FIGURES / name).with_suffix(".png")
            figure.parent.mkdir(parents=True, exist_ok=True)
            spans = [Span(*span) for span in stretches(own, unit_s)]
            labels = "phones", phones_beside(source if source.is_dir() else source.parent, name)
            units_over_spectrogram(figure, Sound(name, frames), spans, labels, frame_scale(finished))
        write_rejected_files(folder, speech.rejected, cfg.escape_formulas)
    warn_about_rejected_files(speech.rejected, len(units))
    n_segments = sum(1 + int((own[1:] != own[:-1]).sum()) for own in units)
    different = len(np.unique(np.concatenate(units)))
    console.say(
        f"{len(units):,} recordings: {sum(map(len, units)):,} units of {1000 * unit_s:g} ms in {n_segments:,} "
        f"stretches; {different:,} different ones"
    )
    return place


def units_of(cfg: DictConfig, finished: SpeechRun, speech: ReadSpeech) -> tuple[list[np.ndarray], int]:
    """Return the units (L,) of each recording, and how many frames a unit has: of the model, or of one of its layers.

    Raises InputError if options of the one are set for the other.
    """
    if isinstance(finished.model, HasUnits):
        if set_options := [name for name in ("layer", "num_units") if cfg[name] is not None]:
            raise InputError(
                f"{set_options[0]} is for the layers of a speech_bert; {finished.folder} has units of its own."
            )
        return finished.units(speech), finished.model.stride
    finished.require((HasUnits, EncodesSpeech), "give units of speech")
    layer = fit_layer_units(finished, cfg.layer, cfg.num_units, cfg.seed)
    console.say(f"{layer.num_units} units are k-means classes of layer {layer.layer}, of the training speakers' voices")
    return layer.units(speech), 1


def phones_beside(folder: Path, name: str) -> list[Span]:
    """Return the phones of a recording, from an alignment of its name beside it; none if there is none."""
    for suffix in ALIGNMENTS:
        if (path := (folder / name).with_suffix(suffix)).is_file():
            return [Span(*segment) for segment in read_alignment(path)]
    return []


def lines_of(names: list[str], units: list[np.ndarray], unit_s: float) -> Iterator[str]:
    """Yield the lines of the table: one for each stretch of the same unit, with its start and end in seconds."""
    yield "\t".join(COLUMNS) + "\n"
    for name, own in zip(names, units, strict=True):
        yield from (f"{name}\t{start_s:.3f}\t{end_s:.3f}\t{unit}\n" for start_s, end_s, unit in stretches(own, unit_s))


def stretches(units: np.ndarray, unit_s: float) -> list[tuple[float, float, str]]:
    """Return the start and the end in seconds of each stretch of the same unit, and the unit, for units (L,)."""
    starts = np.flatnonzero(np.r_[True, units[1:] != units[:-1]])
    ends = [*starts[1:], len(units)]
    return [(a * unit_s, b * unit_s, str(units[a])) for a, b in zip(starts, ends, strict=True)]
