"""Choices: what counts as one among the files of a user's conf folder."""

import os
from pathlib import Path

import pytest

from ssl_cli.config.choices import choices, did_you_mean, suitable_choices, verb_of


def test_what_is_no_file_is_no_choice(workdir: Path) -> None:
    folder = workdir / "conf" / "model"
    (folder / "folder.yaml").mkdir(parents=True)
    (folder / "nowhere.yaml").symlink_to("gone.yaml")
    (folder / "loop.yaml").symlink_to("loop.yaml")
    os.mkfifo(folder / "pipe.yaml")
    (folder / "mine.yaml").write_text("# Mine\n_target_: mine.Mine\n")
    assert [name for name, choice in choices("model").items() if not choice.built_in] == ["mine"]


def test_a_file_that_may_not_be_read_breaks_no_list(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (workdir / "conf" / "experiment").mkdir(parents=True)
    (workdir / "conf" / "experiment" / "secret.yaml").write_text("# Secret\n#   ssl score experiment=secret\n")
    read = Path.read_text

    def refuse(path: Path, *args: str, **options: str) -> str:
        if path.name == "secret.yaml":
            raise PermissionError
        return read(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    secret = choices("experiment")["secret"]
    assert (secret.summary, verb_of(secret)) == ("", None)
    assert "secret" in suitable_choices("experiment", "detect")


def test_hints_ignore_case() -> None:
    assert did_you_mean("SEED", ["seed", "sweep"]) == " Did you mean seed?"
    assert did_you_mean("xyz", ["seed"]) == ""
