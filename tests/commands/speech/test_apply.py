"""`ssl reconstruct run=... input=x.wav` and `ssl embed` with a run on speech."""

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
import soundfile

import ssl_cli
from tests.commands.speech.conftest import SpeechRuns
from tests.conftest import Cli


def test_recordings_are_rebuilt(cli: Cli, speech_run: SpeechRuns, recordings: Path) -> None:
    run = speech_run("speech_ae")
    code, out, err = cli("reconstruct", f"run={run}", f"input={recordings}", "output=new")
    assert (code, err) == (0, ""), err
    assert "36 in = 36 rebuilt + 0 rejected" in out
    rows = list(csv.DictReader(Path("new/errors.csv").read_text().splitlines()))
    assert len(rows) == 36 and all(0 < float(row["mcd_db"]) < 50 for row in rows)
    assert soundfile.info("new/ai_ann_0.wav").samplerate == 8000


def test_the_output_must_lie_apart_from_the_source(cli: Cli, speech_run: SpeechRuns, recordings: Path) -> None:
    run = speech_run("speech_ae")
    code, _, err = cli("reconstruct", f"run={run}", f"input={recordings}", f"output={recordings}/new")
    assert code == 2 and "lies in the folder of the input" in err


@pytest.mark.figures
def test_embedding_of_the_data_of_the_run(cli: Cli, speech_run: SpeechRuns) -> None:
    speech_run("voice_ae")
    code, out, err = cli("embed", "output=new", "map=pca")
    assert (code, err) == (0, ""), err
    assert "36 recordings, each a code of 8 numbers and voice of 64 numbers" in out
    table = pyarrow.parquet.read_table("new/codes.parquet")
    assert set(table["speaker"].to_pylist()) == {"ann", "bob", "cid"} and set(table["word"].to_pylist()) == {"ai", "ua"}
    assert sorted(path.name for path in Path("new").iterdir()) == ["codes.parquet", "map_content.png", "map_voices.png"]


def test_embedding_of_files_is_that_of_python(cli: Cli, speech_run: SpeechRuns, recordings: Path) -> None:
    folder = speech_run("speech_vqvae")
    assert cli("embed", f"input={recordings}", "output=new", "map=pca")[0] == 0
    table, run = pyarrow.parquet.read_table("new/codes.parquet"), ssl_cli.load(folder)
    speech = run.read(recordings)
    np.testing.assert_allclose(np.stack(table["code"].to_numpy()), run.content_means(speech), rtol=1e-5, atol=1e-6)
    assert table["units"].to_pylist() == [units.tolist() for units in run.units(speech)]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["embed", "data=digits"], "reads speech, which data=digits has not; fsdd, mboshi, speech, "),
        (["embed", "data=synthetic_speech"], "The frames of this data set have n_mels=64, those of "),
        (["generate"], "model=voice_ae can't generate; "),
        (["reconstruct", "input=x.wav", "vocoder=none"], "vocoder=none is not a folder"),
    ],
)
def test_what_a_run_on_speech_refuses(cli: Cli, speech_run: SpeechRuns, words: list[str], sentence: str) -> None:
    run = speech_run("voice_ae")
    code, _, err = cli(*words, f"run={run}")
    assert (code, err.count("\n")) == (2, 1) and sentence in err, err
