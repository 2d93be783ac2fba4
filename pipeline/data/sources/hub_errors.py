"""Read-only access to the public Hugging Face Hub for the data package: without a token, every wait has a timeout."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from pipeline.core.errors import HubError, InputError, PipelineError
from pipeline.core.http_client import limit_waiting
from pipeline.core.text import without_errno

ANSWER_SECONDS = 30.0
"""Timeout for one response of the Hub; the client has none by default."""
SHOWN = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENETUNREACH, errno.EHOSTUNREACH)
"""Errors of the disk, the process or the network that do not concern a particular file."""
NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
PASSING = (408, 409, 425, 429)
"""Statuses of refusals that may not last: timeout, conflict, too early, too many requests."""
PUBLIC_ONLY = "only public data is read here, without a token; choose another"


@contextmanager
def hub_faults(what: str) -> Iterator[None]:
    """Turns errors of the Hub's client into one sentence about `what`: InputError when the same request will fail
    again, because the data is missing, not public or refused; otherwise HubError.
    """
    from huggingface_hub.errors import HTTPError

    _limit_waiting()
    try:
        yield
    except PipelineError:
        raise
    except (HTTPError, OSError, EOFError, ValueError, RuntimeError) as error:
        if refusal := _refusal(error):
            raise InputError(f"{what}: {refusal}.") from error
        raise HubError(
            f"{what} could not be read from the Hub ({_reason(error)}); try again later, or use another source."
        ) from error


def _refusal(error: BaseException) -> str | None:
    """Why the Hub, or this machine, will refuse the same request again, and what to do; None for a passing fault."""
    from huggingface_hub import errors
    from huggingface_hub.constants import HF_HOME

    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno in NOT_WRITABLE and str(cause.filename).startswith(HF_HOME):
            return "the folder for downloads cannot be written; set HF_HOME to one that can"
        if not isinstance(cause, errors.HfHubHTTPError):
            continue
        for kind, words in (
            (errors.GatedRepoError, f"its owner gives access only on request, and {PUBLIC_ONLY}"),
            (errors.DisabledRepoError, "the Hub has disabled it; choose another"),
            (errors.RepositoryNotFoundError, "the Hub has no such public repository; check the name"),
            (errors.RevisionNotFoundError, "the Hub has no such revision of it; check what stands after @"),
            (errors.RemoteEntryNotFoundError, "its repository lacks that file; choose another"),
        ):
            if isinstance(cause, kind):
                return words
        status = cause.response.status_code
        if status in (401, 403):
            return f"the Hub does not give it to everybody, and {PUBLIC_ONLY}"
        if 400 <= status < 500 and status not in PASSING:
            return f"the Hub refuses the request (status {status}); check the name"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, the latest first."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


@cache  # setting the limit again would break connections that other threads are reading from
def _limit_waiting() -> None:
    limit_waiting(ANSWER_SECONDS)


def _reason(error: BaseException) -> str:
    """What may be shown of `error`: everything about the network, nothing about local files, not even if they exist."""
    for cause in _causes(error):
        if isinstance(cause, _network_errors()):
            lines = [line.strip() for line in without_errno(str(cause)).splitlines()]
            return next(filter(None, lines), type(cause).__name__)[:200]
        if isinstance(cause, OSError) and cause.errno in SHOWN:
            return os.strerror(cause.errno)
    return "a file could not be opened" if isinstance(error, OSError) else f"unexpected answer: {type(error).__name__}"


def _network_errors() -> tuple[type[BaseException], ...]:
    from huggingface_hub.errors import HTTPError

    return (HTTPError, ConnectionError, TimeoutError, socket.gaierror, ssl.SSLError)
