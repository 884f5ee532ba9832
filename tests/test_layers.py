"""Imports go one way, so that each part can be read, tested and replaced without the ones above it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "ssl_cli"
HYDRA_MAY = {
    "blueprint",
    "checking",
    "matching",
    "targets",
    "nodes",
    "fitting",
    "workers",
    "help",
    "launch",
    "loading",
    "recording",
    "repeats",
    "run_table",
    "runs",
    "sweep_suites",
    "sweeps",
    "training",
    "under_way",
    "commands.pretrain",
    "language.starting",
    "vetting",
    "tracking",
    "callbacks",
    "commands.detect",
    "commands.score",
    "commands.reconstruct",
    "autoencoding.coding",
    "commands.compress",
    "commands.decompress",
    "commands.generate",
    "commands.fill",
    "commands.predict",
    "commands.export",
    "commands.embed",
    "autoencoding.prior",
    "autoencoding.rebuilding",
    "overrides",
    "result_files",
    "commands.finetune",
    "finetuning.starting",
}
LIGHTNING_MAY = {"callbacks", "learner", "tracking", "training"}
LEAVES = ("data", "metrics", "models", "plots", "image_plots", "label_plots")
LEAF_MAY = {"ssl_cli.annotations", "ssl_cli.bounds", "ssl_cli.errors", "ssl_cli.catalog"}


def modules() -> dict[str, set[str]]:
    """Module -> what it imports, at its top level or within a function."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        tree = ast.parse(path.read_text())
        plain = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        taken = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        found[name] = plain | taken
    return found


def importers(*roots: str) -> set[str]:
    return {name for name, uses in modules().items() if any(use.split(".")[0] in roots for use in uses)}


def test_only_the_shell_knows_hydra() -> None:
    assert importers("hydra", "omegaconf") <= HYDRA_MAY


def test_only_training_knows_lightning() -> None:
    assert importers("pytorch_lightning", "lightning") <= LIGHTNING_MAY


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaves_import_only_themselves(leaf: str) -> None:
    for name, uses in modules().items():
        if name == leaf or name.startswith(f"{leaf}."):
            outside = {use for use in uses if use.startswith("ssl_cli") and not use.startswith(f"ssl_cli.{leaf}")}
            outside -= (
                {"ssl_cli.plots"} if leaf in ("image_plots", "label_plots") else set()
            )  # all figures have one style
            assert outside <= LEAF_MAY, f"{name} imports {outside - LEAF_MAY}"


def test_objectives_know_nothing_above_models() -> None:
    for name, uses in modules().items():
        if name.startswith("objectives."):
            ours = {use for use in uses if use.startswith("ssl_cli")}
            allowed = ("ssl_cli.objectives", "ssl_cli.models", "ssl_cli.bounds", "ssl_cli.errors")
            assert all(use.startswith(allowed) for use in ours), f"{name} imports {ours}"


def test_tasks_know_data_and_metrics_alone() -> None:
    for name, uses in modules().items():
        if name.startswith("tasks."):
            ours = {use for use in uses if use.startswith("ssl_cli")} - LEAF_MAY
            assert all(use.startswith(("ssl_cli.tasks", "ssl_cli.data", "ssl_cli.metrics")) for use in ours), name


def test_nobody_imports_commands() -> None:
    assert not {name for name, uses in modules().items() if any(use.startswith("ssl_cli.commands") for use in uses)}
