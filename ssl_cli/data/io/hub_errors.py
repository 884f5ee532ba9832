"""Errors of the Hugging Face hub's libraries, described in one sentence: they fail in many ways."""

from collections.abc import Iterator

GATED = "its owner requires you to accept the terms on its page and to be logged in"
ABSENT = "no public repository has that name, or it needs a login"
UNREACHABLE = "the hub can't be reached (or HF_HUB_OFFLINE forbids it), and there is no copy in the cache"
REASONS = {  # by the name of an exception; the first match counts: a gated repository is a missing one, too
    "GatedRepoError": GATED,
    **dict.fromkeys(("RepositoryNotFoundError", "DatasetNotFoundError"), ABSENT),
    **dict.fromkeys(("LocalEntryNotFoundError", "ConnectError", "ConnectionError", "TimeoutException"), UNREACHABLE),
}


class HubUnreachableError(Exception):
    """The hub can't be reached; the message is the reason, without a full stop."""


def describe_hub_error(error: BaseException) -> str:
    """Return the reason for an error, without a full stop; the library's own message if it is not a common one."""
    if unreachable := next((cause for cause in _causes(error) if isinstance(cause, HubUnreachableError)), None):
        return str(unreachable)
    names = {kind.__name__ for cause in _causes(error) for kind in type(cause).__mro__}
    known = next((reason for name, reason in REASONS.items() if name in names), None)
    if known is not None:
        return known
    message = (str(error).strip().splitlines() or [""])[0][:300].rstrip(".")
    return f"{type(error).__name__}: {message}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and the errors that caused it."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
