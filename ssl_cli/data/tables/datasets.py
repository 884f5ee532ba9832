"""Tables of `ssl detect`, each read from its published format."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ssl_cli.config.choices import did_you_mean
from ssl_cli.config.types import Delimiter, Pattern
from ssl_cli.config.types import Path as FilePath
from ssl_cli.data.io.arrow import fingerprint, read_table
from ssl_cli.data.io.cells import NOT_CSV
from ssl_cli.data.io.csv_source import declared_delimiter_of
from ssl_cli.data.io.notation import AmbiguousNotation, Notation, find_notation
from ssl_cli.data.tables.downloads import CREDIT_CARD, KDD_CUP_99
from ssl_cli.data.tables.labels import make_labelled_table
from ssl_cli.data.tables.one_class import LabelledTable, OneClassTable, find_file
from ssl_cli.data.tables.readings import LEFT_OUT, Dates, Reading, ReadingOptions
from ssl_cli.errors import InputError

FilledText = Annotated[str, Pattern(r".+", "a text")]

# The 41 features of KDD Cup 1999 (kddcup.names), in the order of its files, which have no header.
KDD_COLUMNS = """duration protocol_type service flag src_bytes dst_bytes land wrong_fragment urgent hot
num_failed_logins logged_in num_compromised root_shell su_attempted num_root num_file_creations num_shells
num_access_files num_outbound_cmds is_host_login is_guest_login count srv_count serror_rate srv_serror_rate
rerror_rate srv_rerror_rate same_srv_rate diff_srv_rate srv_diff_host_rate dst_host_count dst_host_srv_count
dst_host_same_srv_rate dst_host_diff_srv_rate dst_host_same_src_port_rate dst_host_srv_diff_host_rate
dst_host_serror_rate dst_host_srv_serror_rate dst_host_rerror_rate dst_host_srv_rerror_rate""".split()  # noqa: SIM905

WISCONSIN_COLUMNS = """clump_thickness uniformity_of_cell_size uniformity_of_cell_shape marginal_adhesion
single_epithelial_cell_size bare_nuclei bland_chromatin normal_nucleoli mitoses""".split()  # noqa: SIM905


@dataclass(kw_only=True)
class Table(OneClassTable):
    """A CSV, Parquet or npz file of the user, with or without labels."""

    file: Annotated[FilePath, "path of a .csv, .csv.gz, .parquet or .npz file"]
    label: Annotated[
        FilledText | int | None, "the column that separates normal rows from anomalies; null: no labels"
    ] = None
    normal: Annotated[float | str | bool | list, "the value (or list of values) of a normal row in that column"] = 0
    drop: Annotated[list[str], "columns to leave out"] = field(default_factory=list)
    delimiter: Annotated[Delimiter, "the character between the fields of a CSV"] = ","
    decimal: Annotated[
        Literal[".", ","] | None, "the decimal mark, of columns that could be read in two ways; null: ask"
    ] = None
    dates: Annotated[
        Dates | None,
        "what dates become: parts (hour of day, weekday, time since the previous row), one number, or drop; "
        "null: parts where the time of day varies",
    ] = None

    @property
    def reading_options(self) -> ReadingOptions:
        """What the user decides of how columns are read."""
        return replace(super().reading_options, dates=self.dates, decimal=self.decimal)

    def read(self) -> LabelledTable:
        """Read the file and its label column."""
        path = Path(self.file).expanduser()
        texts = [name for name, read_as in self.reading_options.read_as.items() if read_as == "category"]
        table = read_table(path, delimiter=self.delimiter, texts=texts)
        is_csv = path.suffix.lower() not in NOT_CSV
        if is_csv:
            table = self._with_commas(path, table)
        label, drop, readings = None if self.label is None else str(self.label), self.drop, list[Reading]()
        if label is None and path.suffix.lower() == ".npz" and "y" in table.column_names and "y" not in drop:
            label, drop, readings = _label_of_npz(table, drop)
        delimiter = (declared_delimiter_of(path) if is_csv else None) or self.delimiter
        labelled = make_labelled_table(path, table, label, self.normal, drop, delimiter=delimiter)
        labelled.readings = readings
        return labelled

    def _with_commas(self, path: Path, table: pa.Table) -> pa.Table:
        """Return a CSV's table, with numbers as texts where their point may stand between thousands.

        That may be so if the decimal mark is a comma: by the option, or in another column of the file.
        """
        floats = [field.name for field in table.schema if pa.types.is_floating(field.type) and field.name]
        if not floats or self.decimal == "." or not (self.decimal == "," or any(map(_has_comma, table.columns))):
            return table
        texts = read_table(path, delimiter=self.delimiter, texts=floats)
        for name in floats:
            found = find_notation(texts[name], self.decimal)
            if isinstance(found, AmbiguousNotation) or (found is not None and found.decimal == ","):
                table = table.set_column(table.column_names.index(name), name, texts[name])
        return table


def _has_comma(values: pa.ChunkedArray) -> bool:
    """Return whether a column holds texts that are numbers with a decimal comma."""
    found = find_notation(values) if pa.types.is_string(values.type) else None
    return isinstance(found, Notation) and found.decimal == ","


def _label_of_npz(table: pa.Table, drop: list[str]) -> tuple[str | None, list[str], list[Reading]]:
    """Return the label of an npz with an array `y` that the options don't name, and the columns to drop.

    By custom `y` is the label of `X`, with 1 for an anomaly; with other values it is left out, for it is no feature.
    """
    if set(pc.unique(table["y"]).to_pylist()) <= {0, 1}:
        why = "an npz's y of 0 and 1 is its label: 0 is normal"
        return "y", drop, [Reading("y", "label", why, "data.drop=[y] (no labels)")]
    why = "an npz's y is a label by custom, and its values are not 0 and 1"
    return None, [*drop, "y"], [Reading("y", LEFT_OUT, why, "data.label=y data.normal=VALUE")]


@dataclass(kw_only=True)
class BreastCancer(OneClassTable):
    """Wisconsin diagnostic breast cancer, part of scikit-learn: 357 benign rows, 212 malignant ones, 30 features."""

    def read(self) -> LabelledTable:
        """Read the table from scikit-learn."""
        from sklearn.datasets import load_breast_cancer

        raw = load_breast_cancer()
        columns = {str(name): raw.data[:, index] for index, name in enumerate(raw.feature_names)}
        return LabelledTable(pa.table(columns), raw.target == 0, hashlib.sha256(raw.data.tobytes()).hexdigest())


@dataclass(kw_only=True)
class FetchedTable(OneClassTable):
    """A published table whose file is in a folder, named by the user, or fetched."""

    dir: str
    file: Annotated[FilePath | None, "path of the file, if it is not in dir"] = None
    download: Annotated[bool, "fetch the file into dir if it is missing"] = False

    @staticmethod
    def option_faults(options: Mapping[str, Any]) -> Iterator[str]:
        """Yield what is wrong with options together; `check` calls it before any data is read."""
        if options.get("download") and options.get("file") is not None:
            yield "download fetches the file into data.dir, but data.file names another: leave out one of them."


@dataclass(kw_only=True)
class CreditCard(FetchedTable):
    """Card fraud of ULB, on Kaggle: 284,807 transactions, 492 frauds.

    Time is left out: the seconds since the file's first transaction say nothing about a transaction on another day.
    """

    def read(self) -> LabelledTable:
        """Read creditcard.csv, plain or gzipped, or a sample of it."""
        published = ["creditcard.csv", "creditcard.csv.gz", "creditcard_sample.csv", "creditcard_sample.csv.gz"]
        page = "https://www.kaggle.com/datasets/mlg-ulb/creditcardfraud"
        path = find_file(self.file, self.dir, published, page, source=CREDIT_CARD, download=self.download)
        table = read_table(path)
        return make_labelled_table(path, table, "Class", 0, [name for name in ("Time",) if name in table.column_names])


@dataclass(kw_only=True)
class PaySim(OneClassTable):
    """PaySim, simulated mobile payments: 6,362,620 rows, 8,213 frauds. The names of accounts are left out."""

    dir: str
    file: Annotated[FilePath | None, "path of PaySim's CSV, if it is not in dir"] = None

    def read(self) -> LabelledTable:
        """Read the CSV without the columns that would reveal the label."""
        published = ["PS_20174392719_1491204439457_log.csv", "paysim.csv", "paysim_sample.csv"]
        page = "https://www.kaggle.com/datasets/ealaxi/paysim1"
        path = find_file(self.file, self.dir, published, page)
        table = read_table(path)
        leaks = [name for name in ("nameOrig", "nameDest", "isFlaggedFraud") if name in table.column_names]
        return make_labelled_table(path, table, "isFraud", 0, leaks)


@dataclass(kw_only=True)
class KddCup99(FetchedTable):
    """KDD Cup 1999, the 10 % file: 494,021 connections, of which 97,278 are `normal.`."""

    def read(self) -> LabelledTable:
        """Read the 10 % file, which has no header."""
        published = ["kddcup.data_10_percent.gz", "kddcup.data_10_percent", "kddcup.data_10_percent_corrected"]
        page = "https://kdd.ics.uci.edu/databases/kddcup99/kddcup99.html"
        path = find_file(self.file, self.dir, published, page, source=KDD_CUP_99, download=self.download)
        return make_labelled_table(
            path, read_table(path, names=[*KDD_COLUMNS, "label"]), "label", "normal.", header=False
        )


@dataclass(kw_only=True)
class NslKdd(OneClassTable):
    """NSL-KDD with its published split: the normal rows of its training file train, its whole test file tests."""

    dir: str
    test: Annotated[Literal["Test+", "Test-21"], "the test file; Test-21 is the harder subset"] = "Test+"
    train_file: Annotated[FilePath | None, "path of the training file, if it is not in dir"] = None
    test_file: Annotated[FilePath | None, "path of the test file, if it is not in dir"] = None

    def read(self) -> LabelledTable:
        """Read both files as one table with a published split."""
        page = "https://www.unb.ca/cic/datasets/nsl.html"
        train_names = [f"KDDTrain+{subset}.txt{gz}" for subset in ("", "_20Percent") for gz in ("", ".gz")]
        test_names = [f"KDD{self.test}.txt{gz}" for gz in ("", ".gz")]
        paths = {
            "train": find_file(self.train_file, self.dir, train_names, page, "data.train_file"),
            "test": find_file(self.test_file, self.dir, test_names, page, "data.test_file"),
        }
        # The last column rates how hard a row is to classify: it is not a feature.
        tables = {split: read_table(path, names=[*KDD_COLUMNS, "label", "difficulty"]) for split, path in paths.items()}
        both = pa.concat_tables(tables.values(), promote_options="permissive")
        table = make_labelled_table(paths["train"], both, "label", "normal", ["difficulty"], header=False)
        table.fingerprint, table.files = fingerprint(*paths.values()), tuple(paths.values())
        table.published_split = np.concatenate([np.full(file.num_rows, split) for split, file in tables.items()])
        table.row = np.concatenate([np.arange(file.num_rows) for file in tables.values()])
        return table


@dataclass(kw_only=True)
class BreastCancerOriginal(OneClassTable):
    """UCI's original Wisconsin breast cancer: 458 benign, 241 malignant, 9 features from 1 to 10, 16 missing (`?`)."""

    dir: str
    file: Annotated[FilePath | None, "path of breast-cancer-wisconsin.data, if it is not in dir"] = None

    def read(self) -> LabelledTable:
        """Read the file, which has no header."""
        page = "https://archive.ics.uci.edu/dataset/15/breast+cancer+wisconsin+original"
        path = find_file(self.file, self.dir, ["breast-cancer-wisconsin.data"], page)
        table = read_table(path, names=["id", *WISCONSIN_COLUMNS, "class"])
        return make_labelled_table(path, table, "class", 2, ["id"], header=False)


