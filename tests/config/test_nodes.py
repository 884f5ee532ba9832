"""Every group of options in the shipped YAML files, replaced by something else: a sentence, and no traceback."""

from collections.abc import Iterator
from itertools import cycle

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from ssl_cli.config.check import check
from ssl_cli.config.choices import built_in_conf, default_choices, suitable_choices
from ssl_cli.config.instantiate import names_where
from ssl_cli.config.typecheck import provides
from ssl_cli.config.verbs import VERBS
from ssl_cli.errors import InputError
from ssl_cli.methods.protocols import LearnsFromImages

DATA_OF = {"sentence_vae": ["data=sst2_sentences"], "text_ae": ["data=reuters"]}  # models that have a tokenizer
TRAINING = [verb for verb, spec in VERBS.items() if spec.makes_runs]


def group_names(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """Yield the dotted name of each group of options below a node."""
    for key in map(str, node):
        if isinstance(inner := node._get_node(key), DictConfig):
            yield f"{prefix}{key}"
            yield from group_names(inner, f"{prefix}{key}.")


def faults(cfg: DictConfig, verb: str, name: str, value: object) -> str:
    """Return what is wrong with a config in which something has this value; "" if nothing is."""
    changed = cfg.copy()
    OmegaConf.set_struct(changed, False)
    changed.choices = {}
    OmegaConf.update(changed, name, value, merge=False)
    try:
        check(changed, verb)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("verb", TRAINING)
def test_a_group_that_is_something_else(verb: str) -> None:
    seen, values = set(), cycle((5, "abc", [1]))
    with initialize_config_dir(str(built_in_conf().resolve()), version_base="1.3"):
        choices = [[f"model={name}"] for name in suitable_choices("model", verb)]
        # A check of data and model comes first.
        if verb == "pretrain":
            of_images = [f"model={name}" for name in names_where("model", lambda of: provides(of, LearnsFromImages))]
            choices = [[*words, "data=fsdd"] if "=speech_" in words[0] else words for words in choices]
            choices = [[*words, "data=digits"] if words[0] in of_images else words for words in choices]
        if verb == "reconstruct":
            choices = [[*words, *DATA_OF.get(words[0].removeprefix("model="), [])] for words in choices]
        for words in [[], *choices]:
            cfg = compose(verb, words)
            for name in group_names(cfg):
                key = (name, str(OmegaConf.select(cfg, f"{name}._target_")))
                if key in seen or name.split(".")[0] in ("facts", "choices", "logger"):
                    continue
                seen.add(key)
                value = next(values)
                assert name.split(".")[0] in faults(cfg, verb, name, value), (words, name, value)
                faults(cfg, verb, name, None)  # which some options may be


@pytest.mark.parametrize("value", ["${facts.shape}", "${nope}", "???", {"_target_": 5}, {"_target_": "${nope}"}])
@pytest.mark.parametrize("name", ["data", "trainer", "model._target_", "model.network", "model.noise", "data.scaling"])
def test_a_reference_to_nothing(name: str, value: object) -> None:
    with initialize_config_dir(str(built_in_conf().resolve()), version_base="1.3"):
        assert faults(compose("detect", ["model=dae"]), "detect", name, value)


def test_default_choices_are_those_of_the_yaml() -> None:
    with initialize_config_dir(str(built_in_conf().resolve()), version_base="1.3"):
        for verb in VERBS:
            chosen = compose(verb, [], return_hydra_config=True).hydra.runtime.choices
            own = {group: name or "null" for group, name in chosen.items() if not group.startswith("hydra/")}
            assert default_choices(verb) == own


@pytest.mark.parametrize("model", ["bert", "gpt", "bart", "mass", "t5"])
def test_every_kind_of_block_is_an_option_of_a_text_model(model: str) -> None:
    wanted: dict[str, object] = {"positions": "relative", "normalization": "rms", "biases": False}
    with initialize_config_dir(str(built_in_conf().resolve()), version_base="1.3"):
        cfg = compose("pretrain", [f"model={model}", "data=text", "data.files=a.txt"])
    for name, value in [*wanted.items(), ("activation", "geglu"), ("activation", "swiglu")]:
        assert name in cfg.model.network and not faults(cfg, "pretrain", f"model.network.{name}", value)
    for name, value in {"positions": "absolute", "normalization": "batch", "biases": 2, "activation": "silu"}.items():
        assert f"model.network.{name} must be" in faults(cfg, "pretrain", f"model.network.{name}", value)
