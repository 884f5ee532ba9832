"""Help pages of a verb: `ssl VERB --help` shows what one needs first, `ssl VERB --help --all` everything.

Which options come first is declared in the verb's `VerbSpec`; examples are the comment at the top of its YAML.
"""

from collections.abc import Iterator
from functools import partial
from itertools import groupby, takewhile
from typing import Any

from omegaconf import Container, OmegaConf
from omegaconf.errors import MissingMandatoryValue

from ssl_cli import console
from ssl_cli.cli.options import Option, options
from ssl_cli.config.choices import Choice, built_in_conf, choices, default_choices, did_you_mean, suitable_choices
from ssl_cli.config.instantiate import read_yaml
from ssl_cli.config.typecheck import expected
from ssl_cli.config.verbs import VERBS
from ssl_cli.errors import InputError
from ssl_cli.printable import Part, Styled

COLUMNS = ["option", "default", "what it is"]
LISTED = {"model": "models", "data": "data", "task": "tasks"}  # group -> what `ssl list` calls its choices
MEANINGS = {  # group -> what its choice is, on the short page
    "data": "what it learns from",
    "model": "what learns",
    "task": "what is learned",
    "tokenizer": "how text is cut into tokens",
}


def print_verb_help(verb: str, overrides: list[str], everything: bool = False) -> None:
    """Print the short help page of a verb, or with `everything` the whole.

    For each `group=choice` among the overrides, print its YAML too: the comments in it are its help. Raises InputError
    if an override is not such a choice.
    """
    shown = [_choice(verb, word) for word in overrides]
    for part in full_page(verb, shown) if everything else short_page(verb, shown):
        console.say(part)


def short_page(verb: str, shown: list[Choice]) -> Iterator[Part]:
    """Yield the page for a start: examples, the options that matter most; or only the options of the choices shown."""
    yield _bold(f"usage: ssl {verb} [option=value ...]")
    if shown:
        yield from map(_options_of_choice, shown)
        yield f"\n`ssl {verb} --help` shows the verb's main options, `ssl {verb} --help --all` every choice and option."
        return
    yield from _introduction(verb)
    defaults, composed = default_choices(verb), _composed(verb)
    by_name = {option.name: option for option in options(VERBS[verb].options)}
    rows = [
        _group_row(name, verb, defaults[name]) if name in defaults else _row(by_name[name], composed)
        for name in VERBS[verb].main_options
    ]
    yield console.table("", COLUMNS, rows)
    group = next((name for name in ("model", "data") if name in defaults), None)
    yield f"\n`ssl {verb} {group}=NAME --help` shows the options of a choice." if group else ""
    yield f"`ssl {verb} --help --all` shows every {'choice and ' if group else ''}option."


def full_page(verb: str, shown: list[Choice]) -> Iterator[Part]:
    """Yield the page with all choices and all options, in groups."""
    sweep = "[-m for a sweep: option=a,b] " if VERBS[verb].makes_runs else ""
    yield _bold(f"usage: ssl {verb} [option=value ...] {sweep}[--cfg job to print the config]")
    yield from _introduction(verb)
    for group, default in default_choices(verb).items():
        if useful := list(suitable_choices(group, verb).values()):
            yield console.table("", [group, ""], [*_choice_rows(group, useful, default)])
    composed = _composed(verb)
    of_node = partial(sorted, key=lambda option: "." in option.name)  # the verb's own options first
    for node, members in groupby(of_node(options(VERBS[verb].options)), key=_node):
        title = f"\noptions of {node}" if node else f"\noptions of ssl {verb}"
        yield console.table(title, COLUMNS, [_row(option, composed) for option in members])
    yield from map(_options_of_choice, shown)


def _choice(verb: str, word: str) -> Choice:
    """Return the choice that `group=name` names. Raises InputError if there is none, or none for this verb."""
    group, _, name = word.lstrip("+").partition("=")
    if group not in default_choices(verb):
        raise InputError(f"{word} --help: only choices have help of their own, such as model=NAME or data=NAME.")
    known, suitable = choices(group), suitable_choices(group, verb)
    if name not in known:
        raise InputError(f"{word} is not a choice.{did_you_mean(name, suitable)} Choices: {', '.join(suitable)}.")
    return known[name]


def _composed(verb: str) -> Container:
    """Return the verb's config with its default choices, whose references stay as they are."""
    primary = read_yaml(built_in_conf() / f"{verb}.yaml")
    defaults = {group: name for group, name in default_choices(verb).items() if name != "null"}
    return OmegaConf.merge({group: read_yaml(choices(group)[name].path) for group, name in defaults.items()}, primary)


# --- parts of a page ----------------------------------------------------------------------------------------


def _introduction(verb: str) -> Iterator[Part]:
    """Yield the comment at the top of the verb's YAML: what it does, and example commands."""
    lines = (built_in_conf() / f"{verb}.yaml").read_text(encoding="utf-8").splitlines()
    comment = (line[2:] for line in takewhile(lambda line: line.startswith("#"), lines))
    for is_example, members in groupby(comment, key=lambda line: line.startswith(" ")):
        yield Styled().append(("\n" if is_example else " ").join(members), "italic")
    yield ""


def _options_of_choice(choice: Choice) -> Part:
    """Return the YAML of a choice below a line that says how to override it."""
    title = f"\n{choice.group}={choice.name}: override these as {choice.group}.KEY=...\n"
    return _bold(title).append(choice.path.read_text(encoding="utf-8").rstrip())


def _row(option: Option, composed: Container) -> list[str]:
    """Return an option's row of a table: its name, default, and what it is, with its unit and type."""
    return [option.name, _default(composed, option.name), f"{option.description} ({expected(option.hint)})"]


def _default(composed: Container, name: str) -> str:
    """Return the default of an option as it is written in YAML."""
    try:
        value: Any = OmegaConf.select(composed, name, throw_on_missing=True)
    except MissingMandatoryValue:
        return "(required)"
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def _group_row(group: str, verb: str, default: str) -> list[str]:
    """Return a config group's row on the short page, with the names of its choices."""
    names = [_with_marks(name, False, choice.built_in) for name, choice in suitable_choices(group, verb).items()]
    folders = dict.fromkeys(f"{name.partition('/')[0]}/..." if "/" in name else name for name in names)
    listed = f"; `ssl list {LISTED[group]}` describes them" if group in LISTED else ""
    return [group, default, f"{MEANINGS[group]}: {', '.join(folders)}{listed}"]


def _choice_rows(group: str, useful: list[Choice], default: str) -> Iterator[list[str]]:
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


def _node(option: Option) -> str:
    """Return the part of the config that an option belongs to, such as trainer; "" for the verb's own."""
    return option.name.rpartition(".")[0]


def _with_marks(text: str, is_default: bool, built_in: bool) -> str:
    return text + (" [default]" if is_default else "") + ("" if built_in else " [yours]")


def _bold(text: str) -> Styled:
    return Styled().append(text, "bold")
