"""ssl: a command-line experiment runner for self-supervised learning."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # `ssl_cli.load` is imported on first use: the command line's help must not wait for torch.
    if name == "load":
        from ssl_cli.commands.finished import load

        return load
    raise AttributeError(f"module 'ssl_cli' has no attribute {name!r}")
