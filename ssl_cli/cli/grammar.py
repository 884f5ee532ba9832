"""Hydra's grammar of overrides: a word of the command line is parsed, and quoted first where the grammar needs it."""

import re
from collections.abc import Iterator

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from ssl_cli.config.instantiate import quote
from ssl_cli.errors import InputError

MAX_QUOTED_CHARS = 60  # of a word in a message
FREE_TEXT = {"text", "prompt", "pair", "question", "context"}  # options whose value is prose
FUNCTION = re.compile(r"(choice|sort|shuffle|tag|glob|extend_list|str|int|float|bool|json_str)\((.*)\)", re.DOTALL)
ARGUMENT = re.compile(r"(list|sweep|tags|include|exclude|reverse|args|value)=(.*)", re.DOTALL)
CLOSING = {"[": "]", "{": "}", "(": ")"}


def parse_override(word: str) -> Override:
    """Parse one override. Raises InputError if it is not option=value.

    What is outside Hydra's grammar in a value, such as a path with an = sign or in Chinese, is quoted first: each value
    of a list or of a sweep by itself.
    """
    key, equals, text = word.partition("=")
    if key.lstrip("+") in FREE_TEXT and text != "null" and not _is_quoted(text):
        word = f"{key}={quote(text)}".replace("${", r"\${")
    if (override := _parsed(word)) or (override := _parsed(f"{key}={quote_parts(text)}")):
        return override
    if equals and (override := _parsed(f"{key}={quote(text)}")):
        return override
    raise InputError(
        f"{word} can't be read as option=value: {key or 'nothing'} is not a name of an option, which has letters, "
        "digits and _, with dots between its parts."
    )


def _parsed(word: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:
        return None
    except ValueError as error:
        raise InputError(f"{word[:MAX_QUOTED_CHARS]}... has a number of too many digits.") from error


def quote_parts(text: str) -> str:
    """Return a value with quotes around each part of it that the grammar can't read: in a list, a sweep, a function."""
    parts = list(_split(text))
    if len(parts) > 1:
        return ",".join(quote_parts(part) for part in parts)
    item = text.strip()
    if _parsed(f"x={item}"):
        return item
    if item[:1] == "[" and item[-1:] == "]":
        return f"[{quote_parts(item[1:-1])}]"
    if item[:1] == "{" and item[-1:] == "}":
        pairs = [part.partition(":") for part in _split(item[1:-1])]
        return f"{{{','.join(f'{key}{colon}{quote_parts(value)}' for key, colon, value in pairs)}}}"
    if match := FUNCTION.fullmatch(item):
        return f"{match[1]}({','.join(map(_quote_argument, _split(match[2])))})"
    return quote(item)


def _quote_argument(text: str) -> str:
    match = ARGUMENT.fullmatch(text.strip())
    return f"{match[1]}={quote_parts(match[2])}" if match else quote_parts(text)


def _split(text: str) -> Iterator[str]:
    """Yield the parts of a text between its commas; those in quotes and in brackets separate nothing.

    A quote opens only at the start of a part, so that an apostrophe is none. A bracket that stays open is a letter.
    """
    start, place, waiting = 0, 0, list[str]()
    while place < len(text):
        character, rest = text[place], text[start:place].strip()
        at_start = not rest or rest[-1] in "[{(,:="
        if character in "'\"" and at_start and (end := _end_of_quotes(text, place)):
            place = end
        elif character in CLOSING and CLOSING[character] in text[place:]:
            waiting.append(CLOSING[character])
        elif waiting and character == waiting[-1]:
            waiting.pop()
        elif character == "," and not waiting:
            yield text[start:place]
            start = place + 1
        place += 1
    yield text[start:]


def _end_of_quotes(text: str, start: int) -> int | None:
    """Return the place of the quote that closes the one at `start`, or None if it stays open."""
    match = re.compile(rf"{text[start]}(?:\\.|[^\\{text[start]}])*{text[start]}", re.DOTALL).match(text, start)
    return match.end() - 1 if match else None


def _is_quoted(text: str) -> bool:
    """Return whether the whole text is in quotes, or is a list of quoted texts.

    In any other text commas are punctuation, not separators of a sweep.
    """
    if not text.startswith(("'", '"', "['", '["')):
        return False
    override = _parsed(f"text={text}")
    return override is not None and not override.is_sweep_override()
