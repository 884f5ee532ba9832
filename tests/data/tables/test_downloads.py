"""Tables fetched from a server on this machine: whole and as published, or not at all."""

import gzip
import hashlib
import json
import os
import socket
import stat
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from omegaconf import DictConfig, OmegaConf

from ssl_cli.data.io import download
from ssl_cli.data.tables import downloads
from ssl_cli.data.tables.datasets import CreditCard, KddCup99
from ssl_cli.errors import InputError
from ssl_cli.process import Interrupted
from ssl_cli.runs.duplicates import config_hash
from ssl_cli.runs.folder import CONFIG
from ssl_cli.runs.safety import read_saved_config
from tests.conftest import Cli, full_disk

NAMES = ["Time", *(f"V{n}" for n in range(1, 29)), "Amount", "Class"]
ROWS = [[str(n), *(f"{n}.{k}" for k in range(28)), "9.5", f"'{int(n >= 7)}'"] for n in range(9)]  # two frauds
ARFF = "% comment\n@RELATION cards\n" + "".join(f"@ATTRIBUTE {name} REAL\n" for name in NAMES) + "\n@DATA\n"
ARFF_BYTES = (ARFF + "".join(f"{','.join(row)}\n" for row in ROWS)).encode()
DESCRIPTION, KDD = f"/api/v1/json/data/{downloads.CREDIT_CARD_ID}", f"/{downloads.KDD_PATH}"

TRUE_MD5 = "that of the content"
Answer = Callable[[BaseHTTPRequestHandler], None]


