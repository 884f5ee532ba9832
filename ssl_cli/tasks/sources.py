"""Where the files of a labelled data set are: given one by one, in a folder as published, or on the hub."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from ssl_cli.config.choices import nearest
from ssl_cli.data.io.hub_errors import in_words
from ssl_cli.errors import InputError

NEEDED = ("train", "dev")
SPLITS = (*NEEDED, "test")  # that single files may be given for
SUFFIXES = ("", ".gz")


@dataclass(frozen=True)
class PublishedLayout:
    """How a data set is published. `folder`, such as glue/SST-2, lies in paths.data, and its last part in `data.dir`;
    `files`: split -> the names that its file may have, the first that is there."""

    folder: Annotated[str, "where its files lie, in paths.data; in data.dir the last part of it, or there itself"]
    files: Annotated[dict[str, list[str]], "split -> names that its file may have"]
    hub: Annotated[str | None, "data set on the Hugging Face hub, where there is no such folder"] = None
    name: Annotated[str | None, "its configuration there"] = None
    splits: Annotated[dict[str, str], "split -> what the hub calls it"] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskFiles:
    """What the user says of his files: `files` (split -> path) or the folder `dir`; else `home` is looked into, which
    is paths.data, and then the hub."""

    dir: Path | None
    files: Mapping[str, str]
    home: Path

    def paths(self, layout: PublishedLayout | None, needed: Sequence[str] = NEEDED) -> dict[str, Path] | None:
        """Split -> file; None: they are to be had from the hub, by `hub_rows`. Without a `layout` only `files` count.

        Raises InputError where a file that is named, or that a folder should hold, isn't there.
        """
        if self.files:
            return self._given(layout, needed)
        if layout is None:
            raise InputError(
                "There is nothing to learn from: say data.files.train=FILE data.files.dev=FILE, and perhaps "
                "data.files.test=FILE."
            )
        if self.dir is not None:
            return _found(_first_folder(self.dir, layout), layout, needed, "data.dir")
        folder = self.home / layout.folder
        if folder.is_dir():
            return _found(folder, layout, needed, "paths.data")
        if layout.hub is None:
            raise InputError(
                f"There is no folder {folder}: put the files of the data set there, or say data.dir=FOLDER, or "
                "data.files.train=FILE data.files.dev=FILE."
            )
        return None

    def _given(self, layout: PublishedLayout | None, needed: Sequence[str]) -> dict[str, Path]:
        known = list(dict.fromkeys([*SPLITS, *(() if layout is None else (*layout.files, *layout.splits))]))
        if odd := [split for split in self.files if split not in known]:
            name = odd[0]
            raise InputError(f"data.files.{name}: the splits are {', '.join(known)}.{nearest(name, known)}")
        paths = {split: Path(name).expanduser() for split, name in self.files.items()}
        if lacking := [split for split in needed if split not in paths]:
            raise InputError(f"data.files.{lacking[0]} is missing: say data.files.{lacking[0]}=FILE.")
        for split, path in paths.items():
            if not path.is_file():
                raise InputError(f"data.files.{split}={path}: there is no such file.")
        return paths


def _first_folder(dir: Path, layout: PublishedLayout) -> Path:
    """`data.dir` may be the data set's own folder, or one that holds it and others, as GLUE comes."""
    place = dir.expanduser()
    if not place.is_dir():
        raise InputError(f"data.dir={dir}: there is no such folder.")
    inner = (place / layout.folder, place / Path(layout.folder).name)
    return next((folder for folder in inner if folder.is_dir()), place)


def _found(folder: Path, layout: PublishedLayout, needed: Sequence[str], option: str) -> dict[str, Path]:
    found = {split: _first_file(folder, names) for split, names in layout.files.items()}
    for split in needed:
        if found.get(split) is None:
            name = Path(layout.folder).name
            within = "" if folder.name == name else f"no folder {name} and "
            names = " and no ".join(layout.files[split])
            raise InputError(
                f"{folder} ({option}) holds {within}no {names}, the {split} file: put it there, or name single files "
                "by data.files.train=FILE data.files.dev=FILE."
            )
    return {split: path for split, path in found.items() if path is not None}


def _first_file(folder: Path, names: Sequence[str]) -> Path | None:
    paths = (folder / f"{name}{suffix}" for name in names for suffix in SUFFIXES)
    return next((path for path in paths if path.is_file()), None)


def hub_rows(layout: PublishedLayout) -> dict[str, Iterator[dict[str, Any]]]:
    """Split -> its records, from the hub (kept in the cache of `datasets`). Raises InputError where it can't be had."""
    import datasets  # takes half a second, and is needed here only

    assert layout.hub is not None
    otherwise = (
        f"Put its files in paths.data/{layout.folder}, or say data.dir=FOLDER, or data.files.train=FILE "
        "data.files.dev=FILE."
    )
    try:
        datasets.disable_progress_bars()
        found = datasets.load_dataset(layout.hub, layout.name)
        return {split: iter(found[name]) for split, name in layout.splits.items() if name in found}
    except Exception as error:  # the hub, the network and the disk fail in many ways
        raise InputError(f"{layout.hub} can't be had from the hub: {in_words(error)}. {otherwise}") from error
