"""`ssl convert`: what is said in another voice; outputs, voices, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

import ssl_cli
from ssl_cli.commands.speech.finished import SpeechRun
from tests.commands.speech.conftest import SpeechRuns
from tests.conftest import Cli

SOURCE = "ai_ann_1.wav"


def wave(path: str | Path) -> np.ndarray:
    return soundfile.read(path)[0]


@pytest.mark.figures
def test_a_file_becomes_a_file_with_spectrograms_beside_it(
    cli: Cli, speech_run: SpeechRuns, recordings: Path
) -> None:
    speech_run("voice_ae")
    code, out, err = cli("convert", f"source={recordings / SOURCE}", "target=bob", "output=c.wav")
    assert (code, err) == (0, ""), err
    assert "to the voice of bob" in out and "1 converted" in out
    assert soundfile.info("c.wav").samplerate == 8000
    assert abs(len(wave("c.wav")) - len(wave(recordings / SOURCE))) <= 80  # a hop
    assert Path("c.png").stat().st_size > 5000


def test_the_voice_matters_and_so_does_what_is_said(trained_speech: SpeechRuns, recordings: Path) -> None:
    run = ssl_cli.load(trained_speech("voice_ae"))
    assert isinstance(run, SpeechRun)
    speech, other = run.read(recordings / SOURCE), run.read(recordings / "ua_ann_1.wav")
    (bob,), (cid,) = (run.convert(speech, run.voice(name)) for name in ("bob", "cid"))
    assert np.abs(bob - cid).mean() > 1e-3
    (said,), (else_said,) = run.convert(speech, run.voice("bob")), run.convert(other, run.voice("bob"))
    frames = min(len(said), len(else_said))
    assert np.abs(said[:frames] - else_said[:frames]).mean() > 1e-3


def test_a_folder_becomes_a_folder_and_bad_files_are_named(cli: Cli, speech_run: SpeechRuns, recordings: Path) -> None:
    speech_run("voice_knn")
    Path("in/ann").mkdir(parents=True)
    for name in ("ai_ann_1.wav", "ua_ann_2.wav"):
        Path("in/ann", name).write_bytes((recordings / name).read_bytes())
    Path("in/broken.wav").write_text("no sound")
    code, _, err = cli("convert", "source=in", f"target={recordings / 'ai_bob_2.wav'}", "output=new")
    assert code == 0 and "1 of 3 files can't be read" in err and "no speaker of the run's training" in err
    assert sorted(path.name for path in Path("new/ann").iterdir()) == ["ai_ann_1.wav", "ua_ann_2.wav"]
    assert "broken.wav" in Path("new/rejects.csv").read_text()
    assert sorted(path.name for path in Path("new/figures/ann").iterdir()) == ["ai_ann_1.png", "ua_ann_2.png"]


def test_bad_files_among_those_of_the_voice_are_named(cli: Cli, speech_run: SpeechRuns, recordings: Path) -> None:
    speech_run("voice_knn")
    Path("bob").mkdir()
    Path("bob/good.wav").write_bytes((recordings / "ai_bob_2.wav").read_bytes())
    Path("bob/bad.wav").write_text("no sound")
    code, _, err = cli("convert", f"source={recordings / SOURCE}", "target=bob/", "output=c.wav")
    assert code == 0 and "1 of 2 files can't be read, and are left out: bad.wav: it is text, not a sound" in err


def test_a_model_with_a_table_of_speakers_converts_to_those(
    cli: Cli, speech_run: SpeechRuns, recordings: Path
) -> None:
    speech_run("speech_ae")
    assert cli("convert", f"source={recordings / SOURCE}", "target=cid", "output=c.wav")[0] == 0
    code, _, err = cli("convert", f"source={recordings / SOURCE}", f"target={recordings / SOURCE}", "output=d.wav")
    assert code == 2 and "knows only the voices that it was trained on: set target to one of ann, bob, cid" in err
    assert not Path("d.wav").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["target=bop"], "target=bop is neither a speaker of the run nor a file. Did you mean bob?"),
        (["target="], "target= is neither a speaker of the run nor a file. Its speakers are ann, bob, cid."),
        (["target=12"], """target must be a text, not 12. Quotes make a text of it: 'target="12"'."""),
        (["output=c.mp3"], "output=c.mp3 must be a .wav file, or a folder"),
        (["vocoder=two"], "vocoder=two has no config.json"),
        (["source=none.wav"], "none.wav is neither a file nor a folder"),
        (["source=text.wav"], "text.wav can't be used: it is text, not a sound"),
        (["output=s.wav"], "output=s.wav is the source itself"),
        (["output=nowhere/c.wav"], "there is no folder nowhere"),
        (["output=taken.wav"], "taken.wav exists"),
        (["source=two"], "source=two holds 2 recordings: set output to a folder"),
    ],
)
def test_what_is_refused(
    cli: Cli, speech_run: SpeechRuns, recordings: Path, words: list[str], sentence: str
) -> None:
    speech_run("voice_ae")
    Path("two").mkdir()
    for path in ("s.wav", "two/a.wav", "two/b.wav", "taken.wav"):
        Path(path).write_bytes((recordings / SOURCE).read_bytes())
    Path("text.wav").write_text("no sound")
    before = sorted(Path().rglob("*"))
    code, _, err = cli("convert", "source=s.wav", "target=bob", "output=c.wav", *words)
    assert (code, err.count("\n")) == (2, 1) and sentence in err, err
    assert sorted(Path().rglob("*")) == before


def test_a_run_on_images_is_refused(cli: Cli, trained_speech: SpeechRuns, recordings: Path) -> None:
    code, _, err = cli("convert", "source=x.wav", "target=bob", "output=c.wav")
    assert code == 2 and "There is no finished reconstruct run that can convert voices" in err
