"""ssl embed: codes of images or recordings from a finished run, as a table and a map."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.finished import Finished, check_kind_of_data, open_run, read_run_data, runs_that_can
from ssl_cli.commands.reconstruct.finished import ImageRun
from ssl_cli.commands.reconstruct.latent_plots import draw_map
from ssl_cli.commands.speech.embed import embed_speech
from ssl_cli.commands.speech.finished import SpeechRun
from ssl_cli.config.instantiate import build
from ssl_cli.data.images.datasets import ImageData, format_shape
from ssl_cli.data.images.reader import RejectedFiles
from ssl_cli.data.protocols import ImageSource
from ssl_cli.errors import InputError
from ssl_cli.methods.protocols import Embeds
from ssl_cli.methods.speech.protocols import EncodesSpeech, HasContent
from ssl_cli.runs.folder import find_run
from ssl_cli.runs.outputs import check_output_is_free, output_folder, warn_about_rejected_files, write_rejected_files

CODES, MAP = "codes.parquet", "map.png"


@dataclass
class ImageGroup:
    """Images x (N, C, H, W) of one split, or of files, with their index `row` (N,) in the whole set."""

    x: np.ndarray
    row: np.ndarray
    split: str | None = None
    names: list[str] | None = None
    labels: list[str | None] | None = None


@dataclass
class EmbedInput:
    """The images to embed; `description` names them in messages."""

    groups: list[ImageGroup]
    description: str
    rejected: RejectedFiles = field(default_factory=list)


def run(cfg: DictConfig) -> Path:
    """Embed images or recordings into a folder, and return its path."""
    check_one_source(cfg)
    check_output_is_free(cfg.output, cfg.overwrite)
    finished = reopen(cfg)
    if isinstance(finished, SpeechRun):
        return embed_speech(cfg, finished)
    finished.require(Embeds, "embed images")
    assert isinstance(finished, ImageRun)
    inputs = read_inputs(cfg, finished)
    console.say(f"embed {inputs.description} with {finished.folder}")
    default_parent = Path(cfg.paths.outputs) / "embed" / finished.folder.resolve().name
    with output_folder(cfg.output, cfg.overwrite, default_parent) as (folder, place):
        table = pa.concat_tables([code_table(finished, group) for group in inputs.groups]).sort_by("row")
        pyarrow.parquet.write_table(table, folder / CODES)
        draw_map(folder / MAP, np.stack(table["code"].to_numpy()), table["label"].to_pylist(), cfg.map, cfg.seed)
        if cfg.input is not None:
            write_rejected_files(folder, inputs.rejected, cfg.escape_formulas)
    print_summary(table, inputs.rejected)
    return place


def reopen(cfg: DictConfig) -> Finished:
    """Return the finished run that `run=` names: of ssl reconstruct, or of ssl pretrain on speech."""
    trust = tuple((cfg.trust or "").split())
    can = runs_that_can("embed images or speech", Embeds, HasContent, EncodesSpeech, trust=trust)
    folder = find_run(cfg.run, cfg.paths.outputs, ("reconstruct", "pretrain"), finished=True, run_filter=can)
    return open_run(folder, trust)


# --- inputs -------------------------------------------------------------------------------------------------


def check_one_source(cfg: DictConfig) -> None:
    """Raise InputError if there are two sources of images, or options of a data set without its name."""
    if cfg.data is not None and "_target_" not in cfg.data:
        raise InputError(f"data.{next(iter(cfg.data))} is an option of a data set: set data=NAME too.")
    if cfg.data is not None and cfg.input is not None:
        raise InputError("data= and input= both give images to embed: set only one of them.")


def read_inputs(cfg: DictConfig, finished: ImageRun) -> EmbedInput:
    """Return the images of `input=`, of `data=`, or of the run's own data set."""
    if cfg.input is not None:
        names, x, rejected = finished.read(Path(cfg.input).expanduser())
        for warning in finished.reader.warnings:
            console.warn(warning)
        return EmbedInput([ImageGroup(x, np.arange(len(x)), names=names)], f"input={cfg.input}", rejected)
    if cfg.data is not None:
        check_kind_of_data(cfg, finished, ImageSource, "images")
        return EmbedInput(split_inputs(build(cfg.data).image_splits(cfg.seed), finished), f"data={cfg.choices.data}")
    data = read_run_data(cfg, finished, lambda source, seed: source.image_splits(seed))
    return EmbedInput(split_inputs(data, finished), f"data={finished.config.choices.get('data')}, as in the run,")


def split_inputs(data: ImageData, finished: ImageRun) -> list[ImageGroup]:
    """Return the splits of a data set. Raises InputError if its images don't have the model's shape."""
    if data.facts["shape"] != list(finished.reader.shape):
        raise InputError(
            f"The images of this data set are {format_shape(data.facts['shape'])}, those of {finished.folder} "
            f"{format_shape(finished.reader.shape)}: choose a data set like the run's, or set input=FOLDER, whose "
            "images are resized."
        )
    return [
        ImageGroup(split.x, split.row, name, labels=label_names(split.label, data.classes))
        for name, split in data.splits.items()
    ]


def label_names(label: np.ndarray | None, classes: list[str]) -> list[str | None] | None:
    """Return the class names of labels (N,), with None for an unknown class; None if there are no labels."""
    if label is None:
        return None
    return [classes[k] if k >= 0 else None for k in label]


# --- codes --------------------------------------------------------------------------------------------------


def code_table(finished: ImageRun, group: ImageGroup) -> pa.Table:
    """Return a table with a row for each image: its index, split, name, label and codes."""
    n, code = len(group.x), finished.embed(group.x)
    columns = {
        "row": pa.array(group.row, pa.int64()),
        "split": pa.array([group.split] * n, pa.string()),
        "name": text_column(group.names, n),
        "label": text_column(group.labels, n),
        "code": pa.FixedSizeListArray.from_arrays(pa.array(code.ravel(), pa.float32()), code.shape[1]),
    }
    if finished.is_discrete:
        discrete = finished.codes(group.x).astype(np.int32)
        offsets = np.arange(n + 1, dtype=np.int32) * discrete.shape[1]
        columns["codes"] = pa.ListArray.from_arrays(pa.array(offsets), pa.array(discrete.ravel()))
    return pa.table(columns)


def text_column(values: Sequence[str | None] | None, n: int) -> pa.Array:
    """Return a column (n,) of texts, all null if there are none."""
    return pa.nulls(n, pa.string()) if values is None else pa.array(values, pa.string())


def print_summary(table: pa.Table, rejected: RejectedFiles) -> None:
    """Print how many images were embedded, and the size of a code."""
    warn_about_rejected_files(rejected, len(table))
    splits = [f"{split['counts']} {split['values']}" for split in table["split"].value_counts().to_pylist()]
    width = table.schema.field("code").type.list_size
    details = f" ({', '.join(splits)})" if table["split"].null_count == 0 else f", {len(rejected):,} rejected"
    console.say(f"{len(table):,} images{details}, each a code of {width:,} numbers")
    if "codes" in table.column_names:
        console.say(f"and {len(table['codes'][0])} discrete codes")
