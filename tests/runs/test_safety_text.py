"""An untrusted run of `ssl pretrain`."""

import os
import shutil
from pathlib import Path

import pytest

import ssl_cli
from ssl_cli.errors import InputError
from ssl_cli.runs.digests import write_digests
from tests.conftest import Cli, run_here
from tests.helpers.processes import folder_of
from tests.helpers.untrusted_runs import CANARY, Attack, bomb, configured, pickled, without_fingerprint

SECRET = "the password of the safe is swordfish and nobody may know it"


@pytest.fixture(scope="module")
def honest_text(tmp_path_factory: pytest.TempPathFactory, published: Path) -> Path:
    """A finished run of ssl pretrain."""
    home = tmp_path_factory.mktemp("text")
    words = ["trainer=cpu", "trainer.max_steps=2", "trainer.batch_size=8"]
    words += ["model.network.size=tiny", "model.network.context=24"]
    words += ["data=text", f"data.files={published}/text/stories.txt", "data.document=block", "data.cache=tokens"]
    return folder_of(run_here("pretrain", *words, cwd=home), home)


def secret(folder: Path) -> None:
    configured(data__files=str(Path("secret.txt").resolve()))(folder)


def secret_without_fingerprint(folder: Path) -> None:
    secret(folder)
    without_fingerprint(folder)


def secret_phrases(folder: Path) -> None:
    configured(data__phrases=str(Path("secret.txt").resolve()), model__mask_unit="whole_word")(folder)


@pytest.mark.parametrize(
    ("attack", "sentence"),
    [
        (secret, "The data has changed since"),
        (secret_phrases, "The data has changed since"),
        (secret_without_fingerprint, "doesn't say what data the run learned from"),
    ],
)
def test_a_private_text_goes_into_no_untrusted_run(
    honest_text: Path, cli: Cli, workdir: Path, attack: Attack, sentence: str
) -> None:
    """Resuming an untrusted run puts no file into it that its author did not have."""
    (workdir / "secret.txt").write_text(f"{SECRET}\n\n" * 100)
    folder = shutil.copytree(honest_text, workdir / "theirs")
    attack(folder)
    write_digests(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, _, err = cli("pretrain", "resume=theirs", "trainer.max_steps=4", "data.cache=tokens")
    assert code == 2
    assert sentence in err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("section", ["init", "tokenizer"])
def test_what_a_run_began_with_is_not_looked_for(honest_text: Path, cli: Cli, workdir: Path, section: str) -> None:
    """A pipe there would never end; the run has its tokenizer and its weights."""
    os.mkfifo(workdir / "tokenizer.json")
    os.mkfifo(workdir / "config.json")
    folder = shutil.copytree(honest_text, workdir / "theirs")
    taken = {"_target_": "ssl_cli.data.tokenizers.pretrained.PretrainedTokenizer", "folder": str(workdir)}
    configured(**{section: str(workdir) if section == "init" else taken})(folder)
    write_digests(folder)
    code, _, err = cli("pretrain", "resume=theirs", "trainer.max_steps=4", "data.cache=tokens")
    assert code == 0, err


@pytest.mark.parametrize(
    ("attack", "sentence"),
    [
        (
            configured(model__network__vocab_size=2 * 10**7),
            "model.network.vocab_size must be a whole number of at least 1 and of at most",
        ),
        (
            configured(model__network__layers=3000),
            "model.network.layers must be a whole number of at least 1 and of at most 1000",
        ),
        (
            configured(model__network__context=10**7),
            "model.network.context must be a whole number of at least 8 and of at most 131072",
        ),
        (configured(model__network__width=512, model__network__layers=1), "the config's model has it as"),
        (configured(model__specials={"mask": 4, "cls": 10**6, "sep": 3}), "is damaged: its files don't make a model"),
        (pickled("model.safetensors"), "is a pickle: it holds more than numbers, and would run code"),
        (bomb("last.ckpt"), "last.ckpt would unpack to more than its size"),
        (lambda folder: (folder / "tokenizer.json").write_text("[" * 10**5), "can't be read as a tokenizer"),
    ],
    ids=range(8),
)
def test_a_model_of_text_with_surprises(
    honest_text: Path, cli: Cli, workdir: Path, attack: Attack, sentence: str
) -> None:
    folder = shutil.copytree(honest_text, workdir / "theirs")
    attack(folder)
    write_digests(folder)
    with pytest.raises(InputError) as raised:
        ssl_cli.load(folder)
    code, _, err = cli("fill", "run=theirs", "text=the [MASK]")
    assert code == 2
    for message in (str(raised.value), err):
        assert sentence in message
        assert len(message) < 1500 and "Traceback" not in message
    assert not list(workdir.rglob(CANARY))


def test_tables_that_dwarf_the_weights(honest_text: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotary positions are computed, not read, so the config alone decides their size."""
    monkeypatch.setattr("ssl_cli.methods.build.MAX_UNSAVED_BYTES", 1 << 20)
    folder = shutil.copytree(honest_text, workdir / "theirs")
    assert ssl_cli.load(folder)
    configured(model__network__context=131_072)(folder)
    write_digests(folder)
    with pytest.raises(InputError, match="is far smaller than the tables of the config's model: 34 MB"):
        ssl_cli.load(folder)