@dataclass(kw_only=True)
class AdBench(OneClassTable):
    """One of ADBench's classical data sets (an npz of X and y), by name, cardio or 6_cardio, or by file."""

    dir: str
    name: Annotated[str | None, "the data set's name, with or without its number"] = None
    file: Annotated[FilePath | None, "path of its .npz, if it is not in dir"] = None

    def read(self) -> LabelledTable:
        """Read the npz. Raises InputError if there is none, or neither a name nor a file."""
        if self.name is not None and self.file is not None:
            raise InputError("data.name and data.file both name one of ADBench's sets: set only one of them.")
        path = self._named_file() if self.file is None else Path(self.file).expanduser()
        return make_labelled_table(path, read_table(path), "y", 0)

    def _named_file(self) -> Path:
        if self.name is None:
            raise InputError("Which of ADBench's sets? Set data.name=cardio (one in data.dir), or data.file=FILE.npz.")
        folder = Path(self.dir).expanduser()
        sets = {re.sub(r"^\d+_", "", path.stem).lower(): path for path in sorted(folder.glob("*.npz"))}
        if not sets:
            page = "https://github.com/Minqi824/ADBench/tree/main/adbench/datasets/Classical"
            raise InputError(
                f"{folder} has no .npz file. Download them from {page} and put them there, or set data.dir=PATH."
            )
        wanted = re.sub(r"^\d+_", "", self.name).lower()
        if wanted not in sets:
            raise InputError(
                f"data.name={self.name} is not in {folder}.{did_you_mean(wanted, sets)} It has {', '.join(sets)}."
            )
        return sets[wanted]
