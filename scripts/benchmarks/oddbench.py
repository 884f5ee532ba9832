"""Detection quality of `ssl detect` over real tables of OddBench (arXiv 2602.09329), beside 5-NN and DTE-NP.

Training rows are all normal, and the test is fixed: both are OddBench's. Of the training rows a tenth calibrates, as in
`ssl detect`. Recipes were chosen on the odd lines of the list of tables at hand; the even lines report.

    scripts/bench oddbench                                        all tables, 3 seeds
    scripts/bench oddbench --half choosing --models best --seeds 0

Results go to a CSV, with a line for each table, seed and detector. Lines that exist already are not computed again.
"""

import argparse
import csv
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one thread per process, and a process per core

import numpy as np
import pyarrow as pa
from adbench import SHARED, Task, run
from reports.adbench import print_means

from ssl_cli.data.tables.one_class import LabelledTable

FOLDER = SHARED / "oddbench"
MODELS = ["best", "best without margins", "residual_knn", "dae", "iforest", "5-NN", "DTE-NP"]
BASELINES = ("5-NN", "DTE-NP")


@dataclass(frozen=True)
class Published:
    """Reads a table with its published split, in place of what the data of a config would read."""

    path: Path

    def __call__(self, _: Any) -> LabelledTable:
        """Return the training rows and the test rows as one table."""
        arrays = np.load(self.path)
        rows = np.concatenate([arrays["train"], arrays["test"]])  # (N, D)
        n_train = len(arrays["train"])
        return LabelledTable(
            columns=pa.table({f"X{j}": column for j, column in enumerate(rows.T)}),
            anomaly=np.concatenate([np.zeros(n_train, bool), arrays["test_labels"].astype(bool)]),
            fingerprint=hashlib.sha256(self.path.read_bytes()).hexdigest(),
            published_split=np.repeat(["train", "test"], [n_train, len(rows) - n_train]),
        )


def halves() -> dict[str, list[str]]:
    """Return the names of the tables of each half: those on odd lines of the list, and those on even lines."""
    with (FOLDER / "list.tsv").open() as file:
        names = [line["file"].removesuffix(".npz") for line in csv.DictReader(file, delimiter="\t")]
    return {"choosing": names[0::2], "reporting": names[1::2]}


def task(name: str, seed: int, model: str) -> Task:
    """Return the task of a table, a seed and a detector."""
    path = FOLDER / f"{name}.npz"
    return Task(name, ("data=table", f"data.file={path}"), None, seed, model, cross=False, read=Published(path))


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=["choosing", "reporting", "both"], default="both")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--results", type=Path, default=Path("outputs/bench/oddbench.csv"))
    arguments = parser.parse_args()
    chosen = {half: names for half, names in halves().items() if arguments.half in (half, "both")}
    models = list(dict.fromkeys([*arguments.models, *BASELINES]))
    every = [name for names in chosen.values() for name in names]
    wanted = [task(name, seed, model) for seed in arguments.seeds for name in every for model in models]
    rows = list(run(wanted, arguments.results, arguments.jobs).values())
    for half, names in {**chosen, "all": every}.items():
        for baseline in BASELINES:
            print(f"\n{half}, {len(names)} tables, gains over {baseline}\n")
            print_means([row for row in rows if row["set"] in names], baseline)


if __name__ == "__main__":
    main()
