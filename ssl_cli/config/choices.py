"""Verbs, config groups and their choices, from the file names and first lines of `conf/`.

One YAML is one choice, and its first comment line is its summary. The folder that `--config-dir` names and a `conf/`
folder in the user's working directory are searched before the built-in one, so `conf/data/mine.yaml` there is enough to
use `data=mine`. A choice may be in a subfolder of its group: `conf/task/glue/sst2.yaml` is `task=glue/sst2`.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ssl_cli.config.verbs import VERBS
from ssl_cli.errors import InputError

PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Choice:
    """One YAML file, chosen by `ssl VERB group=name`."""

    name: str
    summary: str
    path: Path
    built_in: bool

    @property
    def group(self) -> str:
        """Return the name of its config group."""
        return self.path.parents[self.name.count("/")].name


def built_in_conf() -> Path:
    """Return the built-in `conf/`: inside the package if installed from a wheel, beside it in a checkout."""
    inside = PACKAGE / "conf"
    return inside if inside.is_dir() else PACKAGE.parent / "conf"


_added_folder: Path | None = None  # of --config-dir


def search_first(folder: str | None) -> None:
    """Search this folder before all others from now on, as --config-dir says; None: no such folder.

    Raises InputError if it has no YAML file of any config group.
    """
    global _added_folder
    _added_folder = None
    if folder is None:
        return
    path = Path(folder).expanduser().resolve()
    known = groups()
    if not path.is_dir():
        raise InputError(f"--config-dir {folder}: there is no such folder.")
    if not any(any((path / group).glob("**/*.yaml")) for group in known):
        raise InputError(f"--config-dir {folder}: it has no YAML files in a folder named {' or '.join(known)}.")
    _added_folder = path


def conf_folders() -> list[Path]:
    """Return the folders that are searched for YAML files, in order: that of --config-dir, ./conf, the built-in one."""
    built_in = built_in_conf()
    own = [folder for folder in (_added_folder, Path.cwd() / "conf") if folder is not None and folder.is_dir()]
    return [*(folder for folder in own if folder.resolve() != built_in.resolve()), built_in]


def choices(group: str) -> dict[str, Choice]:
    """Return the choices of a group (`""`: the verbs) by name, including those in its subfolders.

    What is no file, such as a folder called x.yaml or a link that leads nowhere, is none.
    """
    by_name: dict[str, Choice] = {}
    for folder in conf_folders():
        for path in sorted(filter(Path.is_file, (folder / group).glob("**/*.yaml" if group else "*.yaml"))):
            name, built_in = path.relative_to(folder / group).with_suffix("").as_posix(), folder == built_in_conf()
            by_name.setdefault(name, Choice(name, _first_comment(path), path, built_in))
    return dict(sorted(by_name.items()))


def verb_of(recipe: Choice) -> str | None:
    """Return the verb of a recipe, from the command in its comment, `#   ssl VERB experiment=...`; None without one."""
    command = re.search(r"^#\s+ssl (\w+) ", _text_of(recipe.path), re.MULTILINE)
    return command[1] if command else None


def suitable_choices(group: str, verb: str) -> dict[str, Choice]:
    """Return the choices of a group that a verb can use, judged by the module of the class; a user's always count."""
    return {name: choice for name, choice in choices(group).items() if _suits(choice, verb)}


def _suits(choice: Choice, verb: str) -> bool:
    if choice.group == "experiment":
        return (verb_of(choice) or verb) == verb
    if not choice.built_in or choice.group not in ("model", "data"):
        return True
    target = _target_line(choice)
    if choice.group == "model":
        return target.startswith(VERBS[verb].model_packages)
    modality = re.match(r"ssl_cli\.data\.(\w+?)s?\.", target)
    return modality is None or modality[1] in VERBS[verb].modalities


def _target_line(choice: Choice) -> str:
    """Return the `_target_` in a choice's YAML, or in that of the first choice that it inherits from; "" if none."""
    text = _text_of(choice.path)
    if target := re.search(r"^_target_: *(\S+)", text, re.MULTILINE):
        return target[1]
    listed = re.search(r"^defaults:(?: *\[([^]]*)\]|((?:\n  - .*)+))", text, re.MULTILINE)
    names = re.findall(rf"(?:/{choice.group}/)?([\w/]+)(?:@_here_)?", (listed[1] or listed[2]) if listed else "")
    known = choices(choice.group)
    parent = next((known[name] for name in names if name in known and name != choice.name), None)
    return _target_line(parent) if parent else ""


def default_choices(verb: str) -> dict[str, str]:
    """Return each config group of a verb with its default choice, `null` if it has none."""
    text = (built_in_conf() / f"{verb}.yaml").read_text(encoding="utf-8")
    return dict(re.findall(r"^  - (\w+): (\w+)", text, re.MULTILINE))  # importing a reader of YAML takes longer


def groups() -> list[str]:
    """Return the config groups that have at least one choice."""
    paths = [path for folder in conf_folders() for path in folder.iterdir() if path.is_dir()]
    return sorted({path.name for path in paths if any(path.glob("**/*.yaml"))})


def verbs() -> dict[str, str]:
    """Return every verb with its one-line summary."""
    built_in = {path.stem: _first_comment(path) for path in sorted(built_in_conf().glob("*.yaml"))}
    return built_in | {
        "list": "Show what there is: models, data, tasks, or the runs made so far.",
        "completion": "Print a script that completes all of this in bash, zsh or fish.",
    }


def did_you_mean(name: str, among: Iterable[str]) -> str:
    """Return ` Did you mean X?` for the most similar name, or "" if none is similar."""
    known = {word.casefold(): word for word in among}
    similar = difflib.get_close_matches(name.casefold(), known, n=1, cutoff=0.5)
    return f" Did you mean {known[similar[0]]}?" if similar else ""


def _first_comment(path: Path) -> str:
    # Hydra requires its `# @package _global_` on the first line.
    first = next((line.strip() for line in _text_of(path).split("\n") if not line.startswith("# @")), "")
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def _text_of(path: Path) -> str:
    """Return the text of a YAML file, "" if it may not be read: that is said where it is chosen."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
