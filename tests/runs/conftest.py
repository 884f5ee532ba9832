"""Fixtures of the tests of run folders."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ssl_cli
from ssl_cli.errors import InputError
from ssl_cli.runs.digests import write_digests
from tests.conftest import QUICK, Cli, run_here
from tests.helpers.untrusted_runs import CANARY, WAYS, Attack


@pytest.fixture
def table(workdir: Path) -> Path:
    """150 normal rows and 20 anomalies, with a symbol and a gap."""
    rng = np.random.default_rng(0)
    fraud = np.arange(170) >= 150
    frame = pd.DataFrame({"a": rng.normal(3 * fraud, 1), "b": rng.exponential(1 + fraud)})
    frame["kind"] = np.where(fraud, "x", "y")
    frame.loc[::17, "b"] = np.nan
    frame["kind"] = np.where(rng.random(170) < 0.2, "z", frame["kind"])
    frame["fraud"] = fraud.astype(int)
    frame.to_csv(workdir / "t.csv", index=False)
    return workdir / "t.csv"


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs, of a network and of scikit-learn, and the rows that they learned from."""
    home = tmp_path_factory.mktemp("honest")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(120, 3)), columns=["a", "b", "c"])
    frame["kind"] = np.where(rng.random(120) < 0.5, "x", "y")
    frame.to_csv(home / "rows.csv", index=False)
    for model in ("best", "ocsvm"):
        words = [*QUICK, f"model={model}", "data=table", f"data.file={home / 'rows.csv'}"]
        assert run_here("detect", *words, cwd=home).returncode == 0
    return home


@pytest.fixture
def refused(honest: Path, cli: Cli, workdir: Path) -> Callable[..., None]:
    """A function that attacks a copy of a run, opens it in several ways, and expects a sentence in each message."""

    def attempt(
        attack: Attack, sentence: str, ways: tuple[str, ...] = WAYS, model: str = "best", listed: bool = False
    ) -> None:
        (original,) = honest.glob(f"outputs/detect/{model}-table/*")
        folder = Path("outputs/detect/theirs") / original.name
        shutil.copytree(original, folder)
        attack(folder)
        write_digests(folder)  # as its author would
        for way in ways:
            if way == "load":
                with pytest.raises(InputError) as raised:
                    ssl_cli.load(folder)
                message = str(raised.value)
            else:
                score = ["score", f"run={folder}", f"input={honest / 'rows.csv'}", "output=o.csv"]
                code, _, message = cli(*(score if way == "score" else ["detect", f"resume={folder}"]))
                assert code == 2, message
            assert sentence in message
            assert len(message) < 1500 and "Traceback" not in message
        code, out, err = cli("list", "runs")
        assert code == 0 and err == ""
        assert not listed or ("damaged" in out and sentence[:10].replace(" ", "") in "".join(out.split()))
        assert not list(workdir.rglob(CANARY))

    return attempt
