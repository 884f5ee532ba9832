"""How the columns of a table were read: one table at the start of a run, and all of it in the run's folder."""

from pathlib import Path

from ssl_cli import console
from ssl_cli.data.tables.readings import IN_FILE, NUMBER, Reading
from ssl_cli.runs.csv_files import write_csv

NO_NAME = "(no name)"
COLUMNS = "columns.csv"
HEADER = ["column", "read as", "why", "to change it"]
FIELDS = ["column", "read_as", "why", "change"]
MAX_ROWS = 14  # in the table on screen
MAX_NAMES = 40  # characters of the names of columns that share a row


def show(readings: list[Reading]) -> None:
    """Print how columns are read, in one row for those with the same reading and reason."""
    rows = grouped(readings)
    if len(rows) > MAX_ROWS:
        n_more = len(readings) - sum(len(of_row) for of_row in rows[: MAX_ROWS - 1])
        rows = rows[: MAX_ROWS - 1]
        more = [[f"{n_more} more columns", "", f"{COLUMNS} in the run's folder has all", ""]]
    else:
        more = []
    console.say(console.table("", HEADER, [*map(as_row, rows), *more], no_wrap={HEADER[1], HEADER[-1]}))


def grouped(readings: list[Reading]) -> list[list[Reading]]:
    """Return readings in groups of the same reading and reason; those that are numeric in the file come first."""
    groups: dict[tuple[str, str], list[Reading]] = {}
    for reading in readings:
        groups.setdefault((reading.read_as, reading.why), []).append(reading)
    return sorted(groups.values(), key=lambda group: (group[0].read_as, group[0].why) != (NUMBER, IN_FILE))


def as_row(group: list[Reading]) -> list[str]:
    """Return the cells of HEADER for readings that share a row."""
    first = group[0]
    if len(group) == 1:
        return [first.column or NO_NAME, first.read_as, first.why, first.change]
    names = first.column or NO_NAME
    for reading in group[1:]:
        if len(names) + len(reading.column or NO_NAME) > MAX_NAMES:
            names += ", ..."
            break
        names += f", {reading.column or NO_NAME}"
    change = first.change.strip("'").replace(f"{{{first.column}:", "{COLUMN:")
    return [f"{len(group)} columns: {names}", first.read_as, first.why, change]


def write(path: Path, readings: list[Reading], escape_formulas: bool = False) -> None:
    """Write a CSV with a row for each column."""
    rows = [{name: getattr(reading, name) for name in FIELDS} for reading in readings]
    write_csv(path, FIELDS, rows, escape_formulas)
