"""A plain value from YAML against a type annotation: does it fit, and what would, in words."""

import dataclasses
import inspect
import re
import sys
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ssl_cli.config.types import Pattern, Range


def fits(value: Any, annotation: Any) -> bool:
    """Whether a plain value from YAML is what the annotation asks for."""
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation is Any or annotation is inspect.Parameter.empty:
        return True
    if origin is Annotated:
        return fits(value, args[0]) and all(_admits(rule, value) for rule in args[1:])
    if origin in (Union, types.UnionType):
        return any(fits(value, option) for option in args)
    if origin is Literal:
        return any(value == option and type(value) is type(option) for option in args)
    if origin in (list, tuple):
        inner = [arg for arg in args if arg is not Ellipsis] or [Any]
        if not isinstance(value, list) or (origin is tuple and Ellipsis not in args and len(args) != len(value)):
            return False
        return all(fits(item, inner[min(index, len(inner) - 1)]) for index, item in enumerate(value))
    if origin is dict:
        return isinstance(value, dict) and all(fits(item, args[1]) for item in value.values())
    if annotation in (None, type(None)):
        return value is None
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, annotation) if inspect.isclass(annotation) else True


def _admits(rule: Any, value: Any) -> bool:
    if isinstance(rule, Range):
        return isinstance(value, int | float) and rule.admits(value)
    if isinstance(rule, Pattern):
        return isinstance(value, str) and re.fullmatch(rule.regex, value) is not None
    return True


def expected(annotation: Any) -> str:
    """What the annotation asks for, in words: `a whole number of at least 1 or null`."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        for rule in args[1:]:
            if isinstance(rule, Pattern):
                return rule.words
        return " ".join([expected(args[0]), *(str(rule) for rule in args[1:] if isinstance(rule, Range))])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(expected(option) for option in args))
    if origin is Literal:
        return "one of " + ", ".join(str(option) for option in args)
    if origin in (list, tuple):
        return f"a list, each {expected(args[0])}" if args else "a list"
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}
    if annotation in words:
        return words[annotation]
    if annotation is Any or dataclasses.is_dataclass(annotation):
        return "a group of options"
    return "a group of options" if origin is dict or not inspect.isclass(annotation) else article(annotation.__name__)


def bare(annotation: Any) -> Any:
    """The class behind `Annotated[...]` and `... | None`; None for what is no class."""
    if get_origin(annotation) is Annotated:
        return bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        options = [option for option in get_args(annotation) if option is not type(None)]
        return bare(options[0]) if len(options) == 1 else None
    return annotation if inspect.isclass(annotation) and annotation is not Any else None


def article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
