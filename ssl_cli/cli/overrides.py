"""Checks of the overrides of a command line: each is obeyed or refused, none is ignored."""

from collections.abc import Mapping
from pathlib import Path

from hydra.core.override_parser.types import Override, ValueType
from omegaconf import DictConfig, OmegaConf

from ssl_cli import console
from ssl_cli.cli.grammar import parse_override
from ssl_cli.cli.hydra_options import is_of_hydra
from ssl_cli.config.choices import choices, default_choices, did_you_mean, groups, suitable_choices, verb_of
from ssl_cli.config.instantiate import as_text, modality_of, read_yaml, target_of
from ssl_cli.config.run import INTERNAL
from ssl_cli.config.verbs import VERBS, unused_options
from ssl_cli.errors import InputError

ARTICLES = (
    "data.articles.",
    *(f"methods.text_latent.{name}." for name in ("extractive_search", "extractive_tagger", "text_autoencoder")),
)
PACKAGES_OF = {  # modality -> the packages of its data and its methods
    "audio": ("ssl_cli.data.audio.", "ssl_cli.methods.speech."),
    "article": tuple(f"ssl_cli.{name}" for name in ARTICLES),
    "sentence": ("ssl_cli.data.sentences.", "ssl_cli.methods.text_latent.sentence_vae."),
    "image": ("ssl_cli.data.images.", "ssl_cli.methods.contrastive.", "ssl_cli.methods.masked_images."),
}
KINDS = {  # modality -> what data hold
    **{"text": "text", "image": "images", "audio": "speech"},
    **{"article": "articles", "sentence": "sentences"},
}
MULTI_CHOICE_GROUPS = {"logger"}  # groups of which a run may have several choices


def value_of(overrides: list[Override], key: str, default: str) -> str:
    """Return the last value that the command line gives an option; the default if it gives none, or a sweep."""
    matching = [override for override in overrides if override.key_or_group == key and not override.is_sweep_override()]
    value = matching[-1].value() if matching else None
    return default if value is None else str(value)


def as_line(verb: str, override: Override) -> str:
    """Return the override as a line for Hydra that may name any option: `check` then reports all faults in one message.

    `+` and `++` are obeyed, and mean the same as no sign: an option is set, whether it is there or not.
    """
    text = str(override.input_line).lstrip("+")
    if override.is_delete() or is_of_hydra(override) or override.key_or_group in default_choices(verb):
        return text
    return f"++{text}"


def _is_empty(verb: str, override: Override) -> bool:
    """Return whether an override chooses none of a group of which none is the default, such as experiment=null."""
    group = override.key_or_group
    return default_choices(verb).get(group) == "null" and not override.is_sweep_override() and override.value() is None


def as_lines(verb: str, overrides: list[Override]) -> list[str]:
    """Return the overrides as lines for Hydra, without those that leave a default as it is, which Hydra refuses."""
    return [as_line(verb, override) for override in overrides if not _is_empty(verb, override)]


def without_repeats(overrides: list[Override]) -> list[Override]:
    """Return the overrides without those that a later one of the same option replaces, each of which is said."""
    last = {override.key_or_group: override for override in overrides}
    for override in overrides:
        winner = last[override.key_or_group]
        if winner.input_line != override.input_line:
            console.warn(f"{override.input_line} is not used: {winner.input_line} comes after it")
    return [override for override in overrides if override is last[override.key_or_group]]


def check_overrides(verb: str, overrides: list[Override], sweeping: bool) -> None:
    """Raise InputError for an override that can't be obeyed, whatever the config."""
    for override in overrides:
        key, line = override.key_or_group, override.input_line
        if not key:
            raise InputError(f"{line} has no name of an option before the = sign.")
        if key.split(".")[0] in INTERNAL:
            raise InputError(f"{key} is not an option: ssl sets it by itself.")
        if override.package is not None:
            raise InputError(f"{line}: a group can't be put elsewhere by @; write {key}=NAME.")
        if "/" in key and not is_of_hydra(override):
            group, _, folder = key.partition("/")
            raise InputError(f"{line}: / belongs to the choice, not to the group; write {group}={folder}/NAME.")
        if not override.is_sweep_override() and override.value() == {}:
            raise InputError(f"{line} changes nothing: name what is to change, {key}.OPTION=VALUE.")
    check_choices(verb, overrides, sweeping)


