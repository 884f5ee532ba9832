"""Damage to each file of a finished run: it is refused with one sentence, or changes nothing of what the run gives."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

import ssl_cli
from ssl_cli.errors import InputError
from ssl_cli.runs.digests import write_digests
from tests.commands.conftest import Finished
from tests.conftest import Cli
from tests.helpers import finetune_runs, pretrain_runs

DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "first bit flipped": lambda content: bytes([content[0] ^ 1]) + content[1:],
    "middle bit flipped": lambda content: _flipped(content, len(content) // 2),
    "last bit flipped": lambda content: _flipped(content, len(content) - 1),
    "cut in half": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "removed": lambda content: None,
}


def _flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


# What a run gives: images, words for a mask, answers.
USES: dict[str, Callable[[Any], Any]] = {
    "vqvae": lambda run: (run.generate(2, seed=1).tolist(), run.codes(np.zeros((1, 1, 8, 8), np.uint8)).tolist()),
    "text": lambda run: run.fill("Birds can [MASK]."),
    "finetune": lambda run: run.predict([{"question": "Who can swim?", "context": "Birds can fly. Fish can swim."}]),
}


@pytest.fixture(scope="module")
def originals(trained: Finished, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of each kind. Tests must not change them."""
    home = tmp_path_factory.mktemp("runs")
    return {
        "vqvae": trained("vqvae"),
        "text": pretrain_runs.make_run(home / "text", "bert", "wordpiece"),
        "finetune": finetune_runs.make_run(home / "finetune", "squad2", [], learned={"null_threshold": 0.5}),
    }


def another(folder: Path, place: Path) -> Path:
    """Return a copy as if made with another seed: of the same shapes, with other weights and other metrics."""
    shutil.copytree(folder, place)
    weights = load_file(place / "model.safetensors")
    moved = {name: value + 0.01 if value.is_floating_point() else value for name, value in weights.items()}
    save_file(moved, place / "model.safetensors")
    config = OmegaConf.load(place / "config.yaml")
    config.seed = 5
    OmegaConf.save(config, place / "config.yaml")
    (place / "metrics.json").write_text(json.dumps({"other": 1.0}))
    write_digests(place)
    return place


@pytest.mark.parametrize("damage", [*DAMAGES, "another run's"])
@pytest.mark.parametrize("kind", USES)
def test_a_damaged_file_is_refused_or_changes_nothing(
    cli: Cli, originals: dict[str, Path], workdir: Path, kind: str, damage: str
) -> None:
    expected = USES[kind](ssl_cli.load(originals[kind]))
    folder = Path(shutil.copytree(originals[kind], workdir / "outputs" / "verb" / "model-data" / "run"))
    other = another(folder, workdir / "other")
    refused = set()
    figures = sorted(folder.rglob("*.png"))[1:]  # one is as good as all
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path not in figures):
        name, content = path.relative_to(folder), path.read_bytes()
        changed = (other / name).read_bytes() if damage == "another run's" else DAMAGES[damage](content)
        path.unlink() if changed is None else path.write_bytes(changed)
        try:
            given = USES[kind](ssl_cli.load(folder))
        except InputError as error:
            refused.add(str(name))
            assert str(folder) in str(error) and "\n" not in str(error) and len(str(error)) < 600
        else:
            assert given == expected, name
        code, _, err = cli("list", "runs")
        assert code == 0 and err == "", (name, err)
        path.write_bytes(content)
    assert {"model.safetensors", "config.yaml", "metrics.json", "digests.json"} <= refused
    assert USES[kind](ssl_cli.load(folder)) == expected
