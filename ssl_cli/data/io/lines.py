"""A file of texts that people write for a verb: one a line."""

from pathlib import Path

from ssl_cli.errors import InputError


def read_lines(option: str, name: str) -> list[str]:
    """The lines of a UTF-8 file that aren't blank. Raises InputError where it can't be read, or has none."""
    return list(numbered_lines(option, name).values())


def numbered_lines(option: str, name: str) -> dict[int, str]:
    """The same, by their numbers in the file, which count from 1."""
    path = Path(name).expanduser()
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # where an editor counts lines
    except OSError as error:
        raise InputError(f"{option}={path} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{option}={path} is no text in UTF-8: byte {error.start:,} is none. Convert it.") from error
    found = {number: line for number, line in enumerate(lines, 1) if line.strip()}
    if not found:
        raise InputError(f"{option}={path} has no text: write one a line.")
    return found
