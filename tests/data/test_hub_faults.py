"""What is said where the hub gives nothing: the exceptions are those that its libraries raise."""

from unittest.mock import Mock

import pytest
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from ssl_cli.data.hub_faults import in_words


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            LocalEntryNotFoundError("Got: ConnectError: [Errno -2]"),
            "the hub can't be reached, and it isn't in the cache",
        ),
        (raised(ConnectionError("Couldn't reach it"), LocalEntryNotFoundError("x")), "the hub can't be reached, and"),
        (raised(ValueError("odd"), OSError("disk")), "ValueError: odd"),
        (RepositoryNotFoundError("404", response=Mock()), "there is nothing public of that name, or it needs a login"),
        (DatasetNotFoundError("Dataset 'a/b' doesn't exist"), "there is nothing public of that name"),
        (GatedRepoError("403", response=Mock()), "its owner gives it to those alone who accept his terms"),
        (ValueError("first.\nsecond"), "ValueError: first"),
        (ValueError(""), "ValueError: "),
    ],
)
def test_reasons(error: Exception, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert in_words(error).startswith(expected)


def test_a_hub_that_must_not_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert in_words(ConnectionError("offline")) == "it isn't in the cache, and HF_HUB_OFFLINE forbids to ask the hub"
