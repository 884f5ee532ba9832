"""Imports go one way, so that each package can be read, tested and replaced without those above it."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "ssl_cli"
# From the top down. A package imports those below it, not those above it or beside it.
LAYERS = [{"cli"}, {"commands"}, {"training"}, {"methods"}, {"tasks", "models"}, {"data", "runs"}]
LAYERS += [{"evaluation", "config"}, {"root"}]
BELOW = {name: set().union(*LAYERS[k + 1 :], {name}) for k, layer in enumerate(LAYERS) for name in layer}
BELOW["evaluation"] = {"evaluation", "root"}
MODALITIES = {"articles", "audio", "images", "labelled", "sentences", "tables", "text", "trees"}
HYDRA_MAY = {"cli", "commands", "config", "runs", "training"}
LIGHTNING_MAY = ("training.", "runs.loggers.")


@cache
def imports() -> list[tuple[str, str, str]]:
    """Return (module, its package, what it imports) of each import, names within ssl_cli without that prefix."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            found += [(module, package_of(module), name) for name in names]
    return found


def package_of(module: str) -> str:
    first, _, rest = module.partition(".")
    return first if rest or first in BELOW else "root"


def ours() -> Iterator[tuple[str, str, str]]:
    """Yield (module, its package, the module of ssl_cli that it imports)."""
    lazily = ("__init__", "commands.finished.load")  # `ssl_cli.load` is imported when it is asked for
    for module, package, name in imports():
        if name.startswith("ssl_cli.") and (module, used := name.removeprefix("ssl_cli.")) != lazily:
            yield module, package, used


def test_imports_go_one_way() -> None:
    upward = [(module, used) for module, package, used in ours() if layer_of(used) not in BELOW[package]]
    assert not upward


def layer_of(used: str) -> str:
    first = used.split(".")[0]
    return first if first in BELOW else "root"


def test_modalities_lean_on_io_and_tokenizers_and_not_on_each_other() -> None:
    for module, _, used in ours():
        mine, other = module.split("."), used.split(".")
        if mine[0] == other[0] == "data" and other[1] in MODALITIES:
            assert mine[1] == other[1] or mine[1] not in MODALITIES | {"io", "tokenizers"}, f"{module} imports {used}"


def test_hydra_is_known_to_the_shell() -> None:
    assert {package for _, package, name in imports() if name.split(".")[0] in ("hydra", "omegaconf")} <= HYDRA_MAY


def test_lightning_is_known_to_training_and_loggers() -> None:
    users = {module for module, _, name in imports() if name.split(".")[0] in ("pytorch_lightning", "lightning")}
    assert all(module.startswith(LIGHTNING_MAY) for module in users)
