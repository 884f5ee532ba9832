"""`ssl VERB --help`: the config groups with their choices, and the options that matter with their units."""

import dataclasses
import typing
from collections.abc import Iterator
from itertools import groupby, takewhile
from typing import Annotated, Any, get_args, get_origin

from omegaconf import OmegaConf

from ssl_cli import console
from ssl_cli.config import SHELLS
from ssl_cli.config.choices import Choice, built_in_conf, choices, groups, nearest, verb_of
from ssl_cli.config.instantiate import read_yaml, target_of
from ssl_cli.config.run import RunConfig
from ssl_cli.config.train_verbs import TEXT_HOMES
from ssl_cli.config.typecheck import expected
from ssl_cli.errors import InputError

INTERNAL = {"verb", "choices", "summary_metrics", "facts"}


def verb_help(verb: str, overrides: list[str]) -> None:
    """Print it. With `group=choice` among the overrides, the YAML of that choice too: its comments are its help."""
    shown = [_choice(word) for word in overrides]
    primary = read_yaml(built_in_conf() / f"{verb}.yaml")
    defaults = {
        group: name for entry in primary.get("defaults", []) if entry != "_self_" for group, name in entry.items()
    }
    composed = OmegaConf.merge(
        {group: read_yaml(choices(group)[name].path) for group, name in defaults.items() if name}, primary
    )
    lines = (built_in_conf() / f"{verb}.yaml").read_text(encoding="utf-8").splitlines()
    sweep = "[-m for a sweep: option=a,b] " if issubclass(SHELLS[verb], RunConfig) else ""
    console.say(f"usage: ssl {verb} [option=value ...] {sweep}[--cfg job to print the config]", style="bold")
    for line in takewhile(lambda line: line.startswith("#"), lines):
        console.say(line.removeprefix("#").removeprefix(" "), style="italic")
    for group, default in defaults.items():
        served = [choice for choice in choices(group).values() if _serves(choice, SHELLS[verb])]
        if served:
            console.say(console.table("", [group, ""], [*_rows(group, served, default)]))
    rows = [[name, _shown(OmegaConf.select(composed, name)), about] for name, about in options(SHELLS[verb], "")]
    console.say(console.table("", ["option", "default", "what it is"], rows))
    for choice in shown:
        console.say(f"\n{choice.group}={choice.name}: override these as {choice.group}.KEY=...", style="bold")
        console.say(choice.path.read_text(encoding="utf-8").rstrip())
    if defaults and not overrides:
        group = "model" if "model" in defaults else next(iter(defaults))
        console.say(f"\n`ssl {verb} {group}=NAME --help` shows a choice's own options too.")


def _choice(word: str) -> Choice:
    """The choice that `group=name` makes; InputError where there is none."""
    group, _, name = word.partition("=")
    if group not in groups():
        raise InputError(f"{word} --help: only choices have help of their own, such as model=NAME or data=NAME.")
    known = choices(group)
    if name not in known:
        raise InputError(f"{word} is no choice.{nearest(name, known)} It has {', '.join(known)}.")
    return known[name]


def options(shell: type, prefix: str) -> Iterator[tuple[str, str]]:
    """(name, what it is and what it may be) of each option of a config dataclass, nested ones included."""
    hints = typing.get_type_hints(shell, include_extras=True)
    for field in dataclasses.fields(shell):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield from options(hint, f"{field.name}.")  # type: ignore[arg-type]
        elif field.name not in INTERNAL and not _is_node(hint):
            sentence = next((word for word in get_args(hint)[1:] if isinstance(word, str)), "")
            yield f"{prefix}{field.name}", f"{sentence} ({expected(hint)})"


def _serves(choice: Choice, shell: type) -> bool:
    """Whether a choice is any use to a verb, as far as the home of its class tells; the user's own are all shown."""
    group = choice.group
    if group == "experiment":
        return SHELLS.get(verb_of(choice) or "", shell) is shell
    if not choice.built_in or group not in TEXT_HOMES:
        return True
    home, target = getattr(shell, "homes", {}).get(group, ("",)), str(target_of(group, choice.name))
    is_of_text, wants_text = target.startswith(TEXT_HOMES[group]), home == TEXT_HOMES[group]
    return target.startswith(home) and is_of_text == wants_text


def _rows(group: str, served: list[Choice], default: str | None) -> Iterator[list[str]]:
    """A choice a row; those in a folder of their group share one, by their names alone."""
    for folder, some in groupby(served, key=lambda choice: choice.name.rpartition("/")[0]):
        if not folder:
            yield from ([f"{group}={one.name}", _about(one.summary, one.name == default, one.built_in)] for one in some)
            continue
        names = [_about(one.name.removeprefix(f"{folder}/"), one.name == default, one.built_in) for one in some]
        yield [f"{group}={folder}/...", ", ".join(names)]


def _is_node(hint: Any) -> bool:
    return get_origin(hint) is Annotated and get_args(hint)[0] in (Any, dict[str, Any])


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)


def _about(summary: str, is_default: bool, built_in: bool) -> str:
    return summary + (" [default]" if is_default else "") + ("" if built_in else " [yours]")
