"""Reading of a JSON file of fitted state in a run folder, which may be untrusted."""

import json
from pathlib import Path
from typing import Any

from ssl_cli.errors import InputError

MAX_FILE_BYTES = 1 << 28


def read_state(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file. Raises InputError if the file cannot be read, is too large or has no object."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(f"{path} is damaged: it has more than {MAX_FILE_BYTES:,} bytes.")
        state = json.loads(path.read_text(encoding="utf-8"))
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"{path} can't be read: {error.strerror}.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged: {error}.") from error
    if not isinstance(state, dict):
        raise InputError(f"{path} is damaged: it must be an object.")
    return state
