"""What the tests share: small tables in every published format, a way to run `ssl`, the real data's folder."""

import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssl_cli.cli import main
from ssl_cli.data.tables import KDD_COLUMNS

Cli = Callable[..., tuple[int, str, str]]
QUICK = ["trainer=cpu", "trainer.max_steps=4", "trainer.validate_every_n_steps=2", "resamples=20"]


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def cli(workdir: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """`cli("detect", "seed=1")` -> exit code, stdout, stderr; in this process, in an empty working directory."""

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(list(words))
        out, err = capsys.readouterr()
        return code, out, err

    return call


def run_ssl(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`ssl` as a process of its own, as a user has it."""
    command = [sys.executable, "-m", "ssl_cli.cli", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, env=os.environ | environment, timeout=300)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data sets; skips the test where there is none."""
    folder = Path(os.environ.get("SSL_SHARED", Path(__file__).parents[2] / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is absent (set SSL_SHARED)")
    return folder


# --- tiny files in the published formats --------------------------------------------------------------------


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `paths.data` folder with a small file for every data set, in its published layout."""
    root, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name in ("creditcard_fraud", "paysim", "kddcup99", "nsl_kdd", "breast_cancer_wisconsin", "adbench"):
        (root / name).mkdir()
    _creditcard(root / "creditcard_fraud" / "creditcard.csv", rng)
    _paysim(root / "paysim" / "PS_20174392719_1491204439457_log.csv", rng)
    _kdd(root / "kddcup99" / "kddcup.data_10_percent.gz", rng, ["normal.", "smurf."], extra="")
    _kdd(root / "nsl_kdd" / "KDDTrain+.txt.gz", rng, ["normal", "neptune"], extra=",21")
    _kdd(root / "nsl_kdd" / "KDDTest+.txt.gz", rng, ["normal", "mscan"], extra=",3")
    _wisconsin(root / "breast_cancer_wisconsin" / "breast-cancer-wisconsin.data", rng)
    x = np.r_[rng.normal(size=(60, 3)), rng.normal(4, 1, size=(8, 3))]
    np.savez(root / "adbench" / "6_cardio.npz", X=x, y=np.r_[np.zeros(60, int), np.ones(8, int)])
    return root


def _creditcard(path: Path, rng: np.random.Generator) -> None:
    """Kaggle's layout: quoted header, quoted class."""
    names = ["Time", *(f"V{i}" for i in range(1, 29)), "Amount", "Class"]
    lines = [",".join(f'"{name}"' for name in names)]
    for row in range(80):
        fraud = row % 10 == 0
        values = rng.normal(4.0 * fraud, 1, size=28)
        lines.append(f'{row},{",".join(f"{value:.12g}" for value in values)},{rng.exponential(50):.2f},"{int(fraud)}"')
    path.write_text("\n".join(lines) + "\n")


def _paysim(path: Path, rng: np.random.Generator) -> None:
    names = "step type amount nameOrig oldbalanceOrg newbalanceOrig nameDest oldbalanceDest newbalanceDest"
    lines = [",".join([*names.split(), "isFraud", "isFlaggedFraud"])]
    for row in range(80):
        fraud = row % 10 == 0
        amount, before = rng.exponential(1000), rng.exponential(5000)
        kind = ["TRANSFER", "CASH_OUT", "PAYMENT"][row % 3]
        lines.append(f"{row},{kind},{amount:.2f},C{row},{before:.2f},0.0,M{row},0.0,{amount:.2f},{int(fraud)},0")
    path.write_text("\n".join(lines) + "\n")


def _kdd(path: Path, rng: np.random.Generator, labels: list[str], extra: str) -> None:
    """No header; protocol, service and flag are symbols; an attack every fourth row."""
    with gzip.open(path, "wt") as file:
        for row in range(80):
            attack = row % 4 == 0
            values = [f"{value:.2f}" for value in rng.exponential(1 + 5 * attack, size=len(KDD_COLUMNS))]
            values[1:4] = ["icmp" if attack else ["tcp", "udp"][row % 2], ["http", "smtp"][row % 2], "SF"]
            file.write(",".join(values) + f",{labels[attack]}{extra}\n")


def _wisconsin(path: Path, rng: np.random.Generator) -> None:
    lines = []
    for row in range(70):
        malignant = row % 3 == 0
        values = [str(value) for value in rng.integers(5 if malignant else 1, 11 if malignant else 5, size=9)]
        if row % 20 == 1:
            values[5] = "?"
        lines.append(",".join([str(1000 + row), *values, "4" if malignant else "2"]))
    path.write_text("\n".join(lines) + "\n")
