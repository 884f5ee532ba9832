"""Access to the Hugging Face hub: its libraries are asked only after a quick probe, and are silent when they retry.

If the hub can't be reached they work offline, so that what is in their caches loads at once and what is not is refused
at once. By themselves they try for half a minute, and print each attempt.
"""

import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, Queue
from threading import Thread

from ssl_cli import console
from ssl_cli.data.io.hub_errors import UNREACHABLE, HubUnreachableError, describe_hub_error

ANSWER_S = 4.0  # for which an answer of the hub is awaited, unless HF_HUB_ETAG_TIMEOUT, the hub's own option, is set
RETRY_S = 60.0  # for which a connection that breaks is retried
EPISODE_S = 30.0  # without a failed attempt, after which the connection counts as restored
LIBRARIES = ("huggingface_hub", "datasets")
GATEWAY_FAULTS = (407, 502, 503, 504)  # statuses of a proxy, or of a hub that is down
# Records of the libraries that announce another attempt.
RETRY = re.compile("thrown while requesting|Got disconnected from|Failed to connect to")


@contextmanager
def hub_access(name: str) -> Iterator[None]:
    """Let the hub's libraries load the model or dataset `name`: offline, with their caches, if no hub answers.

    Raises HubUnreachableError if it can't be reached and `name` isn't in the cache; and all that the libraries raise.
    """
    from huggingface_hub import constants

    _follow_logs(name)
    if constants.HF_HUB_OFFLINE:
        yield
        return
    fault = why_unreachable(constants.ENDPOINT)
    if fault is None:
        yield
        return
    configs = [constants, *([sys.modules["datasets"].config] if "datasets" in sys.modules else [])]
    for config in configs:
        config.HF_HUB_OFFLINE = True
    try:
        yield
    except Exception as error:
        if describe_hub_error(error) != UNREACHABLE:
            raise
        raise HubUnreachableError(
            f"{constants.ENDPOINT} can't be reached ({fault}), and there is no copy in the cache"
        ) from error
    finally:
        for config in configs:
            config.HF_HUB_OFFLINE = False


def why_unreachable(endpoint: str) -> str | None:
    """Return why the hub at a URL can't be reached, or None if it answers; takes little more than ANSWER_S."""
    from huggingface_hub import constants

    wait_s = constants.HF_HUB_ETAG_TIMEOUT if os.environ.get("HF_HUB_ETAG_TIMEOUT") else ANSWER_S
    answers: Queue[str | None] = Queue()
    # In a thread, for the look-up of a name has no timeout of its own.
    Thread(target=lambda: answers.put(_ask(endpoint, wait_s)), daemon=True).start()
    try:
        return answers.get(timeout=wait_s)
    except Empty:
        return _no_answer(wait_s)


def _ask(endpoint: str, wait_s: float) -> str | None:
    """Return why an endpoint doesn't answer, asked as the libraries ask: with their proxies and certificates."""
    from huggingface_hub.utils import get_session

    try:
        status = get_session().head(endpoint, timeout=wait_s).status_code
    except Exception as error:  # of whichever HTTP library the hub's uses
        if "Timeout" in type(error).__name__:
            return _no_answer(wait_s)
        return re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
    return f"it answers {status}" if status in GATEWAY_FAULTS else None


def _no_answer(wait_s: float) -> str:
    return f"no answer within {wait_s:g} s; HF_HUB_ETAG_TIMEOUT=30 waits longer"


# --- retries ------------------------------------------------------------------------------------------------


class _Retries(logging.Handler):
    """Writes the libraries' records into the run's log, warns once of a broken connection, and ends long retries."""

    def __init__(self, name: str):
        super().__init__(logging.WARNING)
        self.name_of_data, self.first_s, self.last_s = name, 0.0, float("-inf")

    def emit(self, record: logging.LogRecord) -> None:
        """Handle a record. Raises HubUnreachableError, through the library, if it has been retrying for RETRY_S."""
        message = record.getMessage().strip()
        console.note(f"{record.levelname.lower()}: {record.name}: {message}")
        if not RETRY.search(message):
            return
        now_s = time.monotonic()
        if now_s - self.last_s > EPISODE_S:
            self.first_s = now_s
            console.warn(f"{self.name_of_data}: the connection to the hub broke; it is retried for {RETRY_S:g} s.")
        self.last_s = now_s
        if now_s - self.first_s > RETRY_S:
            raise HubUnreachableError(f"the connection to the hub broke, and {RETRY_S:g} s of retries did not help")


def _follow_logs(name: str) -> None:
    """Send the libraries' records to one handler, which speaks of `name`, in place of the terminal."""
    handler = _Retries(name)
    for library in LIBRARIES:
        logger = logging.getLogger(library)
        logger.handlers, logger.propagate = [handler], False
