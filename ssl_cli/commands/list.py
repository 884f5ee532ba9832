"""ssl list: tables of the available models, data sets and tasks, of the runs, and of the checkpoints of a run."""

from ssl_cli import console
from ssl_cli.config.choices import choices, default_choices, did_you_mean, search_first, suitable_choices
from ssl_cli.config.instantiate import unquote
from ssl_cli.config.verbs import VERBS
from ssl_cli.errors import InputError
from ssl_cli.runs import table
from ssl_cli.runs.folder import LATEST

LISTS = {"models": "model", "data": "data", "tasks": "task", "runs": ""}  # word -> config group
CHECKPOINTS = "checkpoints"  # of one run: not in `ssl list` without a word
WORDS = (*LISTS, CHECKPOINTS)
RUN_FLAGS = ("--sort", "--best")
CONFIG_DIR = "--config-dir"
FLAGS = (*RUN_FLAGS, CONFIG_DIR)
OUTPUTS = "paths.outputs"


def run(arguments: list[str]) -> None:
    """Print `ssl list [models|data|tasks|runs] [option=value ...] [--sort KEY] [--best METRIC]`; all without a word.

    Options and flags are for runs; `ssl list checkpoints run=RUN` is of one run. Raises InputError for an unknown word.
    """
    words, options, flags = _parse(arguments)
    search_first(flags.pop(CONFIG_DIR, None))
    if CHECKPOINTS in words:
        _print_checkpoints(words, options, flags)
        return
    if (options or flags) and words != ["runs"]:
        raise InputError(f"{', '.join([*options, *flags])} is for runs: use `ssl list runs ...`.")
    outputs = options.pop(OUTPUTS, "outputs")
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
        flag = "--config-dir" if flag == "-cd" else flag
        if flag in flags or flag in options:
            raise InputError(f"{flag} is there twice: leave one of them out.")
        if flag in FLAGS:
            flags[flag] = value or next(remaining, "")
            if not flags[flag]:
                example = "FOLDER" if flag == CONFIG_DIR else "test/auroc"
                raise InputError(f"{flag} needs a name, for example {flag} {example}.")
        elif "=" in word and not word.startswith("-"):
            options[flag] = unquote(value)
        elif word in WORDS:
            words.append(word)
        else:
            known = [*WORDS, *FLAGS]
            raise InputError(f"ssl list has no {word}.{did_you_mean(word, known)} It lists {', '.join(WORDS)}.")
    if set(RUN_FLAGS) <= set(flags):
        raise InputError("--sort and --best both set the order: use only one of them.")
    return words, options, flags


def _print_checkpoints(words: list[str], options: dict[str, str], flags: dict[str, str]) -> None:
    """Print the checkpoints of the run that `run=` names, by default the latest."""
    unused = [word for word in (*words, *options, *flags) if word not in (CHECKPOINTS, "run", OUTPUTS)]
    if unused:
        raise InputError(f"{', '.join(unused)} has no effect on checkpoints: use `ssl list checkpoints run=RUN`.")
    # Reading them needs torch, and the other lists don't.
    from ssl_cli.commands.checkpoint_table import print_checkpoints

    print_checkpoints(options.get("run", LATEST), options.get(OUTPUTS, "outputs"))


def _print_choices(group: str) -> None:
    """Print the choices of a config group with the verbs that take them, the user's own marked as such."""
    found = choices(group).values()
    if not found:
        console.say(f"{group}: none yet; add a YAML file to conf/{group}/.")
        return
    takers = {verb: suitable_choices(group, verb) for verb in VERBS if group in default_choices(verb)}
    columns, cells = ["name", "what it is"], [[choice.name, choice.summary] for choice in found]
    if len(takers) > 1:
        columns.insert(1, "for ssl ...")
        for row in cells:
            row.insert(1, ", ".join(verb for verb, suitable in takers.items() if row[0] in suitable))
    if any(not choice.built_in for choice in found):
        columns.append("whose")
        for row, choice in zip(cells, found, strict=True):
            row.append("" if choice.built_in else "yours")
    console.say(console.table(f"{group}=", columns, cells))
