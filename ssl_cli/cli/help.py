"""Help page of a verb, `ssl VERB --help`: config groups with their choices, and the options with their units."""

from collections.abc import Iterator
from itertools import groupby, takewhile
from typing import Any

from omegaconf import OmegaConf

from ssl_cli import console
from ssl_cli.cli.options import Option, options
from ssl_cli.config.choices import Choice, built_in_conf, choices, default_choices, did_you_mean, suitable_choices
from ssl_cli.config.instantiate import read_yaml
from ssl_cli.config.typecheck import expected
from ssl_cli.config.verbs import VERBS
from ssl_cli.errors import InputError


def print_verb_help(verb: str, overrides: list[str]) -> None:
    """Print the help page of a verb.

    For each `group=choice` among the overrides, print its YAML too: the comments in it are its help. Raises InputError
    if an override is not such a choice.
    """
    shown, spec = [_choice(verb, word) for word in overrides], VERBS[verb]
    primary = read_yaml(built_in_conf() / f"{verb}.yaml")
    defaults = {
        group: name for entry in primary.get("defaults", []) if entry != "_self_" for group, name in entry.items()
    }
    composed = OmegaConf.merge(
        {group: read_yaml(choices(group)[name].path) for group, name in defaults.items() if name}, primary
    )
    lines = (built_in_conf() / f"{verb}.yaml").read_text(encoding="utf-8").splitlines()
    sweep = "[-m for a sweep: option=a,b] " if spec.makes_runs else ""
    console.say(f"usage: ssl {verb} [option=value ...] {sweep}[--cfg job to print the config]", style="bold")
    for line in takewhile(lambda line: line.startswith("#"), lines):
        console.say(line.removeprefix("#").removeprefix(" "), style="italic")
    for group, default in defaults.items():
        useful = list(suitable_choices(group, verb).values())
        if useful:
            console.say(console.table("", [group, ""], [*_rows(group, useful, default)]))
    rows = [
        [option.name, _format_default(OmegaConf.select(composed, option.name)), _description(option)]
        for option in options(spec.options)
    ]
    console.say(console.table("", ["option", "default", "what it is"], rows))
    for choice in shown:
        console.say(f"\n{choice.group}={choice.name}: override these as {choice.group}.KEY=...", style="bold")
        console.say(choice.path.read_text(encoding="utf-8").rstrip())
    if defaults and not overrides:
        group = "model" if "model" in defaults else next(iter(defaults))
        console.say(f"\n`ssl {verb} {group}=NAME --help` also shows the options of that choice.")


def _choice(verb: str, word: str) -> Choice:
    """Return the choice that `group=name` names. Raises InputError if there is none, or none for this verb."""
    group, _, name = word.lstrip("+").partition("=")
    if group not in default_choices(verb):
        raise InputError(f"{word} --help: only choices have help of their own, such as model=NAME or data=NAME.")
    known, suitable = choices(group), suitable_choices(group, verb)
    if name not in known:
        raise InputError(f"{word} is not a choice.{did_you_mean(name, suitable)} Choices: {', '.join(suitable)}.")
    return known[name]


def _description(option: Option) -> str:
    return f"{option.description} ({expected(option.hint)})"


def _rows(group: str, useful: list[Choice], default: str | None) -> Iterator[list[str]]:
    """Yield a table row for each choice; the choices of one subfolder share a row, with their names only."""
    for folder, members in groupby(useful, key=lambda choice: choice.name.rpartition("/")[0]):
        if not folder:
            yield from (
                [f"{group}={choice.name}", _with_marks(choice.summary, choice.name == default, choice.built_in)]
                for choice in members
            )
            continue
        names = [
            _with_marks(choice.name.removeprefix(f"{folder}/"), choice.name == default, choice.built_in)
            for choice in members
        ]
        yield [f"{group}={folder}/...", ", ".join(names)]


def _format_default(value: Any) -> str:
    return "null" if value is None else str(value)


def _with_marks(text: str, is_default: bool, built_in: bool) -> str:
    return text + (" [default]" if is_default else "") + ("" if built_in else " [yours]")
