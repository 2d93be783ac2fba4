"""huggingface_hub with time limits, and its errors as sentences for people: a passing fault, or a refusal."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.core.errors import HubError
from pipeline.core.http_client import limit_waiting
from pipeline.hub.token import VARIABLE, is_sendable, read_token, redact

if TYPE_CHECKING:
    from huggingface_hub import HfApi

PASSING_STATUS = (408, 409, 412, 425, 429)
"""Time-out, somebody else's commit came first (409, 412), too early, too often; and everything from 500 on."""


class PassingFault(HubError):
    """The Hub cannot be reached or is not well; the same request may work later."""


class Refusal(HubError):
    """The Hub, or its client, says no; the same request gets the same answer until somebody changes something."""


@dataclass(frozen=True, kw_only=True)
class HubOperation:
    """What the Hub is asked for, in the words of its errors."""

    needs_token: bool
    what: str
    right: str
    """What the token must be allowed, of the repo."""
    now: str
    """What a Hub that is not well cannot do."""
    later: str
    """What becomes of a passing fault."""
    again: str
    """What a person does after correcting a refusal."""
    named_by: str = "PIPELINE_HUB_REPO"
    """Where a wrong name of the repo is corrected."""


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


def connect(errand: HubOperation, *, answer_seconds: float) -> HfApi:
    """The Hub, with a limit on each wait for an answer. Raises Refusal without a token, where the errand needs one."""
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    token = find_token(errand)
    limit_waiting(answer_seconds)
    disable_progress_bars()  # standard error is a log
    return HfApi(token=token or False)


def find_token(errand: HubOperation) -> str | None:
    """The token of this process. Raises Refusal when there is none and the errand needs one, or it cannot be one."""
    token = read_token()
    if token is None and errand.needs_token:
        raise Refusal(
            f"{VARIABLE} is not set; set it to a token that may {errand.right} the repo, then {errand.again}."
        )
    if token is not None and not is_sendable(token):
        raise Refusal(
            f"{VARIABLE} holds what no token does, a space or a line break say; set it anew, then {errand.again}."
        )
    return token


@contextlib.contextmanager
def hub_errors(repo: str, errand: HubOperation) -> Iterator[None]:
    """Turn what the client raises into PassingFault or Refusal; mistakes of ours pass, and keep their traceback."""
    from httpx2 import TransportError
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except (HfHubHTTPError, TransportError, OSError, RuntimeError, ValueError) as error:
        raise _translated(error, repo, errand) from error


def _translated(error: Exception, repo: str, errand: HubOperation) -> HubError:
    """Sort by the first cause that says something: the client wraps what happened in an upload in RuntimeErrors.

    What says nothing (hf_xet raises bare RuntimeErrors) passes: trying too often beats stopping for good.
    """
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, HfHubHTTPError):
            return _of_status(cause.response.status_code, cause.server_message or str(cause), repo, errand)
        # An error page instead of JSON is a Hub that is not well, although it comes as a ValueError.
        if isinstance(cause, (httpx2.TransportError, OfflineModeIsEnabled, json.JSONDecodeError)):
            break
        if isinstance(cause, ValueError) and not isinstance(cause, LocalEntryNotFoundError):
            return Refusal(
                _one_line(f"The {errand.what} {repo} is not accepted ({cause}); correct that, then {errand.again}.")
            )
        cause = cause.__cause__
    told = cause or error
    return PassingFault(_one_line(f"The Hub cannot be reached ({type(told).__name__}: {told}); {repo} {errand.later}."))


def _of_status(status: int, told: str, repo: str, errand: HubOperation) -> HubError:
    if status in PASSING_STATUS or status >= 500:
        return PassingFault(_one_line(f"The Hub cannot {errand.now} now ({status}: {told}); {repo} {errand.later}."))
    if status == 401:
        remedy = f"The Hub does not accept the token for {repo}; set {VARIABLE} to one that may {errand.right} it"
    elif status == 403:
        remedy = f"The token may not {errand.right} {repo}; give it that right, or set {VARIABLE} to one that may"
    elif status == 404:
        remedy = f"The Hub has no repo {repo} that this token may see; check {errand.named_by} and {VARIABLE}"
    else:
        remedy = f"The Hub refused the {errand.what} {repo}; correct what it says"
    return Refusal(_one_line(f"{remedy}, then {errand.again} ({status}: {told})."))


def _one_line(text: str, most: int = 500) -> str:
    text = " ".join(redact(text).split())
    return text if len(text) <= most else text[: most - 1] + "…"