def send(handler: BaseHTTPRequestHandler, content: bytes, length: int | None = None, **headers: str) -> None:
    """Send an answer, which says that it has `length` bytes."""
    handler.send_response(200)
    for name, value in {"Content-Length": str(length or len(content)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(content)


def redirect_to(path: str) -> Answer:
    """Return an answer that sends the client to another path."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        handler.send_header("Location", path)
        handler.end_headers()

    return answer


class Server(ThreadingHTTPServer):
    """A server whose answers a test sets by path; others are 404."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"

    def publish(self, content: bytes, md5: str | None = TRUE_MD5, **headers: str) -> None:
        """Answer with an ARFF of the card transactions, by default with its MD5."""
        md5 = hashlib.md5(content).hexdigest() if md5 == TRUE_MD5 else md5
        description = {"url": f"{self.url}/cards.arff", "md5_checksum": md5}
        self.answers[DESCRIPTION] = lambda h: send(h, json.dumps({"data_set_description": description}).encode())
        sent = gzip.compress(content) if headers else content
        self.answers["/cards.arff"] = lambda h: send(h, sent, **headers)


class Handler(BaseHTTPRequestHandler):
    """Answers as its server says."""

    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.answers.get(self.path, lambda handler: handler.send_error(404))(self)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(downloads, "CREDIT_CARD_ROWS", len(ROWS))
    monkeypatch.setattr(downloads, "CREDIT_CARD_FRAUDS", 2)
    with Server() as server:
        monkeypatch.setenv(downloads.MIRROR, server.url)
        monkeypatch.setenv("no_proxy", "*")
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def cards(folder: Path) -> CreditCard:
    return CreditCard(dir=str(folder), download=True)


def refusal(folder: Path) -> str:
    """Return why the cards can't be fetched, having checked that nothing is left in or of the folder."""
    existed = folder.exists()
    with pytest.raises(InputError) as refused:
        cards(folder).read()
    assert list(folder.glob("**/*")) == [] and folder.exists() == existed
    message = str(refused.value)
    assert "\n" not in message
    return message


# --- what is fetched ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"Content_Encoding": "gzip"}])
def test_cards_become_the_csv_that_is_read(
    tmp_path: Path, server: Server, headers: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    server.publish(ARFF_BYTES, **headers)
    table = cards(tmp_path / "a" / "cards").read()
    assert table.anomaly is not None and table.anomaly.tolist() == [False] * 7 + [True] * 2
    assert table.columns.column_names == NAMES[1:-1] and table.columns["V2"].to_pylist()[3] == 3.1
    path = tmp_path / "a" / "cards" / "creditcard.csv"
    assert path.read_text().splitlines()[1] == ",".join(ROWS[0]).replace("'", "")
    assert "Its MD5 is the published one; 9 rows, 2 frauds, as published." in capfd.readouterr().out
    assert list(path.parent.iterdir()) == [path] and stat.S_IMODE(path.stat().st_mode) & 0o400
    server.answers.clear()
    assert cards(path.parent).read().fingerprint == table.fingerprint  # it is there: nothing is asked


@pytest.mark.shared
def test_kddcup99_is_the_file_that_scikit_learn_fetches(tmp_path: Path, server: Server, shared: Path) -> None:
    content = (shared / "kddcup99" / "kddcup.data_10_percent.gz").read_bytes()
    server.answers[KDD] = redirect_to("/moved")
    server.answers["/moved"] = lambda h: send(h, content, Content_Encoding="gzip")  # a .gz may be sent so: it stays one
    assert len(KddCup99(dir=str(tmp_path), download=True).read().columns) == 494_021
    assert (tmp_path / "kddcup.data_10_percent.gz").read_bytes() == content
    assert server.asked == [KDD, "/moved"]


def test_the_address_and_digest_are_those_of_scikit_learn() -> None:
    from sklearn.datasets._kddcup99 import ARCHIVE_10_PERCENT

    assert ARCHIVE_10_PERCENT.url == f"{downloads.KDD_CUP_99.server}/{downloads.KDD_PATH}"
    assert ARCHIVE_10_PERCENT.checksum == downloads.KDD_SHA256


def test_without_a_published_checksum_the_content_is_checked(
    tmp_path: Path, server: Server, capfd: pytest.CaptureFixture[str]
) -> None:
    server.publish(ARFF_BYTES, md5=None)
    cards(tmp_path).read()
    assert "No checksum is published; 9 rows, 2 frauds, as published." in capfd.readouterr().out


# --- what is refused ----------------------------------------------------------------------------------------


def test_another_file_than_the_published_one(tmp_path: Path, server: Server) -> None:
    server.publish(ARFF_BYTES, md5="0" * 32)
    message = refusal(tmp_path / "cards")
    path = tmp_path / "cards" / "creditcard.csv"
    assert message.startswith(f"{path} can't be downloaded from 127.0.0.1:{server.server_port}: its MD5 is ")
    assert f"but {'0' * 32} is published. Download it from https://www.kaggle.com" in message
    server.answers[KDD] = lambda h: send(h, b"something else")
    with pytest.raises(InputError, match=r"/kddcup\.data_10_percent\.gz can't be .*: its SHA256 is .* is published\."):
        KddCup99(dir=str(tmp_path / "kdd"), download=True).read()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b"8,8.0", b"% ", "it has 8 rows and 1 frauds, not 9 and 2"),
        (b"'1'", b"'0'", "it has 9 rows and 0 frauds, not 9 and 2"),
        (b"'1'", b"'2'", "its row 7 is no card transaction"),
        (b"5.0,", b"", "its row 5 is no card transaction"),
        (b"V7", b"V77", "it has other columns than the card transactions: Time, V1"),
    ],
)
def test_other_content(tmp_path: Path, server: Server, old: bytes, new: bytes, fault: str) -> None:
    assert old in ARFF_BYTES
    server.publish(ARFF_BYTES.replace(old, new))
    assert f": {fault}" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (lambda h: send(h, ARFF_BYTES, length=len(ARFF_BYTES) + 5), "it broke off after "),
        (lambda h: send(h, gzip.compress(ARFF_BYTES)[:-20], Content_Encoding="gzip"), "it broke off after "),
        (lambda h: send(h, b"not gzip", Content_Encoding="gzip"), "it is damaged: "),
        (lambda h: h.send_error(404), "the server answers 404 Not Found"),
        (lambda h: h.send_error(503), "the server answers 503 Service Unavailable"),
        (lambda h: h.send_error(503, "a\x0b b " + 300 * "x"), f"the server answers 503 a b {196 * 'x'}."),
        (lambda h: h.wfile.write(b"nonsense\r\n\r\n"), "nonsense"),
        (lambda h: None, "Remote end closed connection without response"),
    ],
)
def test_answers_that_are_no_whole_file(tmp_path: Path, server: Server, answer: Answer, fault: str) -> None:
    server.publish(ARFF_BYTES)
    server.answers["/cards.arff"] = answer
    assert f": {fault}" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("description", "fault"),
    [
        (b"<html>", "its description of data set 1597 can't be read"),
        (b"[1]", "its description of data set 1597 can't be read"),
        (b"x" * 2_000_000, "it is too long"),
        (b'{"data_set_description": {"url": "file:///etc/passwd"}}', "file:///etc/passwd is no web address"),
        (b'{"data_set_description": {"url": "http:///"}}', "no host given"),
    ],
)
def test_descriptions_that_are_none(tmp_path: Path, server: Server, description: bytes, fault: str) -> None:
    server.answers[DESCRIPTION] = lambda h: send(h, description)
    assert f": {fault}" in refusal(tmp_path)


