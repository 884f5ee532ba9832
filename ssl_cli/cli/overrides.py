"""The words of a command line: flags, and overrides in Hydra's grammar, each held against what there is."""

from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException

from ssl_cli.config import SHELLS, used_options
from ssl_cli.config.choices import choices, groups, nearest, verb_of
from ssl_cli.config.instantiate import in_quotes, quoted
from ssl_cli.config.run import RunConfig
from ssl_cli.errors import InputError

INTERNAL = {"verb", "choices", "facts", "summary_metrics"}
HYDRAS_OWN = {
    "hydra.mode": "a sweep is -m",
    "hydra.sweep.dir": "sweeps go to paths.outputs",
    "hydra.job.chdir": "paths are relative to where you are",
}
TAKE_LISTS = {"logger"}  # groups of which a run may have several choices
RUNNING_TEXT = {"text", "prompt", "pair", "question", "context"}  # options
FLAGS = ("-m", "--multirun", "--resolve")


def sort_words(arguments: list[str]) -> tuple[set[str], str | None, list[str]]:
    """Flags, what `--cfg` asks for, and the overrides."""
    flags, kind, words = set(), None, []
    rest = iter(arguments)
    for word in rest:
        if word in ("--cfg", "-c"):
            kind = next(rest, "")
            if kind not in ("job", "hydra", "all"):
                raise InputError(f"--cfg takes job, hydra or all, not {kind or 'nothing'}.")
        elif word in FLAGS:
            flags.add(word)
        elif word.startswith("~") or ("=" in word and not word.startswith("-")):
            words.append(word)
        else:
            raise InputError(
                f"{word} is neither an option=value nor a flag; flags are -m, --cfg job, --resolve, --help."
            )
    return flags, kind, words


def parse(word: str) -> Override:
    """One override. A value that Hydra's grammar can't read (a path with blanks or in Chinese) is quoted for it."""
    parser = OverridesParser.create()
    key, _, text = word.partition("=")
    if key in RUNNING_TEXT and text != "null" and not _is_quoted(text):
        word = f"{key}={quoted(text)}".replace("${", r"\${")
    try:
        return parser.parse_override(word)
    except HydraException as error:
        key, _, value = word.partition("=")
        try:
            return parser.parse_override(f"{key}={in_quotes(value)}")
        except HydraException:
            raise InputError(f"{word} can't be read as option=value: {str(error).splitlines()[0]}.") from error


def _is_quoted(text: str) -> bool:
    """Whether running text is in quotes as a whole, or a list of such: its commas say nothing to Hydra otherwise."""
    if not text.startswith(("'", '"', "['", '["')):
        return False
    try:
        return not OverridesParser.create().parse_override(f"text={text}").is_sweep_override()
    except HydraException:
        return False


def given(overrides: list[Override], key: str, default: str) -> str:
    """The last value that the command line gives an option, where it gives one alone."""
    given = [override for override in overrides if override.key_or_group == key and not override.is_sweep_override()]
    value = given[-1].value() if given else None
    return default if value is None else str(value)


def forced(override: Override) -> str:
    """The override, allowed to name anything: `check` then says all that is wrong in one message."""
    if override.key_or_group.split(".")[0] in INTERNAL:
        raise InputError(f"{override.key_or_group} is not an option: ssl sets it by itself.")
    if override.key_or_group in HYDRAS_OWN:
        raise InputError(
            f"{override.key_or_group} is not for the command line of ssl: {HYDRAS_OWN[override.key_or_group]}."
        )
    text = str(override.input_line)
    is_group = override.key_or_group.split("@")[0] in groups() or "/" in override.key_or_group
    is_hydra = override.key_or_group.split(".")[0] == "hydra"
    return text if is_group or is_hydra or text[0] in "+~" else f"++{text}"


