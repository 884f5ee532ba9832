"""Specifications of the verbs: what they name exists."""

import dataclasses
from importlib import import_module

import pytest

from ssl_cli.config.choices import built_in_conf, verbs
from ssl_cli.config.instantiate import read_yaml
from ssl_cli.config.verbs import VERBS


def is_protocol(dotted: str) -> bool:
    module, _, name = dotted.rpartition(".")
    return bool(getattr(getattr(import_module(f"ssl_cli.{module}"), name, None), "_is_protocol", False))


def test_every_verb_of_conf_has_a_specification() -> None:
    assert set(VERBS) | {"list", "completion"} == set(verbs())


@pytest.mark.parametrize("verb", VERBS)
def test_the_protocols_of_a_verb_exist(verb: str) -> None:
    spec = VERBS[verb]
    assert all(is_protocol(f"methods.{name}") for name in spec.model)
    assert all(is_protocol(f"data.protocols.{name}") for name in spec.data)
    assert bool(spec.model) == bool(spec.model_ability)


@pytest.mark.parametrize("verb", VERBS)
def test_the_command_of_a_verb_has_run(verb: str) -> None:
    assert callable(import_module(f"ssl_cli.commands.{VERBS[verb].command}").run)


@pytest.mark.parametrize("verb", VERBS)
def test_the_options_of_a_verb_are_those_of_its_yaml(verb: str) -> None:
    """Both ways: a typed option without a value in the YAML is one with a default in the dataclass."""
    content = read_yaml(built_in_conf() / f"{verb}.yaml")
    groups = {str(group) for entry in content.pop("defaults", []) if entry != "_self_" for group in entry}
    fields = {field.name: field for field in dataclasses.fields(VERBS[verb].options)}
    assert set(map(str, content)) <= set(fields)
    required = {name for name, field in fields.items() if field.default is field.default_factory is dataclasses.MISSING}
    assert required <= set(map(str, content)) | groups


@pytest.mark.parametrize("verb", [verb for verb, spec in VERBS.items() if spec.makes_runs])
def test_named_options_of_a_verb_exist(verb: str) -> None:
    spec = VERBS[verb]
    names = {field.name for field in dataclasses.fields(spec.options)}
    named = {key.partition(".")[0] for key in (*spec.changeable, *spec.only_with_run, *spec.of_other_verbs)}
    assert named <= names
