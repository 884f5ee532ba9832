"""Tests of the sentences that describe errors of the hub's libraries."""

from unittest.mock import Mock

import pytest
from datasets.exceptions import DatasetNotFoundError
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from ssl_cli.data.io.hub_errors import describe_hub_error


def with_cause(error: Exception, cause: Exception | None = None) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            LocalEntryNotFoundError("Got: ConnectError: [Errno -2]"),
            "the hub can't be reached (or HF_HUB_OFFLINE forbids it",
        ),
        (with_cause(ConnectionError("Couldn't reach it"), LocalEntryNotFoundError("x")), "the hub can't be reached"),
        (with_cause(ValueError("odd"), OSError("disk")), "ValueError: odd"),
        (RepositoryNotFoundError("404", response=Mock()), "no public repository has that name, or it needs a login"),
        (DatasetNotFoundError("Dataset 'a/b' doesn't exist"), "no public repository has that name"),
        (GatedRepoError("403", response=Mock()), "its owner requires you to accept the terms"),
        (ValueError("first.\nsecond"), "ValueError: first"),
        (ValueError(""), "ValueError: "),
    ],
)
def test_known_errors_have_a_reason(error: Exception, expected: str) -> None:
    assert describe_hub_error(error).startswith(expected)


def test_suppressed_cause_is_not_the_reason() -> None:
    try:
        try:
            raise ConnectionResetError
        except ConnectionResetError:
            raise ValueError("BuilderConfig 'x' not found") from None
    except ValueError as error:
        assert describe_hub_error(error) == "ValueError: BuilderConfig 'x' not found"
