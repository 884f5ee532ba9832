"""Resolvers, modalities of data classes, and quoting."""

from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from ssl_cli.config.instantiate import as_text, modality_of, quote, quote_if_needed, unquote

MNIST = "ssl_cli.data.images.datasets.Mnist"
TABLE = "ssl_cli.data.tables.datasets.Table"
CHOICE = "${by_modality:{table: [64], image: [512, 256]}}"


@pytest.mark.parametrize(
    ("target", "modality"),
    [
        (MNIST, "image"),
        (TABLE, "table"),
        ("ssl_cli.data.text.sources.TextFiles", "text"),
        ("ssl_cli.data.labelled.sources.LabelledFiles", "labelled"),
        ("ssl_cli.methods.detectors.gaussian.Gaussian", ""),  # not a data set
        ("builtins.int", ""),
        ("nowhere.Nothing", ""),  # can't be imported
        ("Nothing", ""),
        ("None", ""),
    ],
)
def test_modality_is_the_package_of_the_class(target: str, modality: str) -> None:
    assert modality_of(target) == modality


def test_a_users_class_has_the_modality_of_its_base(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(workdir)
    (workdir / "users_data.py").write_text(
        "from ssl_cli.data.tables.datasets import Table\n"
        "class Plain: ...\n"
        "class Rows(Table): ...\n"
        "class More(Plain, Rows): ...\n"
        "def make(): ...\n"
    )
    modalities = [modality_of(f"users_data.{name}") for name in ("Plain", "Rows", "More", "make")]
    assert modalities == ["", "table", "table", ""]


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ({"_target_": MNIST}, [512, 256]),
        ({"_target_": TABLE}, [64]),
        ({"_target_": "ssl_cli.data.text.sources.TextFiles"}, [64]),  # the first: `check` reports the data set
        ({"_target_": "nowhere.Nothing"}, [64]),
        ({}, [64]),
        (None, [64]),
    ],
)
def test_by_modality_of_the_data(data: Any, value: list[int]) -> None:
    cfg = OmegaConf.create({"data": data, "model": {"hidden": CHOICE}})
    assert cfg.model.hidden == value


def test_by_modality_in_a_config_without_data() -> None:
    assert OmegaConf.create({"model": {"hidden": CHOICE}}).model.hidden == [64]


@pytest.mark.parametrize(("key", "value"), [("none", 0), ("nsp", 2), ("typo", 0), (None, 0), (3, 0)])
def test_by_the_value_of_another_option(key: Any, value: int) -> None:
    cfg = OmegaConf.create({"task": key, "network": {"segments": "${by:${..task},{none: 0, nsp: 2}}"}})
    assert cfg.network.segments == value


@pytest.mark.parametrize(("init", "lr"), [("none", 5e-4), (None, 5e-4), ("latest", 5e-5), ("google/bert", 5e-5)])
def test_by_init(init: str | None, lr: float) -> None:
    assert OmegaConf.create({"init": init, "lr": "${by_init:{none: 5e-4, pretrained: 5e-5}}"}).lr == lr


@pytest.mark.parametrize(
    "text", ["plain/path_1.csv", "it's", "a b", "名", r"C:\dir\ ".strip(), "a\\'b", "x=1,2", "${a}"]
)
def test_quoted_texts_are_read_back_by_hydra(text: str) -> None:
    override = OverridesParser.create().parse_override(f"key={quote_if_needed(text)}")
    assert not override.is_sweep_override() and str(override.value()) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "null"), (True, "true"), (1.5, "1.5"), (["a", None, [1]], "[a, null, [1]]")]
)
def test_values_are_written_as_on_the_command_line(value: Any, text: str) -> None:
    assert as_text(value) == text


@pytest.mark.parametrize("text", ["a", "a b", "it's", "a\\", "\\'", "'", '"', "", "a'b\\\\'c", '"a b"'])
def test_a_quoted_text_is_read_back(text: str) -> None:
    assert unquote(quote(text)) == text == OverridesParser.create().parse_override(f"x={quote(text)}").value()


@pytest.mark.parametrize("text", ['"a b"', "'a b'", '"it\'s"', '"a\\"b"', "'a\\\\'"])
def test_quotes_are_those_of_hydras_grammar(text: str) -> None:
    assert unquote(text) == OverridesParser.create().parse_override(f"x={text}").value()


@pytest.mark.parametrize("text", ["", "a", "'", "a'", "'a", "'a\""])
def test_what_is_not_in_quotes_stays(text: str) -> None:
    assert unquote(text) == text
