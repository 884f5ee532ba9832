"""A file of texts that people write for a verb: one a line."""

from pathlib import Path

from ssl_cli.errors import InputError


def read_lines(option: str, name: str) -> list[str]:
    """The lines of a UTF-8 file that aren't blank. Raises InputError where it can't be read, or has none."""
    path = Path(name).expanduser()
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"{option}={path} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{option}={path} is no text in UTF-8: byte {error.start:,} is none. Convert it.") from error
    found = [line for line in lines if line.strip()]
    if not found:
        raise InputError(f"{option}={path} has no text: write one a line.")
    return found
