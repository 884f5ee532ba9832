"""Why something can't be had from the Hugging Face hub, in words: its libraries fail in many ways."""

import os
from collections.abc import Iterator

ON = {"1", "ON", "YES", "TRUE"}  # as huggingface_hub reads it
GATED = "its owner gives it to those alone who accept his terms on its page, and are logged in"
ABSENT = "there is nothing public of that name, or it needs a login"
UNREACHED = "the hub can't be reached, and it isn't in the cache"
FORBIDDEN = "it isn't in the cache, and HF_HUB_OFFLINE forbids to ask the hub"
CAUSES = {  # by the name of an exception; the first counts: what is gated is absent, too
    "GatedRepoError": GATED,
    **dict.fromkeys(("RepositoryNotFoundError", "DatasetNotFoundError"), ABSENT),
    **dict.fromkeys(("LocalEntryNotFoundError", "ConnectError", "ConnectionError", "TimeoutException"), UNREACHED),
}


def in_words(error: BaseException) -> str:
    """A reason without a full stop; where it is none of the usual ones, as the library puts it."""
    names = {kind.__name__ for one in _chain(error) for kind in type(one).__mro__}
    known = next((said for name, said in CAUSES.items() if name in names), None)
    if known is None:
        reason = (str(error).strip().splitlines() or [""])[0][:300].rstrip(".")
        return f"{type(error).__name__}: {reason}"
    is_forbidden = os.environ.get("HF_HUB_OFFLINE", "").upper() in ON
    return FORBIDDEN if known == UNREACHED and is_forbidden else known


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """What was raised, and what it was raised by"""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