def check_choices(verb: str, overrides: list[Override], sweeping: bool) -> None:
    """Raise InputError that lists each override of a group without such a choice, and each list without -m."""
    faults = []
    for override in overrides:
        if override.is_sweep_override() and not sweeping:
            faults.append(
                f"{override.input_line} lists several values: add -m to sweep over them, [..] around them for a list, "
                "or quotes if the comma belongs to a value."
            )
        group = override.key_or_group
        if group in groups() and group not in default_choices(verb):
            faults.append(f"{group} is not an option of ssl {verb}.")
        elif group in groups():
            faults += _choice_faults(verb, group, override)
    if faults:
        raise InputError("\n".join(faults))


def _choice_faults(verb: str, group: str, override: Override) -> list[str]:
    """Return a sentence for each choice of a group that does not exist, or is for another verb."""
    known, suitable, faults = choices(group), suitable_choices(group, verb), []
    if override.is_delete():
        names = ", ".join(suitable)
        return [f"{override.input_line}: a group can't be left out; write {group}=NAME. Choices: {names}."]
    if group not in MULTI_CHOICE_GROUPS and any("[" in text for text in _choice_texts(override)):
        return [f"{group} takes one choice; `-m {group}=NAME,NAME` compares several."]
    if group in MULTI_CHOICE_GROUPS and any(text[:1] == "[" and text[-2:-1] == "," for text in _choice_texts(override)):
        return [f"{override.input_line} is no list of names; write {group}=[NAME,NAME]."]
    if group not in MULTI_CHOICE_GROUPS and "" in _choice_texts(override):
        faults.append(f"{group}= names no choice. Choices: {', '.join(suitable)}.")
    for name in choice_names(override):
        if _is_empty(verb, override):
            continue
        if group == "experiment" and name in known and (verb_of(known[name]) or verb) != verb:
            faults.append(f"experiment={name} is a recipe of ssl {verb_of(known[name])}, not of ssl {verb}.")
        is_of_user = group == "experiment" and name in known and not known[name].built_in
        if is_of_user and "hydra" in read_yaml(known[name].path):
            faults.append(f"{known[name].path} sets options of hydra, which ssl would ignore: leave them out.")
        if name not in known:
            hint = did_you_mean(name, suitable)
            faults.append(f"{group}={name} is not a choice.{hint} Choices: {', '.join(suitable)}.")
    return faults


def choice_names(override: Override) -> list[str]:
    """Return the choices that an override names, alone, in a list or in a sweep.

    Returns none for a glob, which matches only choices that exist.
    """
    return [name.strip("'\" ") for text in _choice_texts(override) for name in text.strip("[]").split(",") if name]


def _choice_texts(override: Override) -> list[str]:
    """Return each value that an override gives its group, as text: `csv`, or `[tensorboard,mlflow]`."""
    if override.value_type == ValueType.GLOB_CHOICE_SWEEP:
        return []
    if override.value_type in (ValueType.INTERVAL_SWEEP, ValueType.RANGE_SWEEP):
        return [str(override.input_line).partition("=")[2]]  # no choice has such a name
    if override.is_sweep_override():
        return list(override.sweep_string_iterator())
    value = override.value()
    return [f"[{','.join(map(str, value))}]" if isinstance(value, list) else as_text(value)]


