"""Numbers and texts of an untrusted run folder: scaling, metrics, environment, history, names on a terminal."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from ssl_cli.printable import escape_controls
from tests.conftest import QUICK, Cli
from tests.helpers.untrusted_runs import Attack, without_fingerprint

# --- a tokenizer or scaling file with surprises ------------------------------------------------------------


def preprocessor(change: Callable[[dict[str, Any]], Any]) -> Attack:
    def attack(folder: Path) -> None:
        state = json.loads((folder / "preprocessor.json").read_text())
        change(state)
        (folder / "preprocessor.json").write_text(json.dumps(state))

    return attack


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s["columns"][0].update(mean="0"), "columns[0].mean must be a number, not '0'"),
        (lambda s: s["columns"][0].update(mean=float("nan")), "columns[0].mean must be a number, not nan"),
        (lambda s: s["columns"][0].update(mean=10**400), "columns[0].mean must be a number, not 1000"),
        (lambda s: s["columns"][0].update(std=float("inf")), "columns[0].std must be a number above 0, not inf"),
        (lambda s: s["columns"][0].update(std=0), "columns[0].std must be a number above 0, not 0"),
        (lambda s: s["columns"][0].update(kind="code"), "columns[0].kind must be one of number, symbol, clock"),
        (lambda s: s["columns"][0].update(type="os.system"), "columns[0].type must be one of number, truth"),
        (lambda s: s["columns"][0].pop("std"), "columns[0] must have type, name, kind, mean, std, missing"),
        (lambda s: s["columns"][0].update(rows=0), "columns[0].rows must be a whole number of at least 1, not 0"),
        (lambda s: s["columns"][3].update(counts=[1]), "columns[3].counts must have a number for each of the values"),
        (lambda s: s["columns"][3].update(counts=[120, 120]), "which add up to at most the rows"),
        (lambda s: s["columns"][0].update(name="not there"), "its columns must be among its names"),
        (lambda s: s["columns"][0].update(power={"lambda": 1e9}), "columns[0].power must have lambda, mean, std"),
        (lambda s: s["columns"][0].update(notation={"decimal": ";"}), "columns[0].notation must have decimal"),
        (
            lambda s: s["columns"][0].update(
                notation={"decimal": ".", "thousands": "", "unit": "(.*)*", "leading_zeros": False}
            ),
            "columns[0].notation.unit must be a currency, a percent sign or empty",
        ),
        (lambda s: s["columns"][0].update(part="year", source="V1"), "columns[0].part must be one of hour of day"),
        (lambda s: s["columns"][3].update(values=[["x"]]), "columns[3].values must be a list, each a text"),
        (
            lambda s: s["columns"][3].update(values=["x"] * 10**5, counts=[0] * 10**5),
            "preprocessor.json is damaged: its rows do not have the model's shape",
        ),
        (lambda s: s.update(columns={}), "it.columns must be a list"),
        (lambda s: s.update(columns=[]), "its columns must be among its names"),
        (lambda s: s.update(columns=[5]), "it.columns must be a list"),
        (lambda s: s.update(extra=1), "it must have columns, dropped, names, layout"),
        (lambda s: s["layout"].update(delimiter=",,"), "layout.delimiter must be one character"),
        (lambda s: s["layout"].update(header="no"), "layout.header must be true or false"),
        (lambda s: s["layout"].update(columns="abc"), "layout.columns must be a list"),
        (lambda s: (s["columns"].pop(), s["names"].append("z")), "damaged"),
    ],
    ids=range(26),
)
def test_a_scaling_file_with_surprises(refused: Callable[..., None], change: Any, sentence: str) -> None:
    refused(preprocessor(change), sentence, ("load", "score"))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[1]", "{", "\x00", "9" * 5000])
def test_a_scaling_file_that_is_no_object(refused: Callable[..., None], text: str) -> None:
    refused(
        lambda folder: (folder / "preprocessor.json").write_text(text),
        "preprocessor.json is damaged",
        ("load", "score"),
    )


@pytest.mark.parametrize("scores", [[np.nan], [[1.0]], [], [1]])
def test_calibration_scores_that_are_none(refused: Callable[..., None], scores: list) -> None:
    def attack(folder: Path) -> None:
        save_file({"scores": np.array(scores)}, folder / "calibration.safetensors")

    refused(attack, "its scores must be a row of at least one finite number", ("load", "score"))


# --- a poisoned environment.json --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "ways"),
    [
        ("environment.json", '{"wall_time_s": "x"}', ("resume",)),
        ("environment.json", "[" * 100_000, ("resume",)),
        ("environment.json", '{"wall_time_s": 1' + "0" * 400 + "}", ("resume",)),
        ("environment.json", '{"a": "' + "x" * (2 << 20) + '"}', ("resume",)),
        ("metrics.json", '{"test/flagged": "x"}', ("load", "score")),
        ("metrics.json", '{"threshold/value": [[1]]}', ("load", "score")),
        ("metrics.json", '{"threshold/value": true}', ("load", "score")),
        ("metrics.json", '{"\x1b]0;x\x07": 1}', ("load", "score")),
        ("metrics.json", '{"test/flagged": 1}', ("load", "score")),
        ("history.csv", "step,val/loss\n1,os.system\n", ("resume",)),
        ("history.csv", "val/loss\n1\n", ("resume",)),
        ("history.csv", "step\n1,2,3\n", ("resume",)),
    ],
    ids=range(12),
)
def test_poisoned_facts(refused: Callable[..., None], name: str, text: str, ways: tuple[str, ...]) -> None:
    def attack(folder: Path) -> None:
        (folder / name).write_text(text)
        if name == "history.csv":
            (folder / "last.ckpt").unlink()

    refused(attack, f"{name} is damaged", ways)


def test_other_data_is_not_taken_for_the_runs_own(refused: Callable[..., None]) -> None:
    attack = lambda folder: (folder / "environment.json").write_text('{"data_fingerprint": [1]}')  # noqa: E731
    refused(attack, "The data has changed since", ("resume",))


@pytest.mark.parametrize("attack", [without_fingerprint, lambda folder: (folder / "environment.json").unlink()])
def test_data_of_which_nothing_is_known(refused: Callable[..., None], attack: Attack) -> None:
    refused(attack, "doesn't say what data the run learned from (data_fingerprint)", ("resume",))


def test_a_terminal_obeys_nothing_that_a_run_says(honest: Path, cli: Cli, workdir: Path) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"
    (original,) = honest.glob("outputs/detect/ocsvm-table/*")
    shutil.copytree(original, workdir / "outputs" / "detect" / "x" / evil)
    cfg = f"verb: detect\nheadline: [{json.dumps(evil)}]\n"
    (workdir / "outputs" / "detect" / "x" / evil / "config.yaml").write_text(cfg)
    (workdir / "outputs" / "detect" / "x" / evil / "metrics.json").write_text(json.dumps({evil: 1.0}))
    for words in (["list", "runs"], ["detect", f"resume={workdir / 'outputs' / 'detect' / 'x' / evil}"]):
        _, out, err = cli(*words)
        assert words[0] == "detect" or "owned" in out.replace("\n", "")
        assert not set(out + err) & set(evil[:1] + "\x07\x9b\u202e")
    assert escape_controls(evil + "\n\t é") == "\\x1b]0;owned\\x07\\x1b[2J\\x9b31m\\u202e\n\t é"


def test_a_date_that_no_calendar_has_is_listed(honest: Path, cli: Cli, workdir: Path) -> None:
    shutil.copytree(honest / "outputs", workdir / "outputs")
    path = next(workdir.glob("outputs/*/*/*/environment.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"started": "99999-13-45T00:00:00"}))
    code, out, _ = cli("list", "runs")
    assert code == 0 and "damaged" in out


def test_a_number_that_is_none_stops_no_other_run(honest: Path, cli: Cli, workdir: Path) -> None:
    shutil.copytree(honest / "outputs", workdir / "outputs")
    path = next(workdir.glob("outputs/*/*/*/environment.json"))
    for text in ('{"number": "x"}', "{", '{"number": [1]}'):
        path.write_text(text)
        assert cli("detect", "model=gaussian", *QUICK)[0] == 0
