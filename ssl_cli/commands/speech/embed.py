"""Vectors of recordings by a finished run: a table, and maps of what is said and of who says it."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.finished import check_kind_of_data, read_run_data
from ssl_cli.commands.reconstruct.latent_plots import draw_map
from ssl_cli.commands.speech.finished import SpeechRun
from ssl_cli.config.instantiate import build
from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.data.audio.reader import ReadSpeech
from ssl_cli.data.protocols import SpeechSource
from ssl_cli.errors import InputError
from ssl_cli.methods.speech.protocols import HasContent, HasUnits
from ssl_cli.runs.outputs import output_folder, warn_about_rejected_files, write_rejected_files

CODES, CONTENT_MAP, VOICE_MAP = "codes.parquet", "map_content.png", "map_voices.png"


@dataclass
class SpeechGroup:
    """Recordings of one split, or of files, with the names of their words, None where unknown."""

    speech: ReadSpeech
    row: np.ndarray
    split: str | None
    words: list[str | None]


def embed_speech(cfg: DictConfig, finished: SpeechRun) -> Path:
    """Embed recordings into a folder, and return its path."""
    groups, description = read_inputs(cfg, finished)
    console.say(f"embed {description} with {finished.folder}")
    default_parent = Path(cfg.paths.outputs) / "embed" / finished.folder.resolve().name
    rejected = groups[0].speech.rejected
    with output_folder(cfg.output, cfg.overwrite, default_parent) as (folder, place):
        table = pa.concat_tables([code_table(finished, group) for group in groups]).sort_by("row")
        pyarrow.parquet.write_table(table, folder / CODES)
        codes, words = np.stack(table["code"].to_numpy()), table["word"].to_pylist()
        draw_map(folder / CONTENT_MAP, codes, words, cfg.map, cfg.seed, "recording")
        if "voice" in table.column_names:
            voices, speakers = np.stack(table["voice"].to_numpy()), table["speaker"].to_pylist()
            draw_map(folder / VOICE_MAP, voices, speakers, cfg.map, cfg.seed, "recording")
        if cfg.input is not None:
            write_rejected_files(folder, rejected, cfg.escape_formulas)
    warn_about_rejected_files(rejected, len(table))
    widths = {name: table.schema.field(name).type.list_size for name in ("code", "voice") if name in table.column_names}
    sizes = " and ".join(f"{name} of {size:,} numbers" for name, size in widths.items())
    console.say(f"{len(table):,} recordings, each a {sizes}")
    return place


def read_inputs(cfg: DictConfig, finished: SpeechRun) -> tuple[list[SpeechGroup], str]:
    """Return the recordings of `input=`, of `data=`, or of the run's own data set; and how messages name them."""
    if cfg.input is not None:
        speech = finished.read(Path(cfg.input).expanduser())
        n = len(speech.names)
        return [SpeechGroup(speech, np.arange(n), None, [None] * n)], f"input={cfg.input}"
    if cfg.data is not None:
        check_kind_of_data(cfg, finished, SpeechSource, "speech")
        return groups_of(build(cfg.data).speech_splits(cfg.seed), finished), f"data={cfg.choices.data}"
    name = finished.config.choices.get("data")
    data = read_run_data(cfg, finished, lambda source, seed: source.speech_splits(seed))
    return groups_of(data, finished), f"data={name}, as in the run,"


def groups_of(data: SpeechData, finished: SpeechRun) -> list[SpeechGroup]:
    """Return the splits of a data set. Raises InputError if its frames are not like the run's."""
    if data.reader.settings != finished.reader.settings:
        pairs = zip(asdict(data.reader.settings).items(), asdict(finished.reader.settings).values(), strict=True)
        differing = [(name, own, wanted) for (name, own), wanted in pairs if own != wanted]
        raise InputError(
            f"The frames of this data set have {', '.join(f'{name}={own}' for name, own, _ in differing)}, those of "
            f"{finished.folder} {', '.join(f'{name}={wanted}' for name, _, wanted in differing)}: set these options of "
            "data, or input=FOLDER, which is read as the run's."
        )
    groups = []
    for name, split in data.splits.items():
        speakers = [data.speakers[k] for k in split.speaker]
        words = [data.words[k] if k >= 0 else None for k in split.word]
        speech = ReadSpeech(split.names, split.frames, split.begin, speakers, [])
        groups.append(SpeechGroup(speech, split.row, name, words))
    return groups


def code_table(finished: SpeechRun, group: SpeechGroup) -> pa.Table:
    """Return a table with a row for each recording: its index, split, name, speaker and word, and its vectors.

    `code` is the mean of what is said over time, `voice` the code of the speaker, `units` the units in order.
    """
    speech, n = group.speech, len(group.speech.names)
    columns = {
        "row": pa.array(group.row, pa.int64()),
        "split": pa.array([group.split] * n, pa.string()),
        "name": pa.array(speech.names, pa.string()),
        "speaker": pa.array([name or None for name in speech.speakers], pa.string()),
        "word": pa.array(group.words, pa.string()),
        "code": vectors(finished.content_means(speech)),
    }
    if isinstance(finished.model, HasContent):
        columns["voice"] = vectors(finished.voice_codes(speech))
    if isinstance(finished.model, HasUnits):
        columns["units"] = pa.array([units.astype(np.int32) for units in finished.units(speech)])
    return pa.table(columns)


def vectors(values: np.ndarray) -> pa.Array:
    """Return a column of vectors (N, C) of one size."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), pa.float32()), values.shape[1])
