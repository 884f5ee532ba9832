"""Completion of a command line: what the last word may become. Imports neither Hydra nor OmegaConf nor torch.

Verbs, groups and choices come from the names of the files in `conf/`, options and their values from the typed shell of
each verb, run folders from `outputs`. The shells' side is in `shells.py`.
"""

import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ssl_cli.cli.flags import CONFIG_KINDS, INFO_KINDS, SHORT
from ssl_cli.cli.options import Option, options
from ssl_cli.cli.shells import SHELLS
from ssl_cli.config.choices import choices, default_choices, search_first, suitable_choices, verbs
from ssl_cli.config.verbs import VERBS

FIRST_WORDS = ("--help", "--version")
FLAGS = ("--help", "--all", "--cfg", "--info")  # of every verb; --all after --help
CHOICE_FLAGS = ("--config-dir",)  # of verbs with config groups
SWEEP_FLAGS = ("-m", "--multirun")
LIST_WORDS = ("models", "data", "tasks", "runs", "checkpoints", "--sort", "--best", "--config-dir")
NODES = ("model", "data", "task", "tokenizer")  # groups whose options are those of the choice
RUN_OPTIONS = ("run", "resume", "init", "like")  # options that take a run folder, or latest


def answer(arguments: list[str]) -> str:
    """Return what a shell asks for, a word per line: `--line LINE`, and from bash `--breaks CHARACTERS`.

    Bash sees only what follows the last = or : of a word, if they are among its breaks, and takes words as quoted.
    Nothing is raised: a user who types sees no error, only that nothing is completed.
    """
    line, breaks = "".join(arguments[1:2]), arguments[3] if len(arguments) > 3 else None
    try:
        words = [word for word in complete(line) if "\n" not in word]
    except Exception:  # a YAML that is being edited, a folder that may not be read, ...
        return ""
    if breaks is not None:
        typed = _split(line)[-1]
        cut = 1 + max(typed.rfind(character) if character in breaks else -1 for character in "=:")
        words = [re.sub(r"([^\w@%+=:,./~-])", r"\\\1", word[cut:]) for word in words]
    return "\n".join(words)


def complete(line: str) -> list[str]:
    """Return what the last word of a command line may become: whole words, of which those that end in =, . or / go on.

    `line` is the text up to the cursor, quoted as in a shell. Returns none if there is nothing to complete.
    """
    words = _split(line)
    start = next((place for place, word in enumerate(words) if Path(word).name == "ssl"), 0)
    *before, last = words[start + 1 :] or [""]
    if not before:
        return _starting([*verbs(), *FIRST_WORDS], last)
    verb, flag = before[0], SHORT.get(before[-1], before[-1])
    if verb == "completion":
        return _starting(SHELLS, last)
    if flag == "--config-dir":
        return [path for path in _paths(last) if path.endswith("/")]
    search_first(_config_dir(before))
    if verb == "list":
        return _list_words(last, before[1:])
    if verb not in VERBS:
        return []
    if flag in ("--cfg", "--info"):
        return _starting(CONFIG_KINDS if flag == "--cfg" else INFO_KINDS, last)
    key, equals, value = last.partition("=")
    if equals:
        return [f"{key}={found}" for found in _values(verb, key, value, before[1:])]
    if last.startswith("-"):
        more = [*(CHOICE_FLAGS if default_choices(verb) else ()), *(SWEEP_FLAGS if VERBS[verb].makes_runs else ())]
        return _starting([*FLAGS, *more], last)
    return _keys(verb, last, before[1:])


def _config_dir(words: list[str]) -> str | None:
    """Return the folder that the flag --config-dir among the words names."""
    for flag, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = flag.partition("=")
        if SHORT.get(name, name) == "--config-dir":
            return value if equals else following
    return None


def _split(line: str) -> list[str]:
    """Return the words of a line as a shell reads them; the last one is empty if the line ends in a space."""
    for closing in ("", "'", '"'):  # the last word may be in quotes that are still open
        try:
            words = shlex.split(line + closing)
        except ValueError:
            continue
        ends_in_space = line[-1:].isspace() and not line.endswith("\\ ") and not closing
        return [*words, ""] if ends_in_space or not words else words
    return []


def _starting(words: Iterable[str], prefix: str) -> list[str]:
    return [word for word in words if word.startswith(prefix)]


def _up_to_next(names: Iterable[str], prefix: str, separator: str) -> list[str]:
    """Return the names that go on from a prefix, each cut after its next separator, without repetition."""
    rests = [name[len(prefix) :].partition(separator) for name in _starting(names, prefix)]
    return list(dict.fromkeys(f"{prefix}{head}{cut}" for head, cut, _ in rests))


