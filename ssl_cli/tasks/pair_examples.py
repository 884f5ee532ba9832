"""Examples of text generation parsed from records: a source, and the target to write."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ssl_cli.tasks.examples import json_id, text_field

SOURCE, TEXT, TARGET = "source", "text", "target"  # names that a user's own record may also use


@dataclass(frozen=True, slots=True)
class TextPair:
    """A source and its target, None if it is unknown."""

    id: int | str | None
    source: str
    target: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether its source is empty."""
        return not self.source


@dataclass(frozen=True)
class PairColumns:
    """The columns of a record that hold its fields. Of several names for a field, the first that exists is used."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    id: tuple[str, ...] = ()
    dropped: ClassVar[tuple[str, ...]] = ()

    def labelled_example(self, record: Mapping[str, Any], index: int, needs_label: bool, is_coded: bool) -> TextPair:
        """Return the pair of a record; `index` is its position in the file, from 0.

        Raises InvalidExample if there is no source or, where it is needed, no target.
        """
        return self.pair(record, index, needs_label, needs_label)

    def example_of_user(self, record: Mapping[str, Any]) -> TextPair:
        """Return the pair of a user's record, which may also name its fields source or text, and target.

        Raises InvalidExample if it has no such column, or its source is empty.
        """
        source = tuple(dict.fromkeys((*self.source, SOURCE, TEXT)))
        target = tuple(dict.fromkeys((*self.target, TARGET)))
        return replace(self, source=source, target=target).pair(record, None, True, False)

    def pair(self, record: Mapping[str, Any], index: int | None, needs_source: bool, needs_target: bool) -> TextPair:
        """Return the pair of a record. Raises InvalidExample if a text is missing that is needed."""
        source = text_field(record, self.source, "source", needs_source)
        has_target = needs_target or any(name in record for name in self.target)
        target = text_field(record, self.target, "target", needs_target) if has_target else ""
        ids = (json_id(record[name]) for name in self.id if record.get(name) not in (None, ""))
        return TextPair(next(ids, index), source, target or None)
