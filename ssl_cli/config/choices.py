"""Verbs, config groups and their choices, from the file names and first lines of `conf/`.

One YAML is one choice, and its first comment line is its summary. A `conf/` folder in the user's working directory is
searched before the built-in one, so `conf/data/mine.yaml` there is enough to use `data=mine`. A choice may be in a
subfolder of its group: `conf/task/glue/sst2.yaml` is `task=glue/sst2`.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

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


def conf_folders() -> list[Path]:
    """Return the folders that are searched for YAML files, in order: the user's, then the built-in one."""
    user_conf, built_in = Path.cwd() / "conf", built_in_conf()
    has_own = user_conf.is_dir() and user_conf.resolve() != built_in.resolve()
    return [user_conf, built_in] if has_own else [built_in]


def choices(group: str) -> dict[str, Choice]:
    """Return the choices of a group (`""`: the verbs) by name, including those in its subfolders."""
    by_name: dict[str, Choice] = {}
    for folder in conf_folders():
        for path in sorted((folder / group).glob("**/*.yaml" if group else "*.yaml")):
            name, built_in = path.relative_to(folder / group).with_suffix("").as_posix(), folder == built_in_conf()
            by_name.setdefault(name, Choice(name, _first_comment(path), path, built_in))
    return dict(sorted(by_name.items()))


def verb_of(recipe: Choice) -> str | None:
    """Return the verb of a recipe, from the command in its comment, `#   ssl VERB experiment=...`; None without one."""
    command = re.search(r"^#\s+ssl (\w+) ", recipe.path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return command[1] if command else None


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
    similar = difflib.get_close_matches(name, list(among), n=1, cutoff=0.5)
    return f" Did you mean {similar[0]}?" if similar else ""


def _first_comment(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        # Hydra requires its `# @package _global_` on the first line.
        first = next((line.strip() for line in file if not line.startswith("# @")), "")
    return first.removeprefix("#").strip() if first.startswith("#") else ""
