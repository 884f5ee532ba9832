"""What is said where the hub gives nothing: the exceptions are those that its libraries raise."""

from unittest.mock import Mock

import pytest
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from ssl_cli.data.io.hub_errors import in_words


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            LocalEntryNotFoundError("Got: ConnectError: [Errno -2]"),
            "the hub can't be reached (or must not be",
        ),
        (raised(ConnectionError("Couldn't reach it"), LocalEntryNotFoundError("x")), "the hub can't be reached"),
        (raised(ValueError("odd"), OSError("disk")), "ValueError: odd"),
        (RepositoryNotFoundError("404", response=Mock()), "there is nothing public of that name, or it needs a login"),
        (DatasetNotFoundError("Dataset 'a/b' doesn't exist"), "there is nothing public of that name"),
        (GatedRepoError("403", response=Mock()), "its owner gives it to those alone who accept his terms"),
        (ValueError("first.\nsecond"), "ValueError: first"),
        (ValueError(""), "ValueError: "),
    ],
)
def test_reasons(error: Exception, expected: str) -> None:
    assert in_words(error).startswith(expected)


def test_what_an_error_hides_is_no_reason() -> None:
    try:
        try:
            raise ConnectionResetError
        except ConnectionResetError:
            raise ValueError("BuilderConfig 'x' not found") from None
    except ValueError as error:
        assert in_words(error) == "ValueError: BuilderConfig 'x' not found"
