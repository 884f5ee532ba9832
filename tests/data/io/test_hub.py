"""The hub that refuses, is silent, has no address, or breaks off; and caches that serve without it."""

import logging
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import datasets
import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.utils import http_backoff

from ssl_cli.data.io import hub
from ssl_cli.data.io.hub_errors import HubUnreachableError
from ssl_cli.data.labelled.sources import PublishedLayout, hub_rows
from ssl_cli.data.text.corpora import C4
from ssl_cli.errors import InputError
from ssl_cli.models.huggingface.files import checkpoint_folder


@pytest.fixture(autouse=True)
def own_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the libraries ask a hub, at a closed port unless a test names another, with empty caches."""
    for config in (constants, datasets.config):
        monkeypatch.setattr(config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr(hub, "ANSWER_S", 0.2)
    loggers = [logging.getLogger(name) for name in hub.LIBRARIES]
    before = [(logger, logger.handlers, logger.propagate) for logger in loggers]
    yield
    for logger, handlers, propagate in before:
        logger.handlers, logger.propagate = handlers, propagate


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def answering(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a server that answers each HEAD with the status that the test asks for."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(request.param)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


# --- the probe ----------------------------------------------------------------------------------------------


def test_a_port_that_refuses() -> None:
    assert hub.why_unreachable(constants.ENDPOINT) == "Connection refused"


def test_a_server_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert hub.why_unreachable(url) == "no answer within 0.2 s; HF_HUB_ETAG_TIMEOUT=30 waits longer"


def test_a_name_without_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "ANSWER_S", 30.0)
    assert "no answer" not in str(hub.why_unreachable("http://hub.invalid"))


def test_a_name_whose_look_up_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    never = socket.socketpair()
    monkeypatch.setattr(hub, "ANSWER_S", 0.1)
    monkeypatch.setattr(hub, "_ask", lambda *_: never[0].recv(1))
    assert "no answer within 0.1 s" in str(hub.why_unreachable("http://hub.invalid"))
    never[1].close()  # ends the thread


def test_the_hubs_own_option_sets_how_long_an_answer_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "30")
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 30)
    monkeypatch.setattr(hub, "_ask", lambda endpoint, wait_s: f"{wait_s}")
    assert hub.why_unreachable("x") == "30"


@pytest.mark.parametrize(
    ("answering", "fault"),
    [(200, None), (401, None), (405, None), (503, "it answers 503"), (407, "it answers 407")],
    indirect=["answering"],
)
def test_an_answer_of_any_status_is_a_hub_but_for_those_of_a_gateway(answering: str, fault: str | None) -> None:
    assert hub._ask(answering, 5.0) == fault


@pytest.mark.parametrize("answering", [200], indirect=True)
def test_a_proxy_is_honoured(answering: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", answering)
    huggingface_hub.utils.close_session()
    assert hub._ask("http://hub.invalid", 5.0) is None
    huggingface_hub.utils.close_session()


# --- what loads without a hub -------------------------------------------------------------------------------


LAYOUT = PublishedLayout(folder="toys/two", files={}, hub="owner/toys", name="two", splits={"train": "train"})


def test_a_hub_that_cannot_be_reached_is_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fault = r" can't be reached \(Connection refused\), and there is no copy in the cache\. "
    with pytest.raises(InputError, match=rf"^owner/toys can't be loaded .*{fault}Put its files in .*data\.dir=FOLDER"):
        hub_rows(LAYOUT)
    with pytest.raises(InputError, match=rf"^allenai/c4 can't be streamed: .*{fault}Put its files in .*data\.dir=PATH"):
        list(C4(dir=str(tmp_path / "c4"), hub="allenai/c4", name="en", val=0.1).documents())
    with pytest.raises(InputError, match=rf"^init=owner/model is not .*{fault}Give the hub id .* folder"):
        checkpoint_folder("owner/model")
    assert capfd.readouterr() == ("", "")
    assert not constants.HF_HUB_OFFLINE and not datasets.config.HF_HUB_OFFLINE


def test_a_cached_dataset_loads_without_a_hub(tmp_path: Path) -> None:
    """The cache is made as the library makes it of a local file, and renamed as for a dataset of the hub."""
    (tmp_path / "train.jsonl").write_text('{"text": "one", "label": 1}\n{"text": "two", "label": 2}\n')
    made = datasets.load_dataset("json", data_files=str(tmp_path / "train.jsonl"), cache_dir=str(tmp_path / "made"))
    arrow = Path(made["train"].cache_files[0]["filename"])
    place = tmp_path / "datasets" / "owner___toys" / "two" / "0.0.0" / ("0" * 40)
    place.mkdir(parents=True)
    (place / "toys-train.arrow").write_bytes(arrow.read_bytes())
    info = (arrow.parent / "dataset_info.json").read_text()
    (place / "dataset_info.json").write_text(info.replace('"json"', '"toys"').replace('"default"', '"two"'))
    assert list(hub_rows(LAYOUT)["train"]) == [{"text": "one", "label": 1}, {"text": "two", "label": 2}]


def test_a_cached_model_loads_without_a_hub(tmp_path: Path) -> None:
    cached = tmp_path / "hub" / "models--owner--model"
    snapshot = cached / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("a" * 40)
    assert checkpoint_folder("owner/model") == snapshot


# --- a connection that breaks -------------------------------------------------------------------------------


def test_a_connection_that_breaks_is_said_once(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(hub, "why_unreachable", lambda _: None)
    with hub.hub_access("owner/toys"):
        for _ in range(3):
            logging.getLogger("datasets.utils.file_utils").warning("Got disconnected from remote data host.")
        logging.getLogger("huggingface_hub.utils._http").warning("Something else")
    warning = "warning: owner/toys: the connection to the hub broke; it is retried for 60 s.\n"
    assert capfd.readouterr() == ("", warning)


def test_retries_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own loop of retries, which by itself ends after half a minute."""
    monkeypatch.setattr(hub, "why_unreachable", lambda _: None)
    monkeypatch.setattr(hub, "RETRY_S", -1.0)
    with pytest.raises(HubUnreachableError, match="the connection to the hub broke"), hub.hub_access("owner/toys"):
        http_backoff("GET", constants.ENDPOINT)


def test_a_new_break_is_said_again(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(hub, "why_unreachable", lambda _: None)
    monkeypatch.setattr(hub, "EPISODE_S", -1.0)
    with hub.hub_access("owner/toys"):
        for _ in range(2):
            logging.getLogger("datasets.utils.file_utils").warning("Failed to connect to remote data host.")
    assert capfd.readouterr().err.count("the connection to the hub broke") == 2
