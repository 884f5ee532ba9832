"""Why something can't be had from the Hugging Face hub, in words: its libraries fail in many ways."""

from collections.abc import Iterator

GATED = "its owner gives it to those alone who accept his terms on its page, and are logged in"
ABSENT = "there is nothing public of that name, or it needs a login"
UNREACHED = "the hub can't be reached (or must not be: HF_HUB_OFFLINE), and no copy of it is in the cache"
CAUSES = {  # by the name of an exception; the first counts: what is gated is absent, too
    "GatedRepoError": GATED,
    **dict.fromkeys(("RepositoryNotFoundError", "DatasetNotFoundError"), ABSENT),
    **dict.fromkeys(("LocalEntryNotFoundError", "ConnectError", "ConnectionError", "TimeoutException"), UNREACHED),
}


def in_words(error: BaseException) -> str:
    """A reason without a full stop; where it is none of the usual ones, as the library puts it."""
    names = {kind.__name__ for one in _chain(error) for kind in type(one).__mro__}
    known = next((said for name, said in CAUSES.items() if name in names), None)
    if known is not None:
        return known
    reason = (str(error).strip().splitlines() or [""])[0][:300].rstrip(".")
    return f"{type(error).__name__}: {reason}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """What was raised, and what it was raised by"""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
