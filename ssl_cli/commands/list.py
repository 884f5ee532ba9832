"""ssl list: tables of what there is."""

from ssl_cli import console
from ssl_cli.config.choices import choices, nearest
from ssl_cli.errors import InputError
from ssl_cli.runs import table

LISTS = {"models": "model", "data": "data", "tasks": "task", "runs": ""}  # word -> config group
FLAGS = ("--sort", "--best")
OUTPUTS = "paths.outputs"


def run(arguments: list[str]) -> None:
    """`ssl list [models|data|tasks|runs] [option=value ...] [--sort KEY] [--best METRIC]`; without a word, all of them.

    Raises InputError for any other word. The options and flags are for runs.
    """
    words, options, flags = _sort(arguments)
    outputs = options.pop(OUTPUTS, "outputs")
    if (options or flags) and words != ["runs"]:
        raise InputError(f"{', '.join([*options, *flags])} is for runs: say `ssl list runs ...`.")
    for word in words or LISTS:
        if word == "runs":
            table.show(outputs, options, flags.get("--sort"), flags.get("--best"))
        else:
            _show_choices(LISTS[word])


def _sort(arguments: list[str]) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """Words, options and flags of the command line."""
    words: list[str] = []
    options, flags = {}, {}
    rest = iter(arguments)
    for word in rest:
        flag, _, value = word.partition("=")
        if flag in FLAGS:
            flags[flag] = value or next(rest, "")
            if not flags[flag]:
                raise InputError(f"{flag} takes a name: {flag} test/auroc, say.")
        elif "=" in word and not word.startswith("-"):
            options[flag] = value
        elif word in LISTS:
            words.append(word)
        else:
            known = [*LISTS, *FLAGS]
            raise InputError(f"ssl list has no {word}.{nearest(word, known)} It lists {', '.join(LISTS)}.")
    if len(flags) > 1:
        raise InputError("--sort and --best are two orders: name one.")
    return words, options, flags


def _show_choices(group: str) -> None:
    rows = [[choice.name, choice.summary, "" if choice.built_in else "yours"] for choice in choices(group).values()]
    if not rows:
        console.say(f"{group}: none yet; a YAML in conf/{group}/ is one.")
        return
    mine = any(row[2] for row in rows)
    cells = rows if mine else [row[:2] for row in rows]
    console.say(console.table(f"{group}=", ["name", "what it is", *(["whose"] if mine else [])], cells))
