"""Download of a published file: streamed to disk with a progress bar, and compared with its checksum."""

import hashlib
import http.client
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ssl_cli import __version__, console
from ssl_cli.files import CHUNK_BYTES

STALL_S = 30.0  # without a byte, after which a download is given up
MAX_BYTES = 1 << 30  # of a file: a server may send without end
MB = 1_000_000
MAX_REASON_CHARS = 200
GZIP_WBITS = 31  # zlib's code for a stream with the header of gzip


class DownloadError(Exception):
    """A file can't be downloaded; the message is the reason, without a full stop."""


def download(url: str, path: Path, checksum: str | None = None, is_text: bool = False) -> None:
    """Write what a URL gives to a new file. `checksum`: its algorithm and digest, such as `md5:d41d...`.

    A text may be sent compressed, and is decompressed then. Raises DownloadError if it can't be had whole, or is
    another one, and OSError if it can't be written.
    """
    algorithm, _, wanted = (checksum or "md5:").partition(":")
    digest, n_bytes = hashlib.new(algorithm, usedforsecurity=False), 0
    with path.open("wb") as file:
        for chunk in _chunks(url, is_text, f"downloading {path.name}, MB"):
            n_bytes += len(chunk)
            if n_bytes > MAX_BYTES:
                raise DownloadError(f"it has more than {MAX_BYTES // MB:,} MB")
            digest.update(chunk)
            file.write(chunk)
    if wanted and digest.hexdigest() != wanted.lower():
        raise DownloadError(f"its {algorithm.upper()} is {digest.hexdigest()}, but {wanted} is published")


def fetch(url: str, max_bytes: int = MB) -> bytes:
    """Return what a URL gives, a short text. Raises DownloadError if it can't be had whole."""
    content = b""
    for chunk in _chunks(url, is_text=True):
        content += chunk
        if len(content) > max_bytes:
            raise DownloadError("it is too long")
    return content


def _chunks(url: str, is_text: bool, title: str = "") -> Iterator[bytes]:
    """Yield what a URL gives in chunks, with a progress bar if it has a title. Raises DownloadError."""
    with closing(_open(url, is_text)) as response:
        n_total, n_bytes = response.length, 0  # as sent, perhaps compressed
        is_compressed = is_text and response.headers.get("Content-Encoding", "").lower() == "gzip"
        unpack = zlib.decompressobj(GZIP_WBITS) if is_compressed else None
        n_mb = None if n_total is None else max(1, n_total // MB)
        with console.progress(title, n_mb) if title else nullcontext(lambda *_: None) as advance:
            while chunk := _read(response, n_bytes):
                n_bytes += len(chunk)
                advance(n_bytes // MB, "")
                yield from [chunk] if unpack is None else _unpacked(unpack, chunk)
        if (n_total is not None and n_bytes < n_total) or (unpack is not None and not unpack.eof):
            raise DownloadError(f"it broke off after {n_bytes:,} of {f'{n_total:,}' if n_total else 'its'} bytes")


def _open(url: str, is_text: bool) -> Any:
    """Return the answer to a request, redirects followed; HTTP alone, since a description may name any URL."""
    headers = {"User-Agent": f"ssl-cli/{__version__}"} | ({"Accept-Encoding": "gzip"} if is_text else {})
    try:
        request = urllib.request.Request(url, headers=headers)
        if urlsplit(url).scheme not in ("http", "https"):
            raise DownloadError(f"{url} is no web address")
        return urllib.request.urlopen(request, timeout=STALL_S)
    except urllib.error.HTTPError as error:
        error.close()
        raise DownloadError(f"the server answers {error.code} {_one_line(error.reason)}".rstrip()) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise DownloadError(_reason(error)) from error


def _read(response: Any, n_before: int) -> bytes:
    try:
        return response.read(CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise DownloadError(f"it broke off after {n_before:,} bytes: {_reason(error)}") from error


def _unpacked(unpack: Any, chunk: bytes) -> Iterator[bytes]:
    """Yield the decompressed pieces of a chunk, none of them large."""
    try:
        piece = unpack.decompress(chunk, CHUNK_BYTES)
        while piece:
            yield piece
            piece = unpack.decompress(unpack.unconsumed_tail, CHUNK_BYTES)
    except zlib.error as error:
        raise DownloadError(f"it is damaged: {error}") from error


def _reason(error: BaseException) -> str:
    """Return why a connection fails, in the system's words."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no answer within {STALL_S:g} s"
    words = (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__
    return _one_line(words)


def _one_line(words: object) -> str:
    """Return a server's words, or those of a library about them, on one line of a bearable length."""
    return " ".join(str(words).split())[:MAX_REASON_CHARS]