def check_options_apply(verb: str, overrides: list[Override], sweeping: bool) -> None:
    """Raise InputError if an option has no effect beside the others, such as a training option with run=."""
    spec, keys = VERBS[verb], [override.key_or_group for override in overrides]
    given = [name for name in ("init", "like") if value_of(overrides, name, "none") not in ("none", "null")]
    of_shape = [key for key in keys if key in spec.set_by_init or key.startswith("tokenizer.")]
    models = [name for override in overrides if override.key_or_group == "model" for name in choice_names(override)]
    keeps_shape = models and any(all(is_of(of, "model", name) for name in models) for of in spec.keeps_shape)
    if spec.set_by_init and given and of_shape and not keeps_shape:
        raise InputError(
            f"{', '.join(of_shape)}: no effect with {given[0]}=, because the checkpoint sets the shape and the "
            "tokenizer."
        )
    for key in keys:
        if (other := spec.of_other_verbs.get(key)) is not None:
            raise InputError(f"{key} has no effect in ssl {verb}: it is for ssl {other}.")
    if sweeping and value_of(overrides, "show", "null") != "null":
        raise InputError("show= prints examples of one config and trains nothing to compare: leave out -m.")
    changed = [
        override.key_or_group for override in overrides if override.is_sweep_override() or override.value() is not None
    ]
    if "run" in spec.only_with_run and "run" in changed:
        if sweeping:
            raise InputError("run= uses a finished run and trains nothing to compare: leave out -m.")
        usable_keys = spec.only_with_run | spec.also_with_run
        if unused := [key for key in keys if key not in usable_keys]:
            usable = ", ".join(sorted(usable_keys))
            raise InputError(
                f"{', '.join(unused)}: no effect with run=, which trains nothing. Options with run=: {usable}."
            )
    elif unused := [key for key in changed if key in unused_options(verb)]:
        raise InputError(f"{', '.join(unused)}: only with run=RUN, a finished run; without run= a new one is trained.")


def with_defaults_of_modality(verb: str, overrides: list[Override]) -> list[Override]:
    """Return the overrides, with model and data of a modality if only one of them is chosen and is of that one."""
    chosen = {override.key_or_group: choice_names(override) for override in overrides}
    for modality, defaults in VERBS[verb].defaults_of.items():
        named = [(group, name) for group in defaults for name in chosen.get(group, [])]
        if "experiment" not in chosen and named and all(is_of(modality, *choice) for choice in named):
            missing = {group: name for group, name in defaults.items() if group not in chosen}
            return overrides + [parse_override(f"{group}={name}") for group, name in missing.items()]
    return overrides


def is_of(modality: str, group: str, name: str) -> bool:
    """Return whether the class of a choice, such as model=voice_ae, is one of a modality."""
    return str(target_of(group, name)).startswith(PACKAGES_OF[modality])


def modality_of_data(cfg: DictConfig) -> str:
    """Return the modality of a config's data: labelled examples are text."""
    modality = modality_of(str(OmegaConf.select(cfg, "data._target_")))
    return "text" if modality == "labelled" else modality


def options_of_text_alone(verb: str, modality: str) -> frozenset[str]:
    """Return the options for text that a run on speech or images doesn't have."""
    options_of: Mapping[str, frozenset[str]] = VERBS[verb].options_of
    if modality not in ("audio", "image"):
        return frozenset()
    return options_of.get("text", frozenset()) - options_of.get(modality, frozenset())


def check_options_of_modality(verb: str, cfg: DictConfig, overrides: list[Override]) -> None:
    """Raise InputError if an option is set that is not for what the data of the composed config hold."""
    if cfg.get("run") is not None:
        return  # a finished run is used: the data of this config are not
    options_of, modality = VERBS[verb].options_of, modality_of_data(cfg)
    for override in overrides:
        name = override.key_or_group.partition(".")[0]
        owners = [owner for owner, names in options_of.items() if name in names]
        if owners and modality in KINDS and modality not in owners and override.value() is not None:
            *others, last = (KINDS[owner] for owner in owners)
            kinds = f"{', '.join(others)} and {last}" if others else last
            raise InputError(
                f"{name} is for {kinds}, and data={cfg.choices.data} holds {KINDS[modality]}: leave it out."
            )


def check_data_folder(overrides: list[Override]) -> None:
    """Raise InputError if a folder of data.dir does not exist: the hub is only for runs that name no folder."""
    single = [override for override in overrides if not override.is_sweep_override()]
    given = [override.value() for override in single if override.key_or_group == "data.dir"]
    if not given or value_of(overrides, "data.hub", ""):
        return
    for folder in map(str, given[-1] if isinstance(given[-1], list) else filter(None, given[-1:])):
        if "${" not in folder and not Path(folder).expanduser().exists():
            raise InputError(f"data.dir={folder}: there is no such file or folder.")
