"""The Hugging Face Hub as the data room sees it: public, read-only, without a token, never waited for without end."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from pipeline.core.errors import HubError, InputError, PipelineError
from pipeline.core.http_client import limit_waiting

ANSWER_SECONDS = 30.0
"""How long one answer of the Hub may take; the client's own default is for ever."""
SHOWN = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENETUNREACH, errno.EHOSTUNREACH)
"""Faults of the disk, of the process or of the network that are those of no particular file."""
_PART = r"\w(?:[\w.-]{0,94}\w)?"
REPO = re.compile(rf"(?![\w./-]*(?:--|\.\.)){_PART}(?:/{_PART})?", re.ASCII)
"""`name` or `owner/name`, as the Hub allows them; `./name` is a path."""


@contextmanager
def hub_faults(what: str) -> Iterator[None]:
    """Turn what the Hub's client raises inside into one sentence about `what`: InputError when there is no such thing
    for everyone to read, else HubError.
    """
    from huggingface_hub.errors import (
        HTTPError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    _limit_waiting()
    try:
        yield
    except PipelineError:
        raise
    except RepositoryNotFoundError as error:
        raise InputError(f"{what}: the Hub has no such public repository; check the name.") from error
    except RevisionNotFoundError as error:
        raise InputError(f"{what}: the Hub has no such revision of it; check what stands after @.") from error
    except RemoteEntryNotFoundError as error:
        raise InputError(f"{what}: its repository lacks that file; choose another.") from error
    except (HTTPError, OSError, EOFError, ValueError, RuntimeError) as error:
        raise HubError(
            f"{what} could not be read from the Hub ({_reason(error)}); try again later, or use another source."
        ) from error


@cache  # setting a limit anew would cut off what other threads are reading
def _limit_waiting() -> None:
    limit_waiting(ANSWER_SECONDS)


def _reason(error: BaseException) -> str:
    """What of `error` may be shown: of the network all, of this machine's files nothing, not even whether they exist."""
    known: BaseException | None = error
    while known is not None:
        if isinstance(known, _network_errors()):
            return next((line.strip() for line in str(known).splitlines() if line.strip()), type(known).__name__)[:200]
        if isinstance(known, OSError) and known.errno in SHOWN:
            return os.strerror(known.errno)
        known = known.__cause__
    return "a file could not be opened" if isinstance(error, OSError) else f"unexpected answer: {type(error).__name__}"


def _network_errors() -> tuple[type[BaseException], ...]:
    from huggingface_hub.errors import HTTPError

    return (HTTPError, ConnectionError, TimeoutError, socket.gaierror, ssl.SSLError)
