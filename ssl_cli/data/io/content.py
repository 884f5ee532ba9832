"""What a file is by its first bytes, whatever its name says: a sound, a picture, a video, a document, an archive."""

from pathlib import Path

from ssl_cli.data.io.files import read_blocks
from ssl_cli.errors import InputError

SNIFFED_BYTES = 4096
PARQUET, NPZ, ZIP = "a Parquet file", "an npz of arrays", "a zip"

# Each kind with what its files begin with. Signs that a text could begin with too have the bytes that come after them.
BEGINNINGS = {
    b"fLaC\0": "a FLAC sound",
    b"OggS\0": "an Ogg sound",
    b"ID3\2": "an MP3 sound",
    b"ID3\3": "an MP3 sound",
    b"ID3\4": "an MP3 sound",
    b"\xff\xfb": "an MP3 sound",
    b"\xff\xfa": "an MP3 sound",
    b"\xff\xf3": "an MP3 sound",
    b"\xff\xf2": "an MP3 sound",
    b"\xff\xf1": "an AAC sound",
    b"\xff\xf9": "an AAC sound",
    b"#!AMR": "an AMR sound",
    b".snd\0": "an AU sound",
    b"MThd\0\0": "a MIDI file",
    b"\x30\x26\xb2\x75": "a WMA sound or WMV video",
    b"\x1aE\xdf\xa3": "a Matroska or WebM video",
    b"\0\0\1\xba": "an MPEG video",
    b"FLV\1": "an FLV video",
    b"\x89PNG\r\n": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF87a": "a GIF picture",
    b"GIF89a": "a GIF picture",
    b"II*\0": "a TIFF picture",
    b"MM\0*": "a TIFF picture",
    b"8BPS\0": "a Photoshop picture",
    b"%PDF-": "a PDF",
    b"\xd0\xcf\x11\xe0": "an old Office document (xls, doc, ppt)",
    b"7z\xbc\xaf\x27": "a 7z archive",
    b"Rar!\x1a": "a RAR archive",
    b"\x1f\x8b": "compressed by gzip",
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"\xfd7zXZ\0": "compressed by xz",
    b"SQLite format 3\0": "an SQLite database",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array (npy)",
    b"ARROW1\0": "an Arrow file",
    b"PAR1\x15": PARQUET,
    b"\x7fELF": "a program",
}
INSIDE_ZIP = {b"xl/": "an Excel workbook", b"word/": "a Word document", b"ppt/": "a PowerPoint", b".npy": NPZ}
BRANDS = {b"M4A": "an M4A sound", b"avif": "an AVIF picture", b"hei": "a HEIC picture", b"mif1": "a HEIC picture"}
RIFF = {b"WAVE": "a WAV sound", b"AVI ": "an AVI video", b"WEBP": "a WebP picture"}


def content_kind(start: bytes) -> str | None:
    """Return what a file is that begins with some bytes, such as "a WAV sound"; None if it may be text."""
    if start.startswith((b"RIFF", b"RF64")):
        return RIFF.get(start[8:12])
    if start.startswith(b"FORM") and start[8:11] == b"AIF":
        return "an AIFF sound"
    if start[4:8] == b"ftyp":
        return next((kind for brand, kind in BRANDS.items() if start[8:].startswith(brand)), "an MP4 video")
    if start.startswith(b"BM") and start[6:10] == bytes(4):
        return "a BMP picture"
    if start.startswith(b"PK\3\4"):
        return next((kind for name, kind in INSIDE_ZIP.items() if name in start[:SNIFFED_BYTES]), ZIP)
    return next((kind for sign, kind in BEGINNINGS.items() if start.startswith(sign)), None)


def file_kind(path: Path) -> str | None:
    """Return what a file is, after decompression; None if it may be text. Raises InputError if it cannot be read."""
    return content_kind(next(read_blocks(path, SNIFFED_BYTES), b""))


def check_is_table(path: Path) -> None:
    """Raise InputError if a file that should be a table is something else by its content."""
    kind, suffix = file_kind(path), path.suffix.lower()
    own = {".parquet": PARQUET, ".npz": NPZ}.get(suffix)
    if kind is None or kind == own or (own == NPZ and kind == ZIP):
        return
    remedy = {PARQUET: "let its name end in .parquet", NPZ: "let its name end in .npz"}.get(
        kind, "a table is a CSV, Parquet or npz file"
    )
    raise InputError(f"{path} is {kind}, not {'a table' if own is None else own}; {remedy}.")
