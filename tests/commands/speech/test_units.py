"""`ssl units`: a table of units with times, and spectrograms."""

import csv
from pathlib import Path

import numpy as np
import pytest

import ssl_cli
from ssl_cli.commands.speech.units import stretches
from tests.commands.speech.conftest import SpeechRuns
from tests.conftest import Cli


def test_stretches_of_the_same_unit() -> None:
    assert stretches(np.array([3, 3, 1, 3]), 0.02) == [(0.0, 0.04, "3"), (0.04, 0.06, "1"), (0.06, 0.08, "3")]


@pytest.mark.figures
def test_units_of_a_folder(cli: Cli, speech_run: SpeechRuns, recordings: Path) -> None:
    folder = speech_run("speech_vqvae")
    code, out, err = cli("units", f"input={recordings}", "output=new")
    assert (code, err) == (0, ""), err
    with Path("new/units.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    run = ssl_cli.load(folder)
    speech = run.read(recordings)
    for name, units in list(zip(speech.names, run.units(speech), strict=True))[:3]:
        unit_s = run.model.stride / run.reader.settings.frames_per_s
        own = [row for row in rows if row["file"] == name]
        lengths = [round((float(row["end_s"]) - float(row["start_s"])) / unit_s) for row in own]
        again = [int(row["unit"]) for row, length in zip(own, lengths, strict=True) for _ in range(length)]
        assert again == units.tolist()
    assert len({row["file"] for row in rows}) == 36 and "36 recordings" in out
    assert len(list(Path("new/figures").iterdir())) == 10


def test_options_of_layers_are_refused_for_a_vqvae(cli: Cli, speech_run: SpeechRuns, recordings: Path) -> None:
    speech_run("speech_vqvae")
    code, _, err = cli("units", f"input={recordings}", "layer=1")
    assert code == 2 and "layer is for the layers of a speech_bert" in err
    assert not Path("outputs/units").exists()


def test_a_run_without_units_is_refused_with_the_models_that_have_some(
    cli: Cli, speech_run: SpeechRuns, recordings: Path
) -> None:
    run = speech_run("voice_ae")
    code, _, err = cli("units", f"run={run}", f"input={recordings}")
    assert code == 2 and "can't give units of speech; speech_bert, speech_gpt, speech_vqvae can." in err