def test_a_server_that_stalls(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "STALL_S", 0.2)
    ends = socket.socketpair()

    def stall(handler: BaseHTTPRequestHandler) -> None:
        send(handler, b"%", length=1000)
        handler.wfile.flush()
        ends[0].recv(1)

    server.publish(ARFF_BYTES)
    server.answers["/cards.arff"] = stall
    assert ": it broke off after 0 bytes: no answer within 0.2 s. Download" in refusal(tmp_path)
    ends[1].close()


def test_no_server(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv(downloads.MIRROR, f"http://127.0.0.1:{closed.getsockname()[1]}/")
        assert ": Connection refused. Download it from https://www.kaggle.com" in refusal(tmp_path / "cards")


def test_a_file_without_end(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 1000)
    server.publish(ARFF_BYTES * 3)
    assert ": it has more than " in refusal(tmp_path)


# --- interruptions and disks --------------------------------------------------------------------------------


def test_ctrl_c_leaves_nothing(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise Interrupted(2)

    server.publish(ARFF_BYTES)
    monkeypatch.setattr(downloads, "_csv_lines", stop)
    with pytest.raises(Interrupted):
        cards(tmp_path / "cards").read()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk(tmp_path: Path, server: Server) -> None:
    server.publish(ARFF_BYTES)
    with full_disk(len(ARFF_BYTES) // 2):
        message = refusal(tmp_path)
    assert message == f"{tmp_path / 'creditcard.csv'} can't be written: File too large."


def test_a_folder_that_cannot_be_made(tmp_path: Path, server: Server) -> None:
    server.publish(ARFF_BYTES)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"creditcard\.csv can't be written: (Not a directory|File exists)\."):
        cards(tmp_path / "file").read()
    with pytest.raises(InputError, match="can't be written: "):
        cards(Path("/proc/cards")).read()
    assert server.asked == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path, server: Server) -> None:
    tmp_path.chmod(0o500)
    assert "can't be written: Permission denied." in refusal(tmp_path)
    tmp_path.chmod(0o700)


# --- the option ---------------------------------------------------------------------------------------------


def test_a_missing_file_offers_the_download(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        CreditCard(dir=str(tmp_path)).read()
    assert str(refused.value) == (
        f"{tmp_path / 'creditcard.csv'} is missing. Download it from https://www.kaggle.com/datasets/mlg-ulb/"
        "creditcardfraud and put it there, or set data.file=PATH; data.download=true fetches it from openml.org, "
        "without an account."
    )
    with pytest.raises(InputError, match=r"data\.download=true fetches it from figshare\.com"):
        KddCup99(dir=str(tmp_path)).read()


def test_download_with_a_file_of_ones_own(cli: Cli) -> None:
    code, _, err = cli("detect", "data=kddcup99", "data.download=true", "data.file=mine.gz")
    fault = "data.download fetches the file into data.dir, but data.file names another: leave out one of them."
    assert (code, err) == (2, f"error: {fault}\n")


def test_a_run_folder_fetches_nothing(cli: Cli, workdir: Path, published: Path) -> None:
    """It may be untrusted, so its `data.download` is off; and with or without it a run is the same."""
    words = ["detect", "data=creditcard", "model=gaussian", f"paths.data={published}", "trainer=cpu"]
    code, out, err = cli(*words, "data.download=true")
    assert code == 0, err
    path = Path(out.splitlines()[-1]) / CONFIG
    saved, read = OmegaConf.load(path), read_saved_config(path)
    assert isinstance(saved, DictConfig)
    assert saved.data.download is True and read.data.download is False
    assert config_hash(saved, "same data") == config_hash(read, "same data")
