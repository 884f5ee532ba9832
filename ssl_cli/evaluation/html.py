"""report.html: the report of a finished run, one page that needs no other file than its figures and sounds, and no
network. A page that lies beside an output has them within it.

A verb describes its page as sections of the blocks below. How they look is in templates/: page.html.jinja has the
layout, and each block has a template of its name. A new block is a dataclass here and a template there.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ssl_cli.files import write_text
from ssl_cli.printable import escape_controls

if TYPE_CHECKING:
    import jinja2

REPORT, FIGURES, SOUNDS = "report.html", "figures", "sounds"
RUN = "What was run"
LAST_SPLIT = "train"  # the least interesting of the metrics
WIDE_PX = 900  # a figure of this width has no room for another one beside it
MEDIA_TYPES = {".png": "image/png", ".flac": "audio/flac"}
NONE: frozenset[str] = frozenset()


# --- blocks -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Note:
    """A paragraph of explanation."""

    text: str


@dataclass(frozen=True)
class Headline:
    """The sentence that a reader wants first."""

    text: str


@dataclass(frozen=True)
class Alert:
    """A warning that a reader must not miss."""

    text: str


@dataclass(frozen=True)
class Figure:
    """A PNG in the page's folder of figures, and its caption."""

    name: str
    caption: str


@dataclass(frozen=True)
class Clip:
    """A sound in the page's folder of sounds, what it is, and its length in seconds."""

    name: str
    label: str
    seconds: float


@dataclass(frozen=True)
class Players:
    """Rows of sounds to play, each with a title: such as what a model heard, and what it made of it."""

    rows: Sequence[tuple[str, Sequence[Clip]]]
    caption: str = ""


@dataclass(frozen=True)
class Facts:
    """Short values and their names."""

    items: Mapping[str, object]


@dataclass(frozen=True)
class Code:
    """A text in a font of fixed width, folded under its title."""

    title: str
    text: str


@dataclass(frozen=True)
class PageTable:
    """Rows of texts, one for each column.

    Columns in `numbers` are aligned as numbers, those in `names` shown as code, and the cells of those in `lines` in
    lines as they are broken. The cells in `best`, (row, column) from
    0, stand out. With `folded` the table is hidden under that title until it is opened.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Set[str] = NONE
    names: Set[str] = NONE
    lines: Set[str] = NONE
    best: Set[tuple[int, int]] = frozenset()
    caption: str = ""
    folded: str = ""


@dataclass(frozen=True)
class Metric:
    """A metric as text: its name within its split, its full key, its value, interval ("" for none) and meaning."""

    key: str
    value: str
    meaning: str = ""
    interval: str = ""

    @property
    def split(self) -> str:
        """The part of the key before the first slash; "" if it has none."""
        split, slash, _ = self.key.partition("/")
        return split if slash else ""

    @property
    def name(self) -> str:
        """The part of the key after the split."""
        return self.key.removeprefix(f"{self.split}/")


@dataclass(frozen=True)
class Metrics:
    """Metrics of one split."""

    rows: Sequence[Metric]


@dataclass(frozen=True)
class Piece:
    """A piece of a text: plain, or a prediction that is correct or not, with a hint on hover and a note after it."""

    text: str
    is_correct: bool | None = None
    hint: str = ""
    note: str = ""


@dataclass(frozen=True)
class Passage:
    """A text in pieces, with a title above it and a closing line below it ("" for none)."""

    pieces: Sequence[Piece]
    title: str = ""
    closing: str = ""


@dataclass(frozen=True)
class Section:
    """A title and blocks, sections among them; the table of contents lists those of the first two levels."""

    title: str
    blocks: Sequence[Block]

    @property
    def subsections(self) -> list[Section]:
        """The sections among the blocks."""
        return [block for block in self.blocks if isinstance(block, Section)]


Block = Note | Headline | Alert | Figure | Players | Facts | Code | PageTable | Metrics | Passage | Section


# --- the page -----------------------------------------------------------------------------------------------


def write_report(
    folder: Path,
    verb: str,
    config: str,
    choices: Mapping[str, object],
    sections: Sequence[Section],
    opening: Sequence[Block] = (),
) -> None:
    """Write the page of a run into its folder, with figures in its figures/, sounds in its sounds/; see `render`."""
    run_path = "/".join(folder.parts[-3:])
    write_text(folder / REPORT, render(verb, run_path, config, choices, sections, opening, folder / FIGURES))


def render(
    verb: str,
    run_path: str,
    config: str,
    choices: Mapping[str, object],
    sections: Sequence[Section],
    opening: Sequence[Block],
    figures: Path,
    embedded: bool = False,
) -> str:
    """Return the page: the blocks of `opening`, what was run, and the sections; those without a block are left out.

    `choices` are the config choices to name, model and data among them. With `embedded` the page has its figures and
    sounds within it, otherwise it links to those in `figures`, a folder beside it, and in sounds/ beside that.
    """
    sounds = figures.with_name(SOUNDS)
    names = sorted(choices, key=lambda name: name not in ("model", "data"))
    run = Section(RUN, [Facts({name: choices[name] for name in names}), Code("the whole config", config)])
    page = _environment().get_template("page.html.jinja")
    return page.render(
        verb=verb,
        model=choices.get("model"),
        data=choices.get("data"),
        run_path=run_path,
        opening=opening,
        sections=[run, *(section for section in sections if section.blocks)],
        size_of=lambda figure: png_size(figures / figure.name),
        url_of=lambda block: _url((sounds if isinstance(block, Clip) else figures) / block.name, embedded),
        wide_px=WIDE_PX,
    )


def _url(path: Path, embedded: bool) -> str:
    """Return the URL of a file in a folder beside the page, or one that holds the file."""
    if not embedded:
        return f"{path.parent.name}/{quote(path.name)}"
    return f"data:{MEDIA_TYPES[path.suffix]};base64,{b64encode(path.read_bytes()).decode()}"


@cache
def _environment() -> jinja2.Environment:
    import jinja2  # takes as long as all that `ssl --help` imports

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ssl_cli.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        # A page may be printed in a terminal, and HTML has no control characters.
        finalize=lambda value: escape_controls(value) if isinstance(value, str) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["template"] = lambda block: f"{type(block).__name__.lower()}.html.jinja"
    return environment


def png_size(path: Path) -> tuple[int, int] | None:
    """Return the width and height of a PNG in pixels, or None if the file isn't one."""
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except OSError:
        return None
    return struct.unpack(">II", head[16:]) if len(head) == 24 and head[1:4] == b"PNG" else None


def metrics_section(metrics: Sequence[Metric], *blocks: Block) -> Section:
    """Return the section of metrics, in a subsection for each split, after the given blocks."""
    splits = sorted(dict.fromkeys(metric.split for metric in metrics), key=lambda split: split == LAST_SPLIT)
    groups = [Section(split or "other", [Metrics([m for m in metrics if m.split == split])]) for split in splits]
    return Section("Metrics", [*blocks, *groups])


def format_number(value: float) -> str:
    """Return a number with four significant digits; whole numbers are written in full."""
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
