"""What scripts/environment installs, and when; constraints.txt against the ranges of pyproject.toml."""

import os
import re
import shutil
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.helpers.processes import run

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
WANTED = [
    *PYPROJECT["build-system"]["requires"],
    *PROJECT["dependencies"],
    *(each for extra in PROJECT["optional-dependencies"].values() for each in extra),
]


def pins() -> dict[str, Version]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    parts = [line.split("==") for line in lines if not line.startswith("#")]
    assert len({name for name, _ in parts}) == len(parts)
    return {name: Version(version) for name, version in parts}


@pytest.mark.parametrize("text", sorted({text for text in WANTED if not text.startswith("ssl-cli")}))
def test_each_dependency_has_a_version_within_its_range(text: str) -> None:
    wanted = Requirement(text)
    assert wanted.specifier.contains(pins()[canonicalize_name(wanted.name)], prereleases=True), "run scripts/lock"


def test_a_version_fits_every_platform() -> None:
    assert not [name for name, version in pins().items() if version.local]
    assert not [name for name in pins() if re.match(r"nvidia-|triton|cuda-", name)]
    assert not pins().keys() & {"ssl-cli", "pip"}


@pytest.fixture
def installs(tmp_path: Path) -> Path:
    """A checkout whose .venv and .venv-newest note down what pip is asked for."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("benchmarks"))
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in (".venv", ".venv-newest"):
        (tmp_path / name / "bin").mkdir(parents=True)
        python = tmp_path / name / "bin" / "python"
        python.write_text(f'#!/bin/sh\necho "{name} $PIP_CONSTRAINT $*" >>asked.txt\n')
        python.chmod(0o755)
    return tmp_path


def asked(folder: Path, *words: str) -> list[str]:
    """What was installed when scripts/environment was read with these words."""
    (folder / "asked.txt").write_text("")
    command = ["bash", "-euo", "pipefail", "-c", 'source scripts/environment "$@"', "bash", *words]
    environment = {name: value for name, value in os.environ.items() if "CONSTRAINT" not in name}
    done = run(command, cwd=folder, env=environment)
    assert done.returncode == 0, done.stderr
    return (folder / "asked.txt").read_text().splitlines()


def test_the_versions_of_constraints_are_installed_again_when_they_change(installs: Path) -> None:
    (line,) = asked(installs, "test")
    assert line.startswith(".venv constraints.txt -m pip install ") and line.endswith(" --editable .[test]")
    assert asked(installs, "test") == []
    for name in ("constraints.txt", "pyproject.toml"):
        with (installs / name).open("a") as file:
            file.write("# changed\n")
        assert len(asked(installs, "test")) == 1
        assert asked(installs, "test") == []
    (line,) = asked(installs, "")
    assert line.endswith(" --editable .")


def test_newest_has_a_folder_of_its_own_and_no_constraints(installs: Path) -> None:
    for _ in range(2):
        (line,) = asked(installs, "test", "newest")
        assert line.startswith(".venv-newest  -m pip install ") and "--upgrade --upgrade-strategy eager" in line
