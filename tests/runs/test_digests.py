"""Digests of a finished run's files: written at its end, compared before the files are used."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

import ssl_cli
from ssl_cli.errors import InputError
from ssl_cli.runs.digests import check_digests, state_files, write_digests
from tests.conftest import Cli


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files of every kind."""
    for name in ("a.safetensors", "deep/er/b.safetensors", "config.yaml", "learned.json", "environment.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    for name in ("tracking.json", "log.txt", "figures.png", "last.ckpt", "deep/codes.json", "other.yaml"):
        (tmp_path / name).write_text(name)
    write_digests(tmp_path, {"metrics.json": "{}"})
    (tmp_path / "metrics.json").write_text("{}")
    return tmp_path


def test_what_is_read_is_covered_and_nothing_else(folder: Path) -> None:
    covered = {"a.safetensors", "deep/er/b.safetensors", "config.yaml", "learned.json", "metrics.json"}
    assert set(state_files(folder)) == covered
    assert set(json.loads((folder / "digests.json").read_text())) == covered
    for name in ("environment.json", "tracking.json", "log.txt", "figures.png", "last.ckpt"):
        (folder / name).unlink()
    (folder / "more.json").write_text("a user's own file")
    check_digests(folder, "detect")


@pytest.mark.parametrize("name", ["a.safetensors", "deep/er/b.safetensors", "config.yaml", "metrics.json"])
def test_a_changed_or_missing_file_is_named(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(bytes([content[0] ^ 1]) + content[1:])
    sentence = f"{name} is damaged: its content has changed since the run ended. Copy the run again, or write it again"
    with pytest.raises(InputError, match=sentence):
        check_digests(folder, "detect")
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing. Copy the run again"):
        check_digests(folder, "detect")


def test_a_run_without_digests(folder: Path) -> None:
    (folder / "digests.json").unlink()
    with pytest.raises(InputError, match=r"has no digests\.json, so its files can't be checked: .* writes it\.$"):
        check_digests(folder, "detect")


def test_digests_of_nothing(folder: Path) -> None:
    (folder / "digests.json").write_text("{}")
    with pytest.raises(InputError, match=r"digests\.json is damaged: it does not name config\.yaml\. .* writes it"):
        check_digests(folder, "detect")


def test_names_that_lead_elsewhere_are_not_read(folder: Path) -> None:
    (folder / "digests.json").write_text(json.dumps({"../../dev/zero": "0", "/dev/zero": "0"}))
    with pytest.raises(InputError, match="is missing"):
        check_digests(folder, "detect")


def flip(path: Path) -> None:
    """Flip the lowest bit of the last byte."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_a_flipped_bit_never_scores_and_a_resume_mends_it(honest: Path, cli: Cli) -> None:
    (original,) = honest.glob("outputs/detect/best-table/*")
    frame, scores = pd.read_csv(honest / "rows.csv"), ssl_cli.load(original).score(pd.read_csv(honest / "rows.csv"))
    folder = Path(shutil.copytree(original, Path("outputs/detect/theirs") / original.name))
    for name in ("model.safetensors", "neighbors/model.safetensors"):
        flip(folder / name)
        code, _, err = cli("score", f"run={folder}", f"input={honest / 'rows.csv'}", "output=o.csv")
        assert code == 2 and f"error: {folder / name} is damaged: its content has changed since" in err
        assert not Path("o.csv").exists()
        assert cli("detect", f"resume={folder}")[0] == 0
        assert (ssl_cli.load(folder).score(frame) == scores).all()
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("fpr: 0.01", "fpr: 0.11"))
    code, _, err = cli("detect", f"resume={folder}")
    assert code == 2 and "config.yaml is damaged" in err


def test_a_resume_that_fails_leaves_a_run_that_loads(honest: Path, cli: Cli) -> None:
    (original,) = honest.glob("outputs/detect/best-table/*")
    folder = Path(shutil.copytree(original, Path("outputs/detect/theirs") / original.name))
    (folder / "last.ckpt").write_bytes(b"")
    (folder / "previous.ckpt").write_bytes(b"")
    assert cli("detect", f"resume={folder}", "fpr=0.2")[0] == 2
    assert ssl_cli.load(folder).config.fpr == ssl_cli.load(original).config.fpr
