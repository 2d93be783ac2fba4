"""The Hugging Face Hub as the data room sees it: public, read-only, without a token, never waited for without end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from pipeline.errors import HubError, InputError, PipelineError
from pipeline.http import limit_waiting

ANSWER_SECONDS = 30.0
"""How long one answer of the Hub may take; the client's own default is for ever."""
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
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
