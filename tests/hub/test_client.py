"""The real client against the loopback Hub, in a separate process, as the client reads its settings on import."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.errors import HubError
from pipeline.hub.client import PassingFault, Refusal, requested_wait
from tests.hub.conftest import REPO, ROOT
from tests.loopback_hub import TOKEN, LoopbackHub

pytestmark = pytest.mark.slow

ASKS = """
from pipeline.hub import client
from pipeline.hub.client import DOWNLOAD, PUSH, connect, hub_errors
{seam}
try:
    with hub_errors("me/parrot", {operation}):
        api = connect({operation}, answer_seconds=0.5)
        {call}
except client.HubError as error:
    print(type(error).__name__, error)
"""
LIST = 'api.list_repo_commits("me/parrot")'
CREATE = 'api.create_repo("me/parrot", exist_ok=True)'
CARD = """api.create_commit(
    "me/parrot", [__import__("huggingface_hub").CommitOperationAdd("README.md", b"# a card")], commit_message="card"
)"""
WITHOUT_LIMIT = """
from pipeline.core import http_client
http_client.bounded_client = lambda seconds: __import__("httpx2").Client(timeout=seconds)
"""


def ask(
    hub: LoopbackHub,
    folder: Path,
    call: str,
    *,
    operation: str = "PUSH",
    seam: str = "",
    token: str | None = TOKEN,
    timeout: float = 60,
) -> str:
    """The class name and message of the error that `call` raises."""
    environment = {**os.environ, **hub.environment(folder, token)}
    if token is None:
        environment.pop("HF_TOKEN", None)
    command = [sys.executable, "-c", ASKS.format(call=call, operation=operation, seam=seam)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=timeout
    )
    return done.stdout.strip()


def test_the_two_kinds_of_errors_are_errors_for_people() -> None:
    assert issubclass(PassingFault, HubError) and issubclass(Refusal, HubError)


@pytest.mark.parametrize("status", [409, 412, 500])
def test_a_passing_fault_is_not_a_refusal(hub: LoopbackHub, tmp_path: Path, status: int) -> None:
    hub.refuse(status, on="POST /api/repos/create" if status == 500 else "commits")
    message = ask(hub, tmp_path, CREATE if status == 500 else LIST)
    assert message.startswith(f"PassingFault The Hub cannot take it now ({status}")


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (400, "correct what it says"),
        (401, "does not accept the token"),
        (403, "give it that right"),
        (404, "check PIPELINE_HUB_REPO"),
    ],
)
def test_a_refusal_says_what_to_do(hub: LoopbackHub, tmp_path: Path, status: int, remedy: str) -> None:
    hub.refuse(status, on="commits", body='{"error": "because"}')
    message = ask(hub, tmp_path, LIST)
    assert message.startswith("Refusal") and remedy in message and REPO in message and "\n" not in message


@pytest.mark.parametrize("status", [400, 401, 403, 404, 503])
def test_a_download_error_does_not_mention_pushes(hub: LoopbackHub, tmp_path: Path, status: int) -> None:
    hub.refuse(status, on="commits", body='{"error": "because"}')
    message = ask(hub, tmp_path, LIST, operation="DOWNLOAD")
    assert f"({status}" in message and "try again" in message and REPO in message
    assert not [word for word in ("push", "publish", "write") if word in message]
    control = ask(hub, tmp_path, LIST, operation="PUSH")
    assert [word for word in ("publish", "by itself") if word in control]


def test_an_error_page_instead_of_json_is_a_passing_fault(hub: LoopbackHub, tmp_path: Path) -> None:
    """The client parses the response about the card as JSON before it checks the status."""
    hub.refuse(503, on="validate-yaml", body="<html>Service Unavailable</html>")
    assert ask(hub, tmp_path, CARD).startswith("PassingFault")


def test_an_unreachable_hub_is_a_passing_fault(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.stop()
    message = ask(hub, tmp_path, CREATE)
    assert message.startswith("PassingFault The Hub cannot be reached (ConnectError")


def test_without_a_token_nothing_is_sent(hub: LoopbackHub, tmp_path: Path) -> None:
    assert ask(hub, tmp_path, CREATE, token=None).startswith("Refusal HF_TOKEN is not set; set it")
    assert hub.requests == []


@pytest.mark.parametrize("token", ["two\nlines", "two words", "ünicode", 'quo"te'])
def test_a_token_that_no_header_may_contain_is_not_sent_and_not_quoted(
    hub: LoopbackHub, tmp_path: Path, token: str
) -> None:
    message = ask(hub, tmp_path, CREATE, token=token)
    assert message.startswith("Refusal HF_TOKEN contains a character that no token has")
    assert not any(part in message for part in ("lines", "words", "nicode", "quo"))
    assert hub.requests == []


def test_a_bug_keeps_its_traceback(hub: LoopbackHub, tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as error:
        ask(hub, tmp_path, "len(5)")
    assert "TypeError" in error.value.stderr


def test_a_hub_that_does_not_respond_times_out(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.hang(on="repos/create")
    assert ask(hub, tmp_path, CREATE).startswith("PassingFault The Hub cannot be reached (ReadTimeout")


def test_a_call_that_asks_for_no_time_limit_gets_one(hub: LoopbackHub, tmp_path: Path) -> None:
    hub.hang(on="GET /api/models")
    call = f'api.model_info("{REPO}")'
    assert "ReadTimeout" in ask(hub, tmp_path, call)
    # The control: with a limit on the client alone, model_info's own `timeout=None` wins and the call never returns.
    with pytest.raises(subprocess.TimeoutExpired):
        ask(hub, tmp_path, call, seam=WITHOUT_LIMIT, timeout=6)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:01:40 GMT"}, 60.0),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:01 GMT"}, 0.0),
        ({"Retry-After": "9999999"}, 3_600.0),
        ({"Retry-After": "soon"}, None),
        ({"RateLimit": '"api";r=0;t=55'}, 55.0),
        ({}, None),
    ],
)
def test_the_wait_that_the_hub_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert requested_wait(headers, now=40.0) == seconds
