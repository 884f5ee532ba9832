"""The typed options of a verb: their names, what they are, and which words they may be set to. Imports no OmegaConf."""

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ssl_cli.config.run import INTERNAL
from ssl_cli.config.types import Pattern


@dataclass(frozen=True)
class Option:
    """An option by its dotted name, with its type and what it is."""

    name: str
    hint: Any
    description: str

    @property
    def words(self) -> list[str]:
        """Return the words that it may be set to, as far as its type lists them."""
        return list(_words(self.hint))

    @property
    def is_path(self) -> bool:
        """Return whether it may be set to a path."""
        return _is_path(self.hint)


def options(shell: type, prefix: str = "") -> Iterator[Option]:
    """Yield each option of a verb's config dataclass, nested ones included."""
    hints = typing.get_type_hints(shell, include_extras=True)
    for field in dataclasses.fields(shell):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from options(hint, f"{field.name}.")  # type: ignore[arg-type]
        elif field.name not in INTERNAL and not _is_node(hint):
            description = next((word for word in _marks(hint) if isinstance(word, str)), "")
            yield Option(f"{prefix}{field.name}", hint, description)


def _is_node(hint: Any) -> bool:
    return get_origin(hint) is Annotated and get_args(hint)[0] in (Any, dict[str, Any])


def _words(hint: Any) -> Iterator[str]:
    """Yield the members of a Literal, the plain words of a pattern, true and false of a bool, null if it is allowed."""
    if get_origin(hint) is Literal:
        yield from map(str, get_args(hint))
    elif hint is bool:
        yield from ("true", "false")
    elif hint is type(None):
        yield "null"
    else:
        patterns = [mark.regex for mark in _marks(hint) if isinstance(mark, Pattern)]
        yield from (word for regex in patterns for word in regex.split("|") if word.isalnum())
        yield from (word for part in _parts(hint) for word in _words(part))


def _is_path(hint: Any) -> bool:
    is_marked = any(isinstance(mark, Pattern) and mark.description.startswith("a path") for mark in _marks(hint))
    return is_marked or any(map(_is_path, _parts(hint)))


def _marks(hint: Any) -> tuple[Any, ...]:
    """Return what annotates a type, such as its range or pattern."""
    return get_args(hint)[1:] if get_origin(hint) is Annotated else ()


def _parts(hint: Any) -> tuple[Any, ...]:
    """Return the types that an annotated type or a union consists of; none for a plain type."""
    if get_origin(hint) is Annotated:
        return get_args(hint)[:1]
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else ()
