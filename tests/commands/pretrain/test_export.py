"""`ssl export`: a finished run as a checkpoint of transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch

import ssl_cli
from ssl_cli.commands.pretrain import export
from tests.conftest import Cli, full_disk
from tests.helpers.pretrain_runs import MAKERS, make_run


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
    assert code == 2 and "output=kept exists: name another folder, or set overwrite=true." in err
    assert [path.name for path in Path("kept").iterdir()] == ["mine.txt"]
    assert cli("export", "output=kept", "overwrite=true")[0] == 0
    assert Path("kept/mine.txt").read_text() == "mine" and Path("kept/config.json").exists()
    assert "output is missing" in cli("export")[2]
    assert "there is no folder gone" in cli("export", "output=gone/new")[2]


@pytest.mark.parametrize("kind", MAKERS)
def test_transformers_fills_masks_with_the_same_probabilities(cli: Cli, workdir: Path, kind: str) -> None:
    transformers = pytest.importorskip("transformers")
    run = make_run(Path("outputs/pretrain/bert-pydoc/1"), "bert", kind)
    assert cli("export", "output=theirs")[0] == 0
    theirs = transformers.AutoModelForMaskedLM.from_pretrained("theirs").eval()
    words = transformers.AutoTokenizer.from_pretrained("theirs")
    for text in ("Birds can [MASK].", "[MASK] can run, and a [MASK]"):
        inputs = words(text, return_tensors="pt", return_token_type_ids=False)
        with torch.inference_mode():
            share = theirs(**inputs).logits[inputs.input_ids == words.mask_token_id].softmax(-1)  # (M, V)
        masks = ssl_cli.load(run).fill(text, 4)  # type: ignore[attr-defined]
        assert len(masks) == len(share)
        for candidates, row in zip(masks, share, strict=True):
            assert [candidate.probability for candidate in candidates] == pytest.approx(
                row.topk(4).values.tolist(), abs=1e-4
            )


def test_a_run_folder_can_not_be_the_output(cli: Cli, workdir: Path) -> None:
    run = make_run(Path("outputs/pretrain/gpt-pydoc/1"))
    (run / "figures").mkdir()
    Path("link").symlink_to(run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    for output in (run, run.resolve(), "link", "outputs/../link/.", run / "figures", "link/new"):
        code, _, err = cli("export", f"run={run}", f"output={output}", "overwrite=true")
        is_inside = str(output).endswith(("figures", "new"))
        assert code == 2 and f"{'lies in' if is_inside else 'is'} a run: name a folder outside it." in err
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert cli("generate", f"output={run}", "overwrite=true", "max_tokens=1")[0] == 2
    Path("other").mkdir()
    Path("other/config.yaml").write_text("model: mine\n")  # another program's
    assert cli("export", "output=other", "overwrite=true")[0] == 0


def test_a_full_disk_names_the_output_folder(cli: Cli, workdir: Path) -> None:
    make_run(Path("outputs/pretrain/gpt-pydoc/1"))
    with full_disk(10_000):
        code, _, err = cli("export", "output=new")
    assert code == 2
    assert "error: new can't be written: File too large" in err and ".ssl-" not in err
    assert sorted(path.name for path in Path().iterdir()) == ["outputs"]


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
