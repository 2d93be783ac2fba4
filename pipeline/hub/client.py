"""huggingface_hub with time limits. Translates its errors into sentences for people: PassingFault or Refusal."""

from __future__ import annotations

import contextlib
import json
import re
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from pipeline.core.errors import HubError
from pipeline.core.http_client import limit_waiting
from pipeline.core.text import without_errno
from pipeline.hub.token import VARIABLE, is_sendable, read_token, redact

if TYPE_CHECKING:
    from huggingface_hub import HfApi

PASSING_STATUS = (408, 409, 412, 425, 429)
"""Timeout, another writer's commit came first (409, 412), too early, rate limit; also every status from 500 on."""
MALFORMED = re.compile("improperly formatted|[Mm]alformed response|Invalid server response|Invalid etag")
"""How the client's ValueErrors about a response differ from those about a request."""
WINDOW_ENDS = re.compile(r"\bt=(\d{1,6})\b")
MAX_WAIT_SECONDS = 3_600.0


class PassingFault(HubError):
    """The Hub cannot be reached or has an internal error; the same request may succeed later."""

    retry_seconds: float | None = None
    """How long the Hub asks to wait before the next request, if it does."""


class Refusal(HubError):
    """The Hub or its client rejects the request; repeating it fails until somebody changes something."""


@dataclass(frozen=True, kw_only=True)
class HubOperation:
    """A kind of request to the Hub, with the phrases that its error messages use."""

    needs_token: bool
    what: str
    """The action and its preposition, as in "push to REPO"."""
    right: str
    """The permission that the token needs for the repo."""
    now: str
    """What the Hub cannot do during a passing fault: "The Hub cannot ... now"."""
    later: str
    """What happens to the repo after a passing fault."""
    again: str
    """What a person does after correcting the cause of a refusal."""
    named_by: str = "PIPELINE_HUB_REPO"
    """Where a wrong repo name is corrected."""
    is_anonymous: bool = False
    """Whether no token is sent: then a private repo, or one that asks for consent, is as one that does not exist."""


PUSH = HubOperation(
    needs_token=True,
    what="push to",
    right="write to",
    now="take it",
    later="is tried again by itself",
    again="publish again",
)
DOWNLOAD = HubOperation(
    needs_token=False,
    what="download from",
    right="read",
    now="answer",
    later="cannot be read, try again later",
    again="try again",
)


def connect(operation: HubOperation, *, answer_seconds: float) -> HfApi:
    """A Hub client that waits `answer_seconds` at most for each response. Raises Refusal as `find_token` does."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    token = find_token(operation)
    limit_waiting(answer_seconds)
    disable_progress_bars()  # standard error is a log
    return HfApi(token=token or False)


def find_token(operation: HubOperation) -> str | None:
    """The token of this process. Raises Refusal when the operation needs one and there is none, or it is malformed."""
    token = read_token()
    if token is None and operation.needs_token:
        raise Refusal(
            f"{VARIABLE} is not set; set it to a token that may {operation.right} the repo, or run `hf auth login`, then {operation.again}."
        )
    if token is not None and not is_sendable(token):
        raise Refusal(
            f"{VARIABLE} contains a character that no token has, such as a space or a line break; set it again, "
            f"then {operation.again}."
        )
    return token


@contextlib.contextmanager
def hub_errors(repo: str, operation: HubOperation) -> Iterator[None]:
    """Translate the client's exceptions into PassingFault or Refusal. Other exceptions are bugs and pass unchanged."""
    from httpx2 import TransportError
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except (HfHubHTTPError, TransportError, OSError, RuntimeError, ValueError) as error:
        raise _translated(error, repo, operation) from error
    except (AttributeError, LookupError, TypeError) as error:
        if not _is_of_client(error):
            raise
        raise odd_answer(f"{type(error).__name__}: {error}", repo, operation) from error


def odd_answer(what: str, repo: str, operation: HubOperation) -> PassingFault:
    """A response that has not the form that the client expects, as a proxy's or that of a Hub with an internal error."""
    return PassingFault(_one_line(f"The Hub gave an answer that cannot be read ({what}); {repo} {operation.later}."))


def _is_of_client(error: Exception) -> bool:
    """Whether the client raised it, while it read a response; else it is a bug of ours."""
    modules = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(module.partition(".")[0] == "huggingface_hub" for module in modules)


def _translated(error: Exception, repo: str, operation: HubOperation) -> HubError:
    """Classify by the first informative exception in the cause chain: the client wraps upload errors in RuntimeErrors.

    Without one (hf_xet raises bare RuntimeErrors) it is a PassingFault: retrying too often is better than giving up.
    """
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, HfHubHTTPError):
            fault = _of_status(cause.response.status_code, cause.server_message or str(cause), repo, operation)
            if isinstance(fault, PassingFault):
                fault.retry_seconds = requested_wait(cause.response.headers)
            return fault
        # An error page instead of JSON means that the Hub has an internal error, although it raises a ValueError.
        if isinstance(cause, (httpx2.TransportError, OfflineModeIsEnabled, json.JSONDecodeError)):
            break
        if isinstance(cause, ValueError) and MALFORMED.search(str(cause)):
            return odd_answer(str(cause), repo, operation)
        if isinstance(cause, ValueError) and not isinstance(cause, LocalEntryNotFoundError):
            return Refusal(
                _one_line(
                    f"The {operation.what} {repo} is not accepted ({cause}); correct that, then {operation.again}."
                )
            )
        cause = cause.__cause__
    shown = cause or error
    return PassingFault(
        _one_line(f"The Hub cannot be reached ({type(shown).__name__}: {shown}); {repo} {operation.later}.")
    )


def _of_status(status: int, reason: str, repo: str, operation: HubOperation) -> HubError:
    if status in PASSING_STATUS or status >= 500:
        return PassingFault(
            _one_line(f"The Hub cannot {operation.now} now ({status}: {reason}); {repo} {operation.later}.")
        )
    if operation.is_anonymous and status in (401, 403, 404):
        remedy = f"The Hub has no public repo {repo}; check {operation.named_by}"
    elif status == 401:
        remedy = f"The Hub does not accept the token for {repo}; set {VARIABLE} to one that may {operation.right} it"
    elif status == 403:
        remedy = f"The token may not {operation.right} {repo}; give it that right, or set {VARIABLE} to one that may"
    elif status == 404:
        remedy = f"The Hub has no repo {repo} that this token may see; check {operation.named_by} and {VARIABLE}"
    else:
        remedy = f"The Hub refused the {operation.what} {repo}; correct what it says"
    return Refusal(_one_line(f"{remedy}, then {operation.again} ({status}: {reason})."))


def requested_wait(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds to wait before the next request, by the headers Retry-After (seconds or a date) or RateLimit (`t=`, the
    seconds until its window ends); None without them. At most MAX_WAIT_SECONDS.
    """
    text = headers.get("Retry-After", "").strip()
    seconds: float | None = None
    if text.isascii() and text.isdecimal():
        seconds = float(text)
    elif text:
        with contextlib.suppress(ValueError):
            seconds = parsedate_to_datetime(text).timestamp() - (time.time() if now is None else now)
    elif found := WINDOW_ENDS.search(headers.get("RateLimit", "")):
        seconds = float(found[1])
    return None if seconds is None else min(MAX_WAIT_SECONDS, max(0.0, seconds))


def _one_line(text: str, max_length: int = 500) -> str:
    text = " ".join(without_errno(redact(text)).split())
    return text if len(text) <= max_length else text[: max_length - 1] + "…"