def check_choices(verb: str, overrides: list[Override], sweeping: bool) -> None:
    takes_any = issubclass(SHELLS[verb], RunConfig)
    faults = []
    for override in overrides:
        several = override.is_sweep_override()
        if several and not sweeping:
            faults.append(
                f"{override.input_line} lists several values: "
                "add -m to sweep over them, or [..] around them for a list."
            )
        group = override.key_or_group
        if group in groups() and not takes_any and group not in SHELLS[verb].__dataclass_fields__:
            faults.append(f"{group} is not an option of ssl {verb}.")
        elif group in groups() and not override.is_delete():
            known = choices(group)
            if group not in TAKE_LISTS and any("[" in text for text in _texts(override)):
                faults.append(f"{group} takes one choice; `-m {group}=NAME,NAME` compares several.")
                continue
            for name in named_choices(override):
                if group == "experiment" and name in known and (verb_of(known[name]) or verb) != verb:
                    faults.append(f"experiment={name} is a recipe of ssl {verb_of(known[name])}, not of ssl {verb}.")
                if name not in known:
                    faults.append(f"{group}={name} is no choice.{nearest(name, known)} It has {', '.join(known)}.")
    if faults:
        raise InputError("\n".join(faults))


def named_choices(override: Override) -> list[str]:
    """The choices that it names, alone, in a list or in a sweep; none for a glob, which finds only what there is."""
    return [name.strip("'\" ") for text in _texts(override) for name in text.strip("[]").split(",") if name]


def _texts(override: Override) -> list[str]:
    """What it gives a group, a text each time: `csv`, or `[tensorboard,mlflow]`."""
    if override.value_type == ValueType.GLOB_CHOICE_SWEEP:
        return []
    if override.value_type in (ValueType.INTERVAL_SWEEP, ValueType.RANGE_SWEEP):
        return [str(override.input_line).partition("=")[2]]  # no choice has such a name
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    value = override.value()
    return [f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)]


def refuse_unused(verb: str, overrides: list[Override], sweeping: bool) -> None:
    """A verb that trains may also use a finished run: what only training asks for has then no say."""
    brought: set[str] = getattr(SHELLS[verb], "of_init", set())
    if brought and given(overrides, "init", "none") not in ("none", "null"):
        words = [override.key_or_group for override in overrides]
        if idle := [key for key in words if key in brought or key.startswith("tokenizer.")]:
            raise InputError(f"{', '.join(idle)}: no say with init=, whose checkpoint brings its shape and tokenizer.")
    used: set[str] = getattr(SHELLS[verb], "with_run", set())
    for override in overrides:
        if (other := getattr(SHELLS[verb], "of_others", {}).get(override.key_or_group)) is not None:
            raise InputError(f"{override.key_or_group} has no say in ssl {verb}: it is for ssl {other}.")
    if sweeping and given(overrides, "show", "null") != "null":
        raise InputError("show= looks at one config, and makes no runs to compare: leave out -m.")
    keys = [override.key_or_group for override in overrides]
    told = [
        override.key_or_group for override in overrides if override.is_sweep_override() or override.value() is not None
    ]
    if "run" in used and "run" in told:
        if sweeping:
            raise InputError("run= uses a finished run, and trains none to compare: leave out -m.")
        if idle := [key for key in keys if key not in used]:
            says = ", ".join(sorted(used))
            raise InputError(f"{', '.join(idle)}: no say with run=, which trains nothing. What has: {says}.")
    elif idle := [key for key in told if key in used_options(verb)]:
        raise InputError(f"{', '.join(idle)}: only with run=FOLDER, a finished run; without it a new one is trained.")


def refuse_absent_folder(overrides: list[Override]) -> None:
    """A folder of data that the command line names must be there: the hub is for where nobody names one."""
    folder, hub = given(overrides, "data.dir", ""), given(overrides, "data.hub", "")
    if folder and not hub and "${" not in folder and not Path(folder).expanduser().exists():
        raise InputError(f"data.dir={folder}: there is no such file or folder.")
