"""Fixtures of speech: recordings, and small finished runs on them."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import run_here
from tests.helpers.recordings import write_recordings

SHORT = [
    *("data=fsdd", "data.test_takes=[0]", "data.val=0", "data.n_mels=16", "judges=false", "probes=false"),
    *("trainer=cpu", "trainer.max_steps=6", "trainer.validate_every_n_steps=3", "trainer.batch_size=8"),
]
NETWORK = ["model.encoder.width=16", "model.encoder.blocks=1", "model.decoder.width=16", "model.decoder.blocks=1"]
SMALL = {
    "voice_ae": [*NETWORK, "model.encoder.latent=8", "model.voices.width=16"],
    "speech_ae": [*NETWORK, "model.encoder.latent=8"],
    "speech_vqvae": [*NETWORK, "model.quantizer.num_codes=8", "model.encoder.latent=8"],
    "voice_knn": [],
}
SpeechRuns = Callable[..., Path]


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings, `word_speaker_take.wav`. Tests must not change it."""
    return write_recordings(tmp_path_factory.mktemp("speech") / "recordings")


@pytest.fixture(scope="session")
def trained_speech(tmp_path_factory: pytest.TempPathFactory, recordings: Path) -> SpeechRuns:
    """`trained_speech("voice_ae")` -> the folder of a finished run, made once. Tests must not change it."""
    folders: dict[tuple[str, ...], Path] = {}

    def train(model: str, *words: str) -> Path:
        if (model, *words) not in folders:
            home = tmp_path_factory.mktemp(model)
            options = [f"model={model}", *SHORT, *SMALL[model], f"data.dir={recordings}", *words]
            done = run_here("reconstruct", *options, cwd=home)
            assert done.returncode == 0, done.stderr
            (folders[model, *words],) = home.glob("outputs/reconstruct/*/*")
        return folders[model, *words]

    return train


@pytest.fixture
def speech_run(trained_speech: SpeechRuns, workdir: Path) -> SpeechRuns:
    """As `trained_speech`, but a copy in the working directory's outputs, which a test may change."""

    def copy(model: str, *words: str) -> Path:
        original = trained_speech(model, *words)
        folder = Path("outputs/reconstruct") / original.parent.name / "_".join([original.name, *words])
        shutil.copytree(original, folder)
        return folder

    return copy
