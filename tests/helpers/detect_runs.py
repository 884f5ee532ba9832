"""Finished runs of `ssl detect` on a small table."""

from pathlib import Path

from tests.conftest import QUICK, Cli

MODELS = ["best", "residual_knn", "ae", "dae", "vae", "gaussian", "knn", "iforest", "ocsvm"]


def finished(cli: Cli, *words: str) -> Path:
    """Return the folder of a finished run of ssl detect."""
    code, out, err = cli("detect", *QUICK, *words)
    assert code == 0, err
    return Path(out.strip().splitlines()[-1])
