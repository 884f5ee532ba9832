"""Tables that can be fetched without an account: `data.download=true` puts the file where its data set looks for it."""

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ssl_cli import console
from ssl_cli.data.io.download import DownloadError, download, fetch
from ssl_cli.errors import InputError
from ssl_cli.files import file_lock, unfinished_folder

MIRROR = "SSL_MIRROR"  # environment variable: the address of a server to ask in place of OpenML and figshare
CREDIT_CARD_ID = 1597  # OpenML's number of the data set: https://www.openml.org/d/1597
CREDIT_CARD_ROWS, CREDIT_CARD_FRAUDS = 284_807, 492  # as the authors publish them
CREDIT_CARD_COLUMNS = {*(f"V{n}" for n in range(1, 29)), "Amount", "Class"}  # and Time, which is not read
# The address and the digest that scikit-learn's fetch_kddcup99 has of the 10 % file (sklearn/datasets/_kddcup99.py).
KDD_PATH = "files/5976042"
KDD_SHA256 = "8045aca0d84e70e622d1148d7df782496f6333bf6eb979a1b0837c42a9fd9561"
ATTRIBUTE = re.compile(r"""@attribute\s+('[^']*'|"[^"]*"|\S+)\s""", re.IGNORECASE)


@dataclass(frozen=True)
class PublishedFile:
    """A file that can be fetched from a server.

    `save` writes it to a path, given the server's address, and returns a sentence on how it was checked.
    """

    server: str
    save: Callable[[str, Path], str]

    @property
    def address(self) -> str:
        """The address that is asked: the server's, or a mirror's."""
        return (os.environ.get(MIRROR) or self.server).rstrip("/")

    @property
    def site(self) -> str:
        """The name of the server, for messages."""
        return urlsplit(self.address).netloc.removeprefix("www.").removeprefix("ndownloader.")


def fetch_file(published: PublishedFile, path: Path, alternative: str) -> Path:
    """Fetch a file to `path`, whole or not at all, unless another process has just done so; returns `path`.

    Raises InputError, whose message ends in `alternative`, if it can't be had or written.
    """
    try:
        with _folder(path.parent), file_lock(path.with_name(f".{path.name}.lock")):
            if not path.is_file():
                with unfinished_folder(path.parent) as folder:
                    checked = published.save(published.address, folder / path.name)
                    (folder / path.name).replace(path)
                console.say(f"{path}: {path.stat().st_size:,} bytes from {published.site}. {checked}")
    except DownloadError as error:
        raise InputError(f"{path} can't be downloaded from {published.site}: {error}. {alternative}") from error
    except OSError as error:
        raise InputError(f"{path} can't be written: {error.strerror or error}.") from error
    return path


@contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; those that were made and stay empty are removed at the end."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):  # not empty
            for place in missing:
                place.rmdir()


# --- KDD Cup 1999 -------------------------------------------------------------------------------------------


def _save_kddcup99(address: str, path: Path) -> str:
    download(f"{address}/{KDD_PATH}", path, f"sha256:{KDD_SHA256}")
    return "Its SHA-256 is that in scikit-learn."


KDD_CUP_99 = PublishedFile(server="https://ndownloader.figshare.com", save=_save_kddcup99)


# --- card fraud ---------------------------------------------------------------------------------------------


def _save_creditcard(address: str, path: Path) -> str:
    """Download OpenML's ARFF of the card transactions, and write it as the CSV that Kaggle has."""
    url, md5 = _description(address)
    arff = path.with_suffix(".arff")
    download(url, arff, f"md5:{md5}" if md5 else None, is_text=True)
    with path.open("x", encoding="utf-8") as file:
        file.writelines(_csv_lines(arff))
    arff.unlink()
    checked = "Its MD5 is the published one" if md5 else "No checksum is published"
    return f"{checked}; {CREDIT_CARD_ROWS:,} rows, {CREDIT_CARD_FRAUDS:,} frauds, as published."


def _description(address: str) -> tuple[str, str | None]:
    """Return the address of the data set's ARFF and its MD5, if OpenML publishes one, from OpenML's description."""
    content = fetch(f"{address}/api/v1/json/data/{CREDIT_CARD_ID}")
    try:
        description = json.loads(content)["data_set_description"]
        url, md5 = str(description["url"]), description.get("md5_checksum")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise DownloadError(f"its description of data set {CREDIT_CARD_ID} can't be read") from error
    is_md5 = isinstance(md5, str) and re.fullmatch("[0-9a-fA-F]{32}", md5) is not None
    return url, str(md5) if is_md5 else None


def _csv_lines(arff: Path) -> Iterator[str]:
    """Yield the lines of the CSV: a header, then the rows of the ARFF, whose class may stand in quotes.

    Raises DownloadError unless these are the columns and as many rows and frauds as published.
    """
    with arff.open(encoding="utf-8", errors="replace") as lines:
        names = list(_attributes(lines))
        if set(names) - {"Time"} != CREDIT_CARD_COLUMNS or len(names) != len(set(names)):
            raise DownloadError(f"it has other columns than the card transactions: {', '.join(names)[:200]}")
        yield f"{','.join(names)}\n"
        n_rows = n_frauds = 0
        for line in lines:
            row = line.strip().replace("'", "").replace('"', "")
            if row and not row.startswith("%"):
                cells = row.split(",")
                if len(cells) != len(names) or (label := cells[names.index("Class")].strip()) not in ("0", "1"):
                    raise DownloadError(f"its row {n_rows} is no card transaction")
                n_rows, n_frauds = n_rows + 1, n_frauds + (label == "1")
                yield f"{row}\n"
    if (n_rows, n_frauds) != (CREDIT_CARD_ROWS, CREDIT_CARD_FRAUDS):
        raise DownloadError(
            f"it has {n_rows:,} rows and {n_frauds:,} frauds, not {CREDIT_CARD_ROWS:,} and {CREDIT_CARD_FRAUDS:,}"
        )


def _attributes(lines: Iterator[str]) -> Iterator[str]:
    """Yield the names of an ARFF's columns, up to its data."""
    for line in lines:
        if line.strip().lower() == "@data":
            return
        if match := ATTRIBUTE.match(line):
            yield match[1].strip("'\"")


CREDIT_CARD = PublishedFile(server="https://www.openml.org", save=_save_creditcard)
