"""Digests of a finished run: the SHA-256 of each file that is read when the run is used.

They are written when the run ends, and compared before any of the files is used: a flipped bit in weights would
otherwise change scores without a word. They find damage, not forgery: who forges weights can forge their digest.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from ssl_cli.errors import InputError
from ssl_cli.files import sha256_of, write_json
from ssl_cli.runs.folder import CONFIG, ENVIRONMENT, IDS_FILE, is_finished, resume_command
from ssl_cli.runs.safety import TENSORS, read_json_object

DIGESTS = "digests.json"
READ_AGAIN = (CONFIG, "tokenizer.json")  # by a resumed run, which writes all else anew
MAX_NAME_CHARS = 200
RECORDS = {DIGESTS, ENVIRONMENT, IDS_FILE}  # they say how a run went, and are not read when it is used


def state_files(folder: Path) -> dict[str, Path]:
    """Return the files that are read when a run is used, by their path in its folder.

    These are all its tensors, its config, and the JSON files directly in its folder, except the records.
    """
    paths = [*folder.rglob(f"*{TENSORS}"), *folder.glob("*.json"), folder / CONFIG]
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(paths)
        if path.is_file() and path.name not in RECORDS
    }


def write_digests(folder: Path, upcoming: Mapping[str, str] | None = None) -> None:
    """Write digests.json for the files of a run as they are now, and for the texts of `upcoming` ones."""
    digests = {name: sha256_of(path).hex() for name, path in state_files(folder).items()}
    digests |= {name: hashlib.sha256(text.encode()).hexdigest() for name, text in (upcoming or {}).items()}
    write_json(folder / DIGESTS, digests)


def check_digests(folder: Path, verb: str) -> None:
    """Raise InputError if a file of a finished run of `ssl VERB` is missing, or not as it was when the run ended.

    A run without digests is rejected.
    """
    again = f"`{resume_command(verb, folder)}`"
    if not (folder / DIGESTS).is_file():
        raise InputError(
            f"{folder} has no {DIGESTS}, so its files can't be checked: an earlier version of ssl made it, or the file "
            f"was lost. {again} writes it."
        )
    for fault in _faults(folder, None):
        raise InputError(f"{fault}. Copy the run again, or write it again with {again}.")
    if CONFIG not in read_json_object(folder / DIGESTS):
        raise InputError(f"{folder / DIGESTS} is damaged: it does not name {CONFIG}. {again} writes it again.")


def check_digests_to_resume(folder: Path) -> None:
    """Raise InputError if a finished run can't be resumed, because a file that it would read again has changed."""
    if is_finished(folder) and (folder / DIGESTS).is_file():
        for fault in _faults(folder, READ_AGAIN):
            raise InputError(f"{fault}. Copy it again, or start a new run.")


def _faults(folder: Path, names: tuple[str, ...] | None) -> Iterator[str]:
    """Yield what is wrong with each of these files, by default all; a file is read when its turn comes."""
    files = state_files(folder)
    for name, digest in read_json_object(folder / DIGESTS).items():
        if names is not None and name not in names:
            continue
        if name not in files:
            yield f"{folder / name[:MAX_NAME_CHARS]} is missing"
            continue
        try:
            actual = sha256_of(files[name]).hex()
        except OSError as error:
            raise InputError(f"{files[name]} can't be read: {error.strerror}.") from error
        if actual != digest:
            yield f"{files[name]} is damaged: its content has changed since the run ended"
