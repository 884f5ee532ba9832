"""Parsing and checking of the command line: flags, and overrides in Hydra's grammar."""

from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException

from ssl_cli.cli.options import INTERNAL
from ssl_cli.config.choices import choices, did_you_mean, groups, verb_of
from ssl_cli.config.instantiate import quote, quote_if_needed
from ssl_cli.config.verbs import VERBS, unused_options
from ssl_cli.errors import InputError

RESERVED = {
    "hydra.mode": "use -m for a sweep",
    "hydra.sweep.dir": "sweeps go to paths.outputs",
    "hydra.job.chdir": "paths are relative to the working directory",
}
MULTI_CHOICE_GROUPS = {"logger"}  # groups of which a run may have several choices
FREE_TEXT = {"text", "prompt", "pair", "question", "context"}  # options whose value is prose
FLAGS = ("-m", "--multirun", "--resolve")


def split_arguments(arguments: list[str]) -> tuple[set[str], str | None, list[str]]:
    """Return the flags, the argument of `--cfg` (None without it), and the overrides.

    Raises InputError for a word that is none of these.
    """
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


def parse_override(word: str) -> Override:
    """Parse one override. Raises InputError if it is not option=value.

    A value outside Hydra's grammar, such as a path with spaces or in Chinese, is quoted first.
    """
    parser = OverridesParser.create()
    key, _, text = word.partition("=")
    if key in FREE_TEXT and text != "null" and not _is_quoted(text):
        word = f"{key}={quote(text)}".replace("${", r"\${")
    try:
        return parser.parse_override(word)
    except HydraException as error:
        key, _, value = word.partition("=")
        try:
            return parser.parse_override(f"{key}={quote_if_needed(value)}")
        except HydraException:
            raise InputError(f"{word} can't be read as option=value: {str(error).splitlines()[0]}.") from error


def _is_quoted(text: str) -> bool:
    """Return whether the whole text is in quotes, or is a list of quoted texts.

    In any other text commas are punctuation, not separators of a sweep.
    """
    if not text.startswith(("'", '"', "['", '["')):
        return False
    try:
        return not OverridesParser.create().parse_override(f"text={text}").is_sweep_override()
    except HydraException:
        return False


def value_of(overrides: list[Override], key: str, default: str) -> str:
    """Return the last value that the command line gives an option; the default if it gives none, or a sweep."""
    matching = [override for override in overrides if override.key_or_group == key and not override.is_sweep_override()]
    value = matching[-1].value() if matching else None
    return default if value is None else str(value)


def force_add(override: Override) -> str:
    """Return the override as a line for Hydra that may name any option: `check` then reports all faults in one message.

    Raises InputError for an option that users can't set.
    """
    if override.key_or_group.split(".")[0] in INTERNAL:
        raise InputError(f"{override.key_or_group} is not an option: ssl sets it by itself.")
    if override.key_or_group in RESERVED:
        raise InputError(f"{override.key_or_group} can't be set: {RESERVED[override.key_or_group]}.")
    text = str(override.input_line)
    is_group = override.key_or_group.split("@")[0] in groups() or "/" in override.key_or_group
    is_hydra = override.key_or_group.split(".")[0] == "hydra"
    return text if is_group or is_hydra or text[0] in "+~" else f"++{text}"


def check_choices(verb: str, overrides: list[Override], sweeping: bool) -> None:
    """Raise InputError that lists each override of a group without such a choice, and each list without -m."""
    spec = VERBS[verb]
    faults = []
    for override in overrides:
        if override.is_sweep_override() and not sweeping:
            faults.append(
                f"{override.input_line} lists several values: "
                "add -m to sweep over them, or [..] around them for a list."
            )
        group = override.key_or_group
        if group in groups() and not spec.makes_runs and group not in spec.options.__dataclass_fields__:
            faults.append(f"{group} is not an option of ssl {verb}.")
        elif group in groups() and not override.is_delete():
            faults += _choice_faults(verb, group, override)
    if faults:
        raise InputError("\n".join(faults))


def _choice_faults(verb: str, group: str, override: Override) -> list[str]:
    """Return a sentence for each choice of a group that does not exist, or is for another verb."""
    known, faults = choices(group), []
    if group not in MULTI_CHOICE_GROUPS and any("[" in text for text in _choice_texts(override)):
        return [f"{group} takes one choice; `-m {group}=NAME,NAME` compares several."]
    for name in choice_names(override):
        if group == "experiment" and name in known and (verb_of(known[name]) or verb) != verb:
            faults.append(f"experiment={name} is a recipe of ssl {verb_of(known[name])}, not of ssl {verb}.")
        if name not in known:
            faults.append(f"{group}={name} is not a choice.{did_you_mean(name, known)} Choices: {', '.join(known)}.")
    return faults


def choice_names(override: Override) -> list[str]:
    """Return the choices that an override names, alone, in a list or in a sweep.

    Returns none for a glob, which matches only choices that exist.
    """
    return [name.strip("'\" ") for text in _choice_texts(override) for name in text.strip("[]").split(",") if name]


def _choice_texts(override: Override) -> list[str]:
    """Return each value that an override gives its group, as text: `csv`, or `[tensorboard,mlflow]`."""
    if override.value_type == ValueType.GLOB_CHOICE_SWEEP:
        return []
    if override.value_type in (ValueType.INTERVAL_SWEEP, ValueType.RANGE_SWEEP):
        return [str(override.input_line).partition("=")[2]]  # no choice has such a name
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    value = override.value()
    return [f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)]


def check_options_apply(verb: str, overrides: list[Override], sweeping: bool) -> None:
    """Raise InputError if an option has no effect beside the others, such as a training option with run=."""
    spec, keys = VERBS[verb], [override.key_or_group for override in overrides]
    has_init = spec.set_by_init and value_of(overrides, "init", "none") not in ("none", "null")
    if has_init and (unused := [key for key in keys if key in spec.set_by_init or key.startswith("tokenizer.")]):
        raise InputError(
            f"{', '.join(unused)}: no effect with init=, because the checkpoint sets the shape and the tokenizer."
        )
    for key in keys:
        if (other := spec.of_other_verbs.get(key)) is not None:
            raise InputError(f"{key} has no effect in ssl {verb}: it is for ssl {other}.")
    if sweeping and value_of(overrides, "show", "null") != "null":
        raise InputError("show= prints examples of one config and trains nothing to compare: leave out -m.")
    changed = [
        override.key_or_group for override in overrides if override.is_sweep_override() or override.value() is not None
    ]
    if "run" in spec.only_with_run and "run" in changed:
        if sweeping:
            raise InputError("run= uses a finished run and trains nothing to compare: leave out -m.")
        if unused := [key for key in keys if key not in spec.only_with_run]:
            usable = ", ".join(sorted(spec.only_with_run))
            raise InputError(
                f"{', '.join(unused)}: no effect with run=, which trains nothing. Options with run=: {usable}."
            )
    elif unused := [key for key in changed if key in unused_options(verb)]:
        raise InputError(f"{', '.join(unused)}: only with run=RUN, a finished run; without run= a new one is trained.")


def check_data_folder(overrides: list[Override]) -> None:
    """Raise InputError if the folder data.dir does not exist: the hub is only for runs that name no folder."""
    folder, hub = value_of(overrides, "data.dir", ""), value_of(overrides, "data.hub", "")
    if folder and not hub and "${" not in folder and not Path(folder).expanduser().exists():
        raise InputError(f"data.dir={folder}: there is no such file or folder.")
