"""Locations of a labelled data set: single files, a folder with the published layout, or the Hugging Face hub."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from ssl_cli.config.choices import did_you_mean
from ssl_cli.config.types import Path as FilePath
from ssl_cli.data.io.hub import hub_access
from ssl_cli.data.io.hub_errors import describe_hub_error
from ssl_cli.errors import InputError

REQUIRED_SPLITS = ("train", "dev")
SPLITS = (*REQUIRED_SPLITS, "test")  # splits of every task that data.files may name
SUFFIXES = ("", ".gz")


@dataclass(frozen=True)
class PublishedLayout:
    """The files of a data set as published.

    `folder`, such as glue/SST-2, is looked for in paths.data, and its last part in `data.dir`. `files` maps a split to
    the names that its file may have; the first that exists is used.
    """

    folder: Annotated[str, "folder of its files in paths.data; in data.dir its last part, or data.dir itself"]
    files: Annotated[dict[str, list[str]], "split -> names that its file may have"]
    hub: Annotated[str | None, "data set on the Hugging Face hub, used if there is no such folder"] = None
    name: Annotated[str | None, "configuration of the data set on the hub"] = None
    splits: Annotated[dict[str, str], "split -> its name on the hub"] = field(default_factory=dict)


class LabelledFiles:
    """The files of a labelled text data set: those that the user names, a folder, or the folder of the data set in
    `home`, then the hub."""

    # Of the batches that a task makes of the examples.
    gives: ClassVar[tuple[str, ...]] = (
        *("ids", "segment", "document", "begin", "length", "example", "word", "allowed"),
        *("source", "source_document", "inputs", "targets"),  # of pairs
    )
    offers: ClassVar[Mapping[str, type]] = {"vocab_size": int}  # of the tokenizer that is trained on it

    def __init__(
        self,
        dir: Annotated[FilePath | None, "folder of the published files; null: the task's in paths.data, then the hub"],
        files: Annotated[
            dict[str, FilePath | None],
            "single files: data.files.train=..., .dev=..., and perhaps .test=...",
        ],
        home: Annotated[FilePath, "folder that holds a folder for each data set"],
    ):
        self.dir = None if dir is None else Path(dir)
        self.files = {split: name for split, name in files.items() if name is not None}
        self.home = Path(home).expanduser()

    def paths(self, layout: PublishedLayout | None, needed: Sequence[str] = REQUIRED_SPLITS) -> dict[str, Path] | None:
        """Return split -> file, or None if `hub_rows` must read the splits from the hub. No `layout`: only `files`.

        Raises InputError if a file doesn't exist that the user names or that a folder must hold.
        """
        if self.files:
            return self._named_files(layout, needed)
        if layout is None:
            raise InputError(
                "There is nothing to learn from: set data.files.train=FILE data.files.dev=FILE, and optionally "
                "data.files.test=FILE."
            )
        if self.dir is not None:
            return _split_files(_data_folder(self.dir, layout), layout, needed, "data.dir")
        folder = self.home / layout.folder
        if folder.is_dir():
            return _split_files(folder, layout, needed, "paths.data")
        if layout.hub is None:
            raise InputError(
                f"There is no folder {folder}: put the files of the data set there, or set data.dir=FOLDER, or "
                "data.files.train=FILE data.files.dev=FILE."
            )
        return None

    def _named_files(self, layout: PublishedLayout | None, needed: Sequence[str]) -> dict[str, Path]:
        known = list(dict.fromkeys([*SPLITS, *(() if layout is None else (*layout.files, *layout.splits))]))
        if unknown := [split for split in self.files if split not in known]:
            name = unknown[0]
            raise InputError(f"data.files.{name}: the splits are {', '.join(known)}.{did_you_mean(name, known)}")
        paths = {split: Path(name).expanduser() for split, name in self.files.items()}
        if missing := [split for split in needed if split not in paths]:
            raise InputError(f"data.files.{missing[0]} is missing: set data.files.{missing[0]}=FILE.")
        for split, path in paths.items():
            if not path.is_file():
                raise InputError(f"data.files.{split}={path}: there is no such file.")
        return paths


def _data_folder(dir: Path, layout: PublishedLayout) -> Path:
    """Return the folder of the data set: `data.dir` itself, or a folder in it, as in the GLUE download."""
    parent = dir.expanduser()
    if not parent.is_dir():
        raise InputError(f"data.dir={dir}: there is no such folder.")
    candidates = (parent / layout.folder, parent / Path(layout.folder).name)
    return next((folder for folder in candidates if folder.is_dir()), parent)


def _split_files(folder: Path, layout: PublishedLayout, needed: Sequence[str], option: str) -> dict[str, Path]:
    paths = {split: _first_file(folder, names) for split, names in layout.files.items()}
    for split in needed:
        if paths.get(split) is None:
            name = Path(layout.folder).name
            subfolder = "" if folder.name == name else f"no folder {name} and "
            names = " and no ".join(layout.files[split])
            raise InputError(
                f"{folder} ({option}) contains {subfolder}no {names}, the {split} file: put it there, or name single "
                "files by data.files.train=FILE data.files.dev=FILE."
            )
    return {split: path for split, path in paths.items() if path is not None}


def _first_file(folder: Path, names: Sequence[str]) -> Path | None:
    paths = (folder / f"{name}{suffix}" for name in names for suffix in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def hub_rows(layout: PublishedLayout) -> dict[str, Iterator[dict[str, Any]]]:
    """Return split -> its records from the hub, which `datasets` caches. Raises InputError if loading fails."""
    import datasets  # the import takes half a second, and only this function needs it

    assert layout.hub is not None
    alternative = (
        f"Put its files in paths.data/{layout.folder}, or set data.dir=FOLDER, or data.files.train=FILE "
        "data.files.dev=FILE."
    )
    try:
        datasets.disable_progress_bars()
        with hub_access(layout.hub):
            dataset = datasets.load_dataset(layout.hub, layout.name)
        return {split: iter(dataset[name]) for split, name in layout.splits.items() if name in dataset}
    except Exception as error:  # the hub, the network and the disk fail in many ways
        raise InputError(
            f"{layout.hub} can't be loaded from the hub: {describe_hub_error(error)}. {alternative}"
        ) from error