def _list_words(last: str, before: list[str]) -> list[str]:
    """Return the words of `ssl list`; beside checkpoints, run= with the run folders."""
    if "checkpoints" not in before:
        return _starting(LIST_WORDS, last)
    if not last.startswith("run="):
        return _starting(["run="], last)
    return [f"run={found}" for found in _run_values(last.removeprefix("run="), before, ["*"])]


# --- keys ---------------------------------------------------------------------------------------------------


def _keys(verb: str, prefix: str, before: list[str]) -> list[str]:
    """Return the groups and options of a verb; options of a choice too, once its group and a dot are typed."""
    groups = default_choices(verb)
    names = [f"{group}=" for group in groups] + [f"{option.name}=" for option in options(VERBS[verb].options)]
    group, dot, _ = prefix.partition(".")
    if not dot:
        names += [f"{group}." for group in groups if group in NODES]
    elif group in NODES and group in groups:
        chosen = next((word.partition("=")[2] for word in reversed(before) if word.startswith(f"{group}=")), None)
        names += [f"{group}.{name}=" for name in _yaml_keys(group, chosen or groups[group])]
    return _up_to_next(names, prefix, ".")


def _yaml_keys(group: str, name: str, children: tuple[str, ...] = ()) -> list[str]:
    """Return the dotted names of a choice's options, and of those that it inherits."""
    known = choices(group)
    if name in children or name not in known:
        return []
    content = _read(known[name].path)
    parents = [entry.removeprefix(f"/{group}/") for entry in content.get("defaults") or [] if isinstance(entry, str)]
    inherited = [key for parent in parents for key in _yaml_keys(group, parent, (*children, name))]
    return list(dict.fromkeys([*_dotted(content), *inherited]))


def _dotted(content: dict[str, Any]) -> Iterator[str]:
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from (f"{key}.{below}" for below in _dotted(value))
        elif key not in ("defaults", "_target_"):
            yield str(key)


def _read(path: Path) -> dict[str, Any]:
    import yaml  # only options of a choice need it

    content = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return content if isinstance(content, dict) else {}


# --- values -------------------------------------------------------------------------------------------------


def _values(verb: str, key: str, value: str, before: list[str]) -> list[str]:
    """Return what the value of an option may become: choices, words that its type allows, run folders, files."""
    if key in default_choices(verb):
        sweep, comma, last = value.rpartition(",")
        names = suitable_choices(key, verb)
        return [f"{sweep}{comma}{found}" for found in _up_to_next(names, last, "/")]
    option = next((option for option in options(VERBS[verb].options) if option.name == key), None)
    if option is None:  # of a choice
        return _paths(value) if "." in key else []
    if key in RUN_OPTIONS:
        return _run_values(value, before, _verbs_of(option, verb))
    return _starting(option.words, value) or (_paths(value) if option.is_path else [])


def _run_values(value: str, before: list[str], of_verbs: list[str]) -> list[str]:
    """Return latest, and the run folders of some verbs, that a value may become."""
    outputs = next((word.partition("=")[2] for word in before if word.startswith("paths.outputs=")), "outputs")
    return _starting(["latest", *_runs(outputs, of_verbs)], value) or _paths(value)


def _verbs_of(option: Option, verb: str) -> list[str]:
    """Return the verbs whose runs an option takes: `a run folder of ssl detect, or latest`."""
    if option.name == "resume":
        return [verb]
    return re.findall(r"\bssl (\w+)", option.description) or ["*"]


def _runs(outputs: str, of_verbs: list[str]) -> list[str]:
    """Return the run folders of some verbs, as they are typed."""
    folder = Path(outputs).expanduser()
    found = [path.parent for verb in of_verbs for path in folder.glob(f"{verb}/*/*/config.yaml")]
    return [f"{outputs.rstrip('/')}/{path.relative_to(folder)}" for path in sorted(found)]


def _paths(prefix: str) -> list[str]:
    """Return the files and folders that a path may become; folders end in /, hidden ones need their dot."""
    typed, slash, name = prefix.rpartition("/")
    folder = Path(f"{typed}{slash}" or ".").expanduser()
    if not folder.is_dir():
        return []
    found = [path for path in sorted(folder.iterdir()) if path.name.startswith(name)]
    return [
        f"{typed}{slash}{path.name}{'/' if path.is_dir() else ''}"
        for path in found
        if name.startswith(".") or not path.name.startswith(".")
    ]
