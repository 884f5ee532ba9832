"""What the tests share: small tables in every published format, a way to run `ssl`, the real data's folder."""

import gzip
import json
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from functools import cache
from io import BytesIO, StringIO
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image
from scipy.stats import yeojohnson_normmax
from sklearn import manifold

from ssl_cli.cli.main import main
from ssl_cli.data.tables import features
from ssl_cli.data.tables.datasets import KDD_COLUMNS
from ssl_cli.evaluation.metrics import probes
from ssl_cli.evaluation.plots import curves, images
from tests.helpers import processes
from tests.helpers.articles import make_pairs, write_pairs
from tests.helpers.recordings import write_recordings
from tests.helpers.sentences import write_sentences, write_sst2, write_treebank

Cli = Callable[..., tuple[int, str, str]]
os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the real hub, nor does a process that one starts
FOUR_STEPS = ["trainer=cpu", "trainer.max_steps=4", "trainer.validate_every_n_steps=2"]
QUICK = [*FOUR_STEPS, "bootstrap_samples=20", "calibrate=split"]  # of ssl detect: calibrate=auto would fit six models


# What they test runs no command line.
UNIT_FOLDERS = {"config", "data", "evaluation", "methods", "models", "tasks"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `unit` the tests of these folders, except the long ones and those that run a command line after all."""
    for item in items:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        uses_cli = "cli" in getattr(item, "fixturenames", ())
        if folder in UNIT_FOLDERS and not uses_cli and not item.get_closest_marker("long"):
            item.add_marker(pytest.mark.unit)


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def undrawn() -> Iterator[None]:
    """Have matplotlib write a blank image for each figure, maps be of the first two numbers of each code, linear probes
    stop early, and no column be made symmetric twice: two thirds of the time of a small run."""
    blank = {"savefig": lambda _, path, **__: path.write_bytes(BLANK), "tight_layout": lambda _: None}
    fit = probes._fit
    with (
        mock.patch.multiple("matplotlib.figure.Figure", **blank),
        mock.patch.object(curves, "fitting_fonts", nullcontext),
        mock.patch.object(images, "fitting_fonts", nullcontext),
        mock.patch.object(manifold, "TSNE", FirstTwo),
        mock.patch.object(features, "yeojohnson_normmax", lambda x: power_of(x.tobytes(), x.dtype.str)),
        mock.patch.object(probes, "C_VALUES", (0.1,)),
        mock.patch.object(probes, "_fit", lambda x, labels, c, iterations: fit(x, labels, c, min(iterations, 5))),
    ):
        yield


@cache
def power_of(content: bytes, kind: str) -> float:
    """Return the power that makes a column symmetric, which the tests of one table need again and again."""
    return float(yeojohnson_normmax(np.frombuffer(content, kind)))


class FirstTwo:
    """In the place of t-SNE: a map of the first two numbers of each code."""

    def __init__(self, **_: object):
        pass

    def fit_transform(self, x: np.ndarray) -> np.ndarray:
        """Return two numbers of each row (N, D)."""
        return x[:, :2]


@pytest.fixture
def cli(workdir: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Cli:
    """`cli("detect", "seed=1")` -> exit code, stdout, stderr; in this process, in an empty working directory.

    Figures are blank, except in tests marked `figures`.
    """

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with nullcontext() if request.node.get_closest_marker("figures") else undrawn():
            code = main(last_of_each(words))
        out, err = capsys.readouterr()
        return code, out, err

    return call


def last_of_each(words: Sequence[str]) -> list[str]:
    """Return the words without options that a later one replaces: a test may change options that several share."""
    last = {word.partition("=")[0]: n for n, word in enumerate(words)}
    return [word for n, word in enumerate(words) if "=" not in word or last[word.partition("=")[0]] == n]


def run_ssl(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """`ssl` as a process of its own, as a user has it."""
    return processes.run([sys.executable, "-m", "ssl_cli.cli.main", *words], cwd=cwd, env=os.environ | environment)


def run_here(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """As `run_ssl`, but in this process, which has imported everything already, and with blank figures."""
    with undrawn(), chdir(cwd), redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        code = main(last_of_each(words))
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


@pytest.fixture(autouse=True)
def _processes_end_with_their_test() -> Iterator[None]:
    yield
    processes.end_processes()


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Let no file grow beyond this number of bytes: writing fails as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))  # Python ignores the signal
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


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
    write_recordings(root / "fsdd" / "recordings")
    _mboshi(root / "mboshi")
    _mnist(root / "mnist", rng, gzipped=True)
    _mnist(root / "fashion_mnist", rng, gzipped=False)
    _cifar10(root / "cifar10", rng)
    _hub(root / "hub" / "mnist", "image", "L", 28, rng)
    _hub(root / "hub" / "cifar10", "img", "RGB", 32, rng)
    _photographs(root / "photographs", rng)
    _texts(root, rng)
    write_pairs(root / "pairs.jsonl")
    _reuters(root / "reuters21578" / "reuters.jsonl.gz")
    for name in ("train", "test"):
        write_pairs(root / "gigaword" / f"{name}.jsonl", 60, ("document", "summary"))
    _csl(root / "csl")
    write_sentences(root / "sentences.jsonl")
    write_sst2(root / "glue" / "SST-2")
    write_treebank(root / "ud_english_ewt")
    return root


def striped(label: int, channels: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """An image (C, H, W) uint8 of its class: stripes as wide as the label tells, and noise."""
    stripes = 180 * (np.arange(size) // (label + 1) % 2)
    return (stripes + rng.integers(0, 60, (channels, size, size))).astype(np.uint8)


def _labelled_images(n: int, channels: int, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(n, C, H, W) and (n,): classes 0 and 1 in turn"""
    label = np.arange(n) % 2
    return np.stack([striped(k, channels, size, rng) for k in label]), label.astype(np.uint8)


def _csl(folder: Path) -> None:
    """Abstracts with titles, and titles with categories, in Chinese: files of three columns without a header."""
    rng = np.random.default_rng(0)
    for name in ("ts", "cls_ctg"):
        (folder / name).mkdir(parents=True)
        for split in ("dev", "test"):
            lines = []
            for _ in range(40):
                topic = "".join(rng.permutation(list("水土保持遥感图像处理方法研究")))
                abstract = f"{topic}是本文的主题,结果表明该方法在实验中有效可行,可以推广应用"
                texts = f"{abstract}\t{topic[:10]}研究" if name == "ts" else f"{topic[:10]}研究\t工学"
                lines.append(f"to title\t{texts}\n")
            (folder / name / f"{split}.tsv").write_text("".join(lines), encoding="utf-8")


def _reuters(path: Path) -> None:
    """A line of JSON for each item, with the split of Lewis."""
    path.parent.mkdir()
    records = make_pairs(120)
    lines = (
        json.dumps({"body": record["body"], "title": f"<ABC> {record['headline']}", "lewissplit": split})
        for record, split in zip(records, ["TRAIN", "TRAIN", "TEST"] * 40, strict=True)
    )
    path.write_bytes(gzip.compress("\n".join(lines).encode()))


def _mboshi(folder: Path) -> None:
    """Recordings named after their speaker, with a .lab file of two phones each."""
    for path in write_recordings(folder / "made").iterdir():
        word, speaker, take = path.stem.split("_")
        path.rename(folder / f"{speaker}_{word}_{take}.wav")
        (folder / f"{speaker}_{word}_{take}.lab").write_text("0.0 0.15 A\n0.15 0.25 I\n")
    (folder / "made").rmdir()


def _mnist(folder: Path, rng: np.random.Generator, gzipped: bool) -> None:
    """idx: a big-endian header, then bytes."""
    folder.mkdir()
    for part, n in (("train", 40), ("t10k", 20)):
        x, label = _labelled_images(n, 1, 28, rng)
        images = struct.pack(">4BIII", 0, 0, 8, 3, n, 28, 28) + x.tobytes()
        labels = struct.pack(">4BI", 0, 0, 8, 1, n) + label.tobytes()
        for name, content in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            (folder / f"{name}{'.gz' * gzipped}").write_bytes(gzip.compress(content) if gzipped else content)


def _cifar10(folder: Path, rng: np.random.Generator) -> None:
    """Records of a label and 3 x 32 x 32 bytes; the classes' names, and a blank line."""
    folder.mkdir()
    for name in (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"):
        x, label = _labelled_images(8, 3, 32, rng)
        (folder / name).write_bytes(np.c_[label, x.reshape(8, -1)].tobytes())
    names = "airplane automobile bird cat deer dog frog horse ship truck"
    (folder / "batches.meta.txt").write_text("\n".join([*names.split(), "", ""]))


def _hub(folder: Path, column: str, mode: str, size: int, rng: np.random.Generator) -> None:
    """A column of PNGs as {bytes, path}, and one of labels; a file a split, in the folder of a config."""
    (folder / "plain").mkdir(parents=True)
    for split, n in (("train", 12), ("test", 6)):
        x, label = _labelled_images(n, len(mode), size, rng)
        images = [{"bytes": _png(one), "path": f"{k}.png"} for k, one in enumerate(x)]
        table = pa.table({column: images, "label": label.astype(np.int64)})
        pyarrow.parquet.write_table(table, folder / "plain" / f"{split}-00000-of-00001.parquet")


def _png(x: np.ndarray) -> bytes:
    """(C, H, W) uint8 as a file"""
    file = BytesIO()
    Image.fromarray(x[0] if len(x) == 1 else x.transpose(1, 2, 0)).save(file, "PNG")
    return file.getvalue()


BLANK = _png(np.zeros((3, 8, 8), np.uint8))


def _photographs(folder: Path, rng: np.random.Generator) -> None:
    """A folder a class, of PNG and JPEG files in several sizes, and one file that is broken."""
    for k in range(48):
        label, size = k % 2, 20 + k % 5
        place = folder / ("cat", "dog")[label]
        place.mkdir(parents=True, exist_ok=True)
        x = striped(label, 3, size, rng).transpose(1, 2, 0)
        Image.fromarray(x).save(place / f"{k:02}.{('png', 'jpg')[k % 4 // 2]}")
    (folder / "cat" / "torn.png").write_bytes((folder / "cat" / "00.png").read_bytes()[:200])


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


def _texts(root: Path, rng: np.random.Generator) -> None:
    """300 little stories: in `text` as plain text (a block each), JSON lines, CSV and Parquet; as WikiText and C4."""
    story = "the a bird cat dog fish can will fly swim sing run far well today again"
    stories = [
        "\n".join(" ".join(rng.choice(story.split(), 8).tolist()).capitalize() + "." for _ in range(rng.integers(3, 9)))
        for _ in range(300)
    ]
    for name in ("text", "wikitext", "c4", "corpus_en", "corpus_zh"):
        (root / name).mkdir()
    (root / "corpus_en" / "news_en.txt.gz").write_bytes(gzip.compress("\n\n".join(stories).encode()))
    (root / "corpus_zh" / "zh_text.txt.gz").write_bytes(
        gzip.compress("\n".join(f"鸟{n}会飞。鱼会游泳。" for n in range(900)).encode())
    )
    for name in ("wikitext2_valid", "tinyshakespeare"):
        (root / "corpus_en" / f"{name}.txt").write_text("\n\n".join(stories))
    (root / "text" / "stories.txt").write_text("\n\n".join(stories))
    lines = "".join(json.dumps({"text": story}) + "\n" for story in stories)
    (root / "text" / "stories.jsonl").write_text(lines)
    (root / "text" / "stories.csv").write_text("text\n" + "".join(f'"{story}"\n' for story in stories))
    pyarrow.parquet.write_table(pa.table({"text": stories}), root / "text" / "stories.parquet")
    (root / "c4" / "c4-train.00000-of-01024.json.gz").write_bytes(gzip.compress(lines.encode()))
    for part, some in (("train", stories[:270]), ("valid", stories[270:])):
        articles = "".join(f" \n = Story {k} = \n \n {story} \n" for k, story in enumerate(some))
        (root / "wikitext" / f"wiki.{part}.tokens").write_text(articles)
