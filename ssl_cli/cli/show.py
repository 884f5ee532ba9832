"""What is printed of a config instead of running it: `--cfg` prints it as YAML, `--info` where it comes from."""

from typing import Any

from hydra.types import RunMode
from omegaconf import Container, DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ssl_cli import console
from ssl_cli.config.choices import built_in_conf, conf_folders, did_you_mean
from ssl_cli.config.instantiate import as_text
from ssl_cli.errors import InputError


def show_config(cfg: DictConfig, kind: str, package: str | None, resolve: bool) -> None:
    """Print a composed config as YAML: of kind job, without Hydra's own part; hydra, only that; or all.

    `package` is the dotted name of the part to print. What follows from the data, `${facts...}`, is never resolved.
    Raises InputError if there is no such part.
    """
    OmegaConf.set_readonly(cfg, False)
    OmegaConf.set_struct(cfg, False)
    if resolve:
        for name in [name for name in cfg if kind == "all" or (name == "hydra") == (kind == "hydra")]:
            _resolve(cfg, name)
    if kind == "job":
        cfg.pop("hydra", None)
    elif kind == "hydra":
        cfg = OmegaConf.masked_copy(cfg, ["hydra"])
    if kind != "job":
        OmegaConf.set_struct(cfg.hydra, False)
        for page in ("help", "hydra_help"):  # templates of pages that ssl does not print
            del cfg.hydra[page]
    node = cfg if package in (None, "_global_") else _part(cfg, package or "")
    text = OmegaConf.to_yaml(node).rstrip("\n") if isinstance(node, Container) else as_text(node)
    console.say_bare(text if node is cfg or not isinstance(node, Container) else f"# @package {package}\n{text}")


def _resolve(node: Any, key: Any) -> None:
    """Replace what can be resolved below a key by its value, in place; what can't stays as it is written."""
    if OmegaConf.is_missing(node, key):
        return
    try:
        value = node[key]
        if OmegaConf.is_interpolation(node, key):
            node[key] = _without_references(value)
            return
    except OmegaConfBaseException:
        return
    if isinstance(value, DictConfig | ListConfig):
        for inner in list(value) if isinstance(value, DictConfig) else range(len(value)):
            _resolve(value, inner)


def _without_references(value: Any) -> Any:
    """Return a value that a reference gave, whose own references are resolved. Raises OmegaConf's error if it can't."""
    return OmegaConf.to_container(value, resolve=True) if isinstance(value, DictConfig | ListConfig) else value


def _part(cfg: DictConfig, package: str) -> Any:
    """Return the part of a config with this dotted name."""
    missing = object()
    try:
        node = OmegaConf.select(cfg, package, default=missing)
    except OmegaConfBaseException:
        node = missing
    if node is missing:
        names = ", ".join(map(str, cfg))
        hint = did_you_mean(package, map(str, cfg))
        raise InputError(f"--package {package}: the config has no such part.{hint} It has {names}.")
    return node


def show_sources(hydra: Any, verb: str, lines: list[str], kind: str) -> None:
    """Print where a config comes from: the folders that are searched, and the files that it is made of, in order."""
    if kind in ("all", "searchpath"):
        rows = [[str(folder), "built in" if folder == built_in_conf() else "yours"] for folder in conf_folders()]
        console.say(console.table("folders of configs, searched in this order", ["folder", "whose"], rows))
    if kind in ("all", "defaults"):
        defaults = hydra.config_loader.compute_defaults_list(verb, lines, RunMode.RUN).defaults
        paths = [(str(entry.config_path), entry) for entry in defaults if entry.config_path]
        rows = [
            [path, entry.package or "(all)", _file_of(path), "" if entry.is_self else str(entry.parent or "")]
            for path, entry in paths
            if not path.startswith("hydra/") and path != "_dummy_empty_config_"
        ]
        title = "files of this config, of which a later one wins; the command line wins over all"
        console.say(console.table(title, ["name", "sets", "file", "named by"], rows))


def _file_of(name: str) -> str:
    """Return the path of the YAML file of this name, in the first folder that has it."""
    paths = (folder / f"{name}.yaml" for folder in conf_folders())
    return next((str(path) for path in paths if path.is_file()), "")
