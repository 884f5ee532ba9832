"""`ssl reconstruct` on speech: what a run leaves, what its report says, and its default data."""

import json
from pathlib import Path

import pytest

from tests.commands.speech.conftest import NETWORK, SHORT, SMALL, SpeechRuns
from tests.conftest import Cli


@pytest.mark.figures
@pytest.mark.long
def test_a_judged_run(cli: Cli, recordings: Path) -> None:
    """Judges listen, units are compared, codes are probed; an unheard speaker is source and target."""
    options = [f"data.dir={recordings}", "data.unheard_speakers=[cid]", "judges=true", "probes=true", "clips=2"]
    code, out, err = cli("reconstruct", "model=voice_ae", *SHORT, *SMALL["voice_ae"], *options)
    assert code == 0, err
    folder = Path(out.strip().splitlines()[-1])
    metrics = json.loads((folder / "metrics.json").read_text())
    expected = {"word_kept", "target_voice", "source_voice", "mcd_db", "unheard_source_word_kept", "rebuilt_mcd_db"}
    expected |= {"unheard_target_target_voice", "content_speaker_probe", "without_word_word_kept"}
    assert {f"test/{name}" for name in expected} <= set(metrics)
    assert metrics["test/word_judge"] > 0.9 and metrics["test/speaker_judge"] > 0.9
    figures = {path.name for path in (folder / "figures").iterdir()}
    assert {"reconstructions.png", "conversions.png", "training.png"} <= figures
    page = (folder / "report.html").read_text()
    assert page.count("<audio") == len(list((folder / "sounds").iterdir())) >= 2 * (3 + 3 + 3 + 2)


def test_units_of_a_run_are_compared_with_k_means(trained_speech: SpeechRuns) -> None:
    metrics = json.loads((trained_speech("speech_vqvae") / "metrics.json").read_text())
    assert {"test/unit_speaker", "test/unit_speaker_kmeans", "test/bitrate", "test/rebuilt_mcd_db"} <= set(metrics)
    assert metrics["test/units_per_s"] == 50


def test_speech_models_have_synthetic_speech_as_default(cli: Cli) -> None:
    code, out, err = cli("reconstruct", "model=speech_ae", *SHORT[5:], *NETWORK, "data.takes=2", "judges=false")
    assert code == 0, err
    assert "data=synthetic_speech" in out


def test_one_speaker_alone_is_no_voice_to_convert_to(cli: Cli, recordings: Path) -> None:
    for path in recordings.iterdir():
        if "ann" in path.name:
            Path("one").mkdir(exist_ok=True)
            (Path("one") / path.name).write_bytes(path.read_bytes())
    words = ["model=voice_ae", *SHORT, *SMALL["voice_ae"], "data.dir=one", "judges=true"]
    code, out, err = cli("reconstruct", *words)
    assert code == 0, err
    assert "ann is the only speaker: there is no other voice" in err
    assert "1 speaker;" in out and "word_kept" not in out


def test_training_utterances_are_not_called_test_utterances(cli: Cli) -> None:
    words = ["data.takes=2", "data.test=0", "judges=false", "probes=false", *SHORT[7:]]
    code, out, err = cli("reconstruct", "model=voice_knn", *words)
    assert code == 0, err
    assert "evaluating on 87 training utterances" in out
    assert "no utterance is held out for the test: the metrics below are of the training utterances" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["model=voice_knn", "prior_steps=1"], "prior_steps is for images, and data=synthetic_speech holds speech"),
        (["model=ae", "judges=false"], "judges is for speech, and data=digits holds images"),
        (["model=voice_knn", "vocoder=nowhere"], "vocoder=nowhere is not a folder"),
    ],
)
def test_what_is_refused_before_training(cli: Cli, words: list[str], sentence: str) -> None:
    code, _, err = cli("reconstruct", *words)
    assert (code, err.count("\n")) == (2, 1) and sentence in err, err
    assert not Path("outputs").exists()
