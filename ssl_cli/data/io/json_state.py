"""What the data side learned, as a JSON file in a run folder, which may be a stranger's."""

import json
from pathlib import Path
from typing import Any

from ssl_cli.errors import InputError

LARGEST_FILE = 1 << 28  # bytes


def read_state(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises InputError where there is none."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(f"{path} is damaged: it has more than {LARGEST_FILE:,} bytes.")
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
