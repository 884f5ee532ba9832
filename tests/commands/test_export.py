"""`ssl export`: a finished run as a checkpoint of transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch

import ssl_cli
from ssl_cli.commands import export
from tests.conftest import Cli
from tests.text_runs import make_run


def test_transformers_opens_it_and_gives_the_same_logits(cli: Cli, workdir: Path) -> None:
    transformers = pytest.importorskip("transformers")
    make_run(Path("outputs/pretrain/gpt-pydoc/1"), "gpt", "bpe")
    code, out, err = cli("export", "output=theirs")
    assert code == 0, err
    assert out.splitlines()[-1] == "theirs"
    theirs = transformers.AutoModelForCausalLM.from_pretrained("theirs")
    words = transformers.AutoTokenizer.from_pretrained("theirs")
    ids = words("Birds can fly.", return_tensors="pt").input_ids
    ours = ssl_cli.load()
    assert ids[0].tolist() == ours.tokenizer.encode("Birds can fly.")  # type: ignore[attr-defined]
    with torch.inference_mode():
        torch.testing.assert_close(theirs(ids).logits[:, -1], ours.model.next_logits(ids), atol=1e-4, rtol=0)


def test_a_folder_in_use_is_left_alone(cli: Cli, workdir: Path) -> None:
    make_run(Path("outputs/pretrain/gpt-pydoc/1"))
    Path("kept").mkdir()
    Path("kept/mine.txt").write_text("mine")
    code, _, err = cli("export", "output=kept")
    assert code == 2 and "output=kept exists: name another folder, or say overwrite=true." in err
    assert [path.name for path in Path("kept").iterdir()] == ["mine.txt"]
    assert cli("export", "output=kept", "overwrite=true")[0] == 0
    assert Path("kept/mine.txt").read_text() == "mine" and Path("kept/config.json").exists()
    assert "output is missing" in cli("export")[2]
    assert "there is no folder gone" in cli("export", "output=gone/new")[2]


def test_a_failure_leaves_nothing(cli: Cli, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(Path("outputs/pretrain/gpt-pydoc/1"))

    def full(_model: Any, _tokenizer: Any, folder: Path) -> list[str]:
        (folder / "config.json").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "write_checkpoint", full)
    code, _, err = cli("export", "output=new")
    assert code == 2 and "new can't be written: No space left on device" in err
    assert sorted(path.name for path in Path().iterdir()) == ["outputs"]


def test_a_model_that_transformers_lacks(cli: Cli, workdir: Path) -> None:
    make_run(Path("outputs/pretrain/gpt-pydoc/1"), positions="sinusoidal")
    code, _, err = cli("export", "output=new")
    assert code == 2 and "transformers has no model like this one" in err
    assert not Path("new").exists()
