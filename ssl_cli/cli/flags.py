"""Flags of a verb's command line: those that ssl obeys, and what does the job of Hydra's others. Imports no Hydra."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ssl_cli.config.choices import did_you_mean
from ssl_cli.errors import InputError

CONFIG_KINDS = ("job", "hydra", "all")  # for --cfg
INFO_KINDS = ("all", "defaults", "searchpath")  # for --info
WITH_VALUE = ("--cfg", "--package", "--config-dir")
ACTIONS = ("--multirun", "--run", "--cfg", "--info")  # what is done with the config: one of them
OBEYED = (*ACTIONS, "--resolve", "--package", "--config-dir", "--help", "--all", "--version")
FLAG_LIST = "-m, --cfg job, --resolve, --package, --info, --config-dir, --help [--all]"
SHORT = {
    "-h": "--help", "-c": "--cfg", "-p": "--package", "-r": "--run", "-m": "--multirun", "-i": "--info",
    "-cd": "--config-dir", "-cn": "--config-name", "-cp": "--config-path", "-sc": "--shell-completion",
}  # fmt: skip
INSTEAD = {  # Hydra's other flags -> what does their job here
    "--hydra-help": "`ssl {verb} --help` lists the options.",
    "--shell-completion": "`ssl completion bash` (or zsh, fish) prints the script that completes.",
    "--config-path": "the built-in configs stay; --config-dir FOLDER adds a folder that is searched before them.",
    "--config-name": "the verb names the config; a recipe of yours is conf/experiment/NAME.yaml, chosen by "
    "experiment=NAME.",
    "--experimental-rerun": "`ssl {verb} resume=RUN` continues a run, and its config.yaml has every option.",
}


@dataclass
class CommandLine:
    """Words after the verb: `words` are its overrides, the rest are its flags."""

    words: list[str] = field(default_factory=list)
    flags: dict[str, str] = field(default_factory=dict)  # long name -> its value, "" if it takes none

    @property
    def config_dir(self) -> str | None:
        """The folder of configs that the command line adds."""
        return self.flags.get("--config-dir")


def parse_flags(verb: str, arguments: list[str]) -> CommandLine:
    """Return the flags and the overrides of a command line.

    Raises InputError for a word that is neither, for a flag of Hydra that ssl does not have, and for flags that have
    no effect beside the others.
    """
    line, rest = CommandLine(), iter(arguments)
    for word in rest:
        if word.startswith("-"):
            _add_flag(line, verb, word, rest)
        elif "=" in word or word.startswith("~"):
            line.words.append(word)
        elif line.flags and next(reversed(line.flags)) == "--info" and not line.flags["--info"]:
            line.flags["--info"] = _checked("--info", word, INFO_KINDS)
        else:
            raise InputError(f"{word} is neither an option=value nor a flag{_flag_list(word)}.")
    _check_together(verb, line.flags)
    return line


def _add_flag(line: CommandLine, verb: str, word: str, rest: Iterator[str]) -> None:
    name, equals, value = word.partition("=")
    name = SHORT.get(name, name)
    if name in INSTEAD:
        raise InputError(f"ssl has no {name}: {INSTEAD[name].format(verb=verb)}")
    if name not in OBEYED:
        raise InputError(f"{word} is neither an option=value nor a flag{_flag_list(name)}.")
    if name in line.flags:
        raise InputError(f"{name} is there twice: leave one of them out.")
    if name in WITH_VALUE:
        value = value if equals else next(rest, "")
        if not value:
            raise InputError(f"{name} needs a value: {_example(name)}.")
    elif equals and name != "--info":
        raise InputError(f"{name} takes no value, so write {name} alone.")
    if name == "--cfg" or (value and name == "--info"):
        _checked(name, value, CONFIG_KINDS if name == "--cfg" else INFO_KINDS)
    line.flags[name] = value


def _checked(name: str, value: str, kinds: tuple[str, ...]) -> str:
    if value not in kinds:
        raise InputError(f"{name} takes {', '.join(kinds[:-1])} or {kinds[-1]}, not {value}.")
    return value


def _check_together(verb: str, flags: dict[str, str]) -> None:
    """Raise InputError for two flags of which only one can be obeyed, and for one without that which it belongs to."""
    if {"--help", "--version"} & set(flags):
        return  # the page, whatever else is there
    if "--all" in flags:
        raise InputError(f"--all belongs to --help: `ssl {verb} --help --all` shows every option.")
    actions = [name for name in ACTIONS if name in flags]
    if len(actions) > 1:
        raise InputError(f"{' and '.join(actions)}: only one of them can be obeyed; leave out the others.")
    for name in ("--resolve", "--package"):
        if name in flags and "--cfg" not in flags:
            raise InputError(f"{name} belongs to --cfg: {_example(name)}; without it nothing is printed.")


def _example(name: str) -> str:
    return {
        "--cfg": "`--cfg job` prints the config",
        "--package": "`--cfg job --package model` prints the part of the config called model",
        "--resolve": "`--cfg job --resolve` prints the config with its references resolved",
        "--config-dir": "`--config-dir FOLDER` adds a folder of configs",
    }[name]


def _flag_list(word: str) -> str:
    hint = did_you_mean(word, OBEYED) if word.startswith("--") else ""
    return f".{hint} Flags are {FLAG_LIST}" if hint else f"; flags are {FLAG_LIST}"
