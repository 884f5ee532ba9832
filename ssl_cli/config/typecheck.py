"""Type checks of plain values from YAML against annotations, and descriptions of what an annotation expects."""

import dataclasses
import inspect
import json
import re
import sys
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ssl_cli.config.types import Pattern, Range


def fits(value: Any, annotation: Any) -> bool:
    """Return whether a plain value from YAML conforms to an annotation."""
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation is Any or annotation is inspect.Parameter.empty:
        return True
    if origin is Annotated:
        return fits(value, args[0]) and all(_obeys(rule, value) for rule in args[1:])
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
    if getattr(annotation, "_is_protocol", False):
        return False  # a plain value has none of its methods, and Python may refuse to look for them
    return isinstance(value, annotation) if inspect.isclass(annotation) else True


def _obeys(rule: Any, value: Any) -> bool:
    if isinstance(rule, Range):
        return isinstance(value, int | float) and rule.contains(value)
    if isinstance(rule, Pattern):
        return isinstance(value, str) and re.fullmatch(rule.regex, value) is not None
    return True


def expected(annotation: Any) -> str:
    """Return a description of what an annotation expects, such as `a whole number of at least 1 or null`."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        for rule in args[1:]:
            if isinstance(rule, Pattern):
                return rule.description
        return " ".join([expected(args[0]), *(str(rule) for rule in args[1:] if isinstance(rule, Range))])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(expected(option) for option in args))
    if origin is Literal:
        return "one of " + ", ".join(str(option) for option in args)
    if origin in (list, tuple):
        return f"a list, each {expected(args[0])}" if args else "a list"
    names = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}
    if annotation in names:
        return names[annotation]
    if annotation is Any or dataclasses.is_dataclass(annotation):
        return "a group of options"
    return (
        "a group of options" if origin is dict or not inspect.isclass(annotation) else with_article(annotation.__name__)
    )


def class_in(annotation: Any) -> Any:
    """Return the class within `Annotated[...]` and `... | None`, or None if there is no single class."""
    if get_origin(annotation) is Annotated:
        return class_in(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        options = [option for option in get_args(annotation) if option is not type(None)]
        return class_in(options[0]) if len(options) == 1 else None
    return annotation if inspect.isclass(annotation) and annotation is not Any else None


def provides(target: Any, protocol: type) -> bool:
    """Return whether a class has every method that a Protocol requires, without building an object of it."""
    required = {
        name
        for base in protocol.__mro__
        if getattr(base, "_is_protocol", False)
        for name, value in vars(base).items()
        if name[0] != "_" and (inspect.isfunction(value) or isinstance(value, property))
    }
    return all(hasattr(target, name) for name in required)


def is_a(target: Any, base: type) -> bool:
    """Return whether a class is a subclass of another, or provides a Protocol."""
    if getattr(base, "_is_protocol", False):
        return provides(target, base)
    return inspect.isclass(target) and issubclass(target, base)


def with_article(noun: str) -> str:
    """Return a noun with "a" or "an" before it."""
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def hint_of_quotes(where: str, value: Any, annotation: Any) -> str:
    """Return how quotes make a value fit, where a name such as 123 was taken for a number, or brackets; "" if not."""
    items = value if isinstance(value, list) else [value]
    if not items or not all(type(item) in (str, bool, int, float) for item in items):
        return ""
    texts = [str(item).lower() if isinstance(item, bool) else str(item) for item in items]
    if not isinstance(value, list) and fits(texts[0], annotation):
        return f" Quotes make a text of it: '{where}={json.dumps(texts[0])}'."
    if isinstance(value, str) and fits([value], annotation):
        return f" Brackets make a list of it: '{where}=[{value}]'."
    if fits(texts, annotation):
        return f" Quotes make texts of them: '{where}=[{', '.join(map(json.dumps, texts))}]'."
    return ""
