"""What can be chosen: the verbs, and in each config group the choices. Reads file names and first lines only.

One YAML is one choice, and its first comment line says what it is. A `conf/` folder in the user's working
directory is searched before ours, so that `conf/data/mine.yaml` there is enough to use `data=mine`. A choice may lie
in a folder of its group: `conf/task/glue/sst2.yaml` is `task=glue/sst2`.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Choice:
    """One YAML file: `ssl VERB group=name`."""

    name: str
    summary: str
    path: Path
    built_in: bool

    @property
    def group(self) -> str:
        return self.path.parents[self.name.count("/")].name


def built_in_conf() -> Path:
    """Our `conf/`: inside the package when installed from a wheel, beside it in a checkout."""
    inside = PACKAGE / "conf"
    return inside if inside.is_dir() else PACKAGE.parent / "conf"


def conf_folders() -> list[Path]:
    """The folders searched for YAML files, in order: the user's own, then ours."""
    own, ours = Path.cwd() / "conf", built_in_conf()
    return [own, ours] if own.is_dir() and own.resolve() != ours.resolve() else [ours]


def choices(group: str) -> dict[str, Choice]:
    """The choices of one group (`""`: the verbs), by name, those in its folders included."""
    found: dict[str, Choice] = {}
    for folder in conf_folders():
        for path in sorted((folder / group).glob("**/*.yaml" if group else "*.yaml")):
            name, built_in = path.relative_to(folder / group).with_suffix("").as_posix(), folder == built_in_conf()
            found.setdefault(name, Choice(name, _first_comment(path), path, built_in))
    return dict(sorted(found.items()))


def verb_of(recipe: Choice) -> str | None:
    """The verb that a recipe is for, by the command in its comment, `#   ssl VERB experiment=...`; None without one"""
    found = re.search(r"^#\s+ssl (\w+) ", recipe.path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return found[1] if found else None


def groups() -> list[str]:
    """The config groups that have at least one choice."""
    names = {path.name for folder in conf_folders() for path in folder.iterdir() if path.is_dir()}
    return sorted(name for name in names if choices(name))


def verbs() -> dict[str, str]:
    """Every verb with its one-line summary."""
    built_in = {path.stem: _first_comment(path) for path in sorted(built_in_conf().glob("*.yaml"))}
    return built_in | {"list": "Show what there is: models, data, tasks, or the runs made so far."}


def nearest(name: str, among: Iterable[str]) -> str:
    """` Did you mean X?`, or nothing where no name is near."""
    close = difflib.get_close_matches(name, list(among), n=1, cutoff=0.5)
    return f" Did you mean {close[0]}?" if close else ""


def _first_comment(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        # Hydra wants its own `# @package _global_` on top.
        first = next((line.strip() for line in file if not line.startswith("# @")), "")
    return first.removeprefix("#").strip() if first.startswith("#") else ""
