"""ssl embed: the codes that a finished run gives images, as a table and a map."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.reconstruct.finished import ReconstructRun, reopen
from ssl_cli.commands.reconstruct.latent_plots import draw_map
from ssl_cli.config.check import check
from ssl_cli.config.instantiate import build
from ssl_cli.data.images.datasets import ImageData, in_words
from ssl_cli.data.images.reader import Rejected
from ssl_cli.errors import InputError
from ssl_cli.runs.folder import read_environment
from ssl_cli.runs.outputs import refuse_taken, results, warn_of_rejects, write_rejects

CODES, MAP = "codes.parquet", "map.png"


@dataclass
class EmbedInput:
    """Images x (N, C, H, W) that belong together, with their numbers `row` (N,) in the whole set."""

    x: np.ndarray
    row: np.ndarray
    split: str | None = None
    names: list[str] | None = None
    labels: list[str | None] | None = None


@dataclass
class EmbedInputs:
    """What is to be embedded."""

    parts: list[EmbedInput]
    about: str
    rejected: Rejected = field(default_factory=list)


def run(cfg: DictConfig) -> Path:
    """Embed images into a folder, whose path it returns."""
    refuse_ambiguous(cfg)
    refuse_taken(cfg.output, cfg.overwrite)
    finished = reopen(cfg.run, cfg.paths.outputs, cfg.trust)
    finished.need("embed")
    given = images(cfg, finished)
    console.say(f"embed {given.about} with {finished.folder}")
    otherwise = Path(cfg.paths.outputs) / "embed" / finished.folder.resolve().name
    with results(cfg.output, cfg.overwrite, otherwise) as (folder, place):
        table = pa.concat_tables([codes(finished, part) for part in given.parts]).sort_by("row")
        pyarrow.parquet.write_table(table, folder / CODES)
        draw_map(folder / MAP, np.stack(table["code"].to_numpy()), table["label"].to_pylist(), cfg.map, cfg.seed)
        if cfg.input is not None:
            write_rejects(folder, given.rejected)
    print_summary(table, given.rejected)
    return place


# --- which images -------------------------------------------------------------------------------------------


def refuse_ambiguous(cfg: DictConfig) -> None:
    if cfg.data is not None and "_target_" not in cfg.data:
        raise InputError(f"data.{next(iter(cfg.data))} is an option of a data set: say which with data=NAME.")
    if cfg.data is not None and cfg.input is not None:
        raise InputError("data= and input= are two things to embed: say one of them.")


def images(cfg: DictConfig, finished: ReconstructRun) -> EmbedInputs:
    """The files of input=, the data set of data=, or that of the run."""
    if cfg.input is not None:
        names, x, rejected = finished.read(Path(cfg.input).expanduser())
        return EmbedInputs([EmbedInput(x, np.arange(len(x)), names=names)], f"input={cfg.input}", rejected)
    if cfg.data is not None:
        return EmbedInputs(data_parts(build(cfg.data).image_splits(cfg.seed), finished), f"data={cfg.choices.data}")
    data = own_data(cfg, finished)
    return EmbedInputs(data_parts(data, finished), f"data={finished.config.choices.get('data')}, as in the run,")


def own_data(cfg: DictConfig, finished: ReconstructRun) -> ImageData:
    """The run's data set, parted as it was. Its options are held against its class, as anybody's."""
    node = finished.config.get("data")
    if not isinstance(node, DictConfig) or "_target_" not in node:
        raise InputError(f"{finished.folder} is damaged: its config says of no data set.")
    own = cfg.copy()
    own.data, own.seed = node, finished.config.get("seed")
    try:
        check(own, "embed")
    except InputError as error:
        raise InputError(f"The data set of {finished.folder} can't be read again: {error}") from error
    data = build(own.data).image_splits(own.seed)
    if read_environment(finished.folder).get("data_fingerprint") != data.fingerprint:
        console.warn(f"the data have changed since {finished.folder} was made: its splits may have been others")
    return data


def data_parts(data: ImageData, finished: ReconstructRun) -> list[EmbedInput]:
    """Its splits. Raises InputError for images of another shape than the model's."""
    if data.facts["shape"] != list(finished.reader.shape):
        raise InputError(
            f"The images of this data set are {in_words(data.facts['shape'])}, those of {finished.folder} "
            f"{in_words(finished.reader.shape)}: choose a data set like the run's, or give a folder as input=, "
            "whose images are resized."
        )
    return [
        EmbedInput(split.x, split.row, name, labels=names_of(split.label, data.classes))
        for name, split in data.splits.items()
    ]


def names_of(label: np.ndarray | None, classes: list[str]) -> list[str | None] | None:
    """(N,) -> the classes' names; None for an image whose class isn't known"""
    if label is None:
        return None
    return [classes[k] if k >= 0 else None for k in label]


# --- their codes --------------------------------------------------------------------------------------------


def codes(finished: ReconstructRun, part: EmbedInput) -> pa.Table:
    """A row an image."""
    n, code = len(part.x), finished.embed(part.x)
    columns = {
        "row": pa.array(part.row, pa.int64()),
        "split": pa.array([part.split] * n, pa.string()),
        "name": texts(part.names, n),
        "label": texts(part.labels, n),
        "code": pa.FixedSizeListArray.from_arrays(pa.array(code.ravel(), pa.float32()), code.shape[1]),
    }
    if finished.is_discrete:
        places = finished.codes(part.x).astype(np.int32)
        starts = np.arange(n + 1, dtype=np.int32) * places.shape[1]
        columns["codes"] = pa.ListArray.from_arrays(pa.array(starts), pa.array(places.ravel()))
    return pa.table(columns)


def texts(values: Sequence[str | None] | None, n: int) -> pa.Array:
    """(n,), null where there are none"""
    return pa.nulls(n, pa.string()) if values is None else pa.array(values, pa.string())


def print_summary(table: pa.Table, rejected: Rejected) -> None:
    warn_of_rejects(rejected, len(table))
    splits = [f"{found['counts']} {found['values']}" for found in table["split"].value_counts().to_pylist()]
    width = table.schema.field("code").type.list_size
    of_splits = f" ({', '.join(splits)})" if table["split"].null_count == 0 else f", {len(rejected):,} rejected"
    console.say(f"{len(table):,} images{of_splits}, each a code of {width:,} numbers")
    if "codes" in table.column_names:
        console.say(f"and {len(table['codes'][0])} discrete codes")
