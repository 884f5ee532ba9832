"""ssl list: tables of the available models, data sets and tasks, and of the runs."""

from ssl_cli import console
from ssl_cli.config.choices import choices, did_you_mean
from ssl_cli.errors import InputError
from ssl_cli.runs import table

LISTS = {"models": "model", "data": "data", "tasks": "task", "runs": ""}  # word -> config group
FLAGS = ("--sort", "--best")
OUTPUTS = "paths.outputs"


def run(arguments: list[str]) -> None:
    """Print `ssl list [models|data|tasks|runs] [option=value ...] [--sort KEY] [--best METRIC]`; all without a word.

    Options and flags are for runs. Raises InputError for an unknown word.
    """
    words, options, flags = _parse(arguments)
    outputs = options.pop(OUTPUTS, "outputs")
    if (options or flags) and words != ["runs"]:
        raise InputError(f"{', '.join([*options, *flags])} is for runs: use `ssl list runs ...`.")
    for word in words or LISTS:
        if word == "runs":
            table.print_runs(outputs, options, flags.get("--sort"), flags.get("--best"))
        else:
            _print_choices(LISTS[word])


def _parse(arguments: list[str]) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """Return the words, options and flags of the command line."""
    words: list[str] = []
    options, flags = {}, {}
    remaining = iter(arguments)
    for word in remaining:
        flag, _, value = word.partition("=")
        if flag in FLAGS:
            flags[flag] = value or next(remaining, "")
            if not flags[flag]:
                raise InputError(f"{flag} needs a name, for example {flag} test/auroc.")
        elif "=" in word and not word.startswith("-"):
            options[flag] = value
        elif word in LISTS:
            words.append(word)
        else:
            known = [*LISTS, *FLAGS]
            raise InputError(f"ssl list has no {word}.{did_you_mean(word, known)} It lists {', '.join(LISTS)}.")
    if len(flags) > 1:
        raise InputError("--sort and --best both set the order: use only one of them.")
    return words, options, flags


def _print_choices(group: str) -> None:
    """Print the choices of a config group, the user's own marked as such."""
    rows = [[choice.name, choice.summary, "" if choice.built_in else "yours"] for choice in choices(group).values()]
    if not rows:
        console.say(f"{group}: none yet; add a YAML file to conf/{group}/.")
        return
    has_own = any(row[2] for row in rows)
    cells = rows if has_own else [row[:2] for row in rows]
    console.say(console.table(f"{group}=", ["name", "what it is", *(["whose"] if has_own else [])], cells))
