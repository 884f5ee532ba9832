"""`ssl compress` and `ssl decompress` of speech."""

from pathlib import Path

import soundfile

from tests.commands.speech.conftest import SpeechRuns
from tests.conftest import Cli


def test_there_and_back(cli: Cli, speech_run: SpeechRuns, recordings: Path) -> None:
    speech_run("speech_vqvae")
    code, out, err = cli("compress", f"input={recordings}", "output=x.sslz")
    assert (code, err) == (0, ""), err
    assert "Opus at its lowest" in out and "bits per second" in out
    code, out, err = cli("decompress", "input=x.sslz", "output=new")
    assert (code, err) == (0, ""), err
    assert "36 recordings" in out
    for path in Path("new").iterdir():
        seconds = [soundfile.info(place).duration for place in (path, recordings / path.name)]
        assert abs(seconds[0] - seconds[1]) < 0.02


def test_a_file_of_another_run_is_refused(cli: Cli, speech_run: SpeechRuns, recordings: Path) -> None:
    runs = [speech_run("speech_vqvae", f"seed={seed}") for seed in (1, 2)]
    assert cli("compress", f"run={runs[0]}", f"input={recordings}", "output=x.sslz")[0] == 0
    code, _, err = cli("decompress", f"run={runs[1]}", "input=x.sslz", "output=new")
    assert code == 2 and "was written by another model" in err
    assert not Path("new").exists()


def test_a_model_without_units_is_refused(cli: Cli, speech_run: SpeechRuns, recordings: Path) -> None:
    speech_run("voice_ae")
    code, _, err = cli("compress", f"input={recordings}", "output=x.sslz")
    assert code == 2 and "can't turn units into speech; speech_vqvae can" in err
