"""Text files that a user writes for a verb, with one text per line."""

from pathlib import Path

from ssl_cli.errors import InputError


def read_lines(option: str, name: str) -> list[str]:
    """Return the lines of a UTF-8 file that are not blank. Raises InputError if it cannot be read, or has none."""
    return list(read_numbered_lines(option, name).values())


def read_numbered_lines(option: str, name: str) -> dict[int, str]:
    """Return the lines of a UTF-8 file that are not blank, by their line numbers, which count from 1.

    Raises InputError if the file cannot be read, or has no such line.
    """
    path = Path(name).expanduser()
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # not splitlines: an editor counts these lines only
    except OSError as error:
        raise InputError(f"{option}={path} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{option}={path} is not UTF-8 text: byte {error.start:,} is invalid. Convert it.") from error
    filled = {number: line for number, line in enumerate(lines, 1) if line.strip()}
    if not filled:
        raise InputError(f"{option}={path} has no text: write one per line.")
    return filled
