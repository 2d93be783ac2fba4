from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from huggingface_hub import constants, errors

from pipeline.core.errors import HubError, InputError
from pipeline.core.paths import ROOT
from pipeline.data.sources.hub_errors import hub_faults
from tests.data.dataset_hub import DatasetHub

LIST_FILES = """
import time
from huggingface_hub import HfApi
from pipeline.core import http_client
from pipeline.data.sources import hub_errors
from pipeline.core.errors import HubError
hub_errors.ANSWER_SECONDS = 0.5
time.sleep = lambda seconds: None  # the client's retries would wait for half a minute in all
{seam}
try:
    with hub_errors.hub_faults("Dataset 'me/data'"):
        print(*[file.path for file in HfApi().list_repo_tree("me/data", repo_type="dataset", token=False)])
except HubError as error:
    print(error)
"""
LIMIT_ON_THE_CLIENT_ALONE = """
from huggingface_hub.utils import _http
def client(seconds):
    made = _http.default_client_factory()
    made.timeout = seconds
    return made
http_client.bounded_client = client
"""


@pytest.mark.parametrize(
    "error", [ConnectionError("line one\nline two"), TimeoutError(), ValueError("bad"), EOFError()]
)
def test_errors_of_the_client_become_one_sentence(error: Exception) -> None:
    with pytest.raises(HubError) as caught, hub_faults("Dataset 'x'"):
        raise error
    assert str(caught.value).startswith("Dataset 'x' could not be read from the Hub (")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionResetError(104, "Connection reset by peer"), "Connection reset by peer"),
        (TimeoutError("The read operation timed out"), "The read operation timed out"),
        (OSError(errno.ENOSPC, "No space left on device", "/home/someone/.cache/x"), "No space left on device"),
    ],
)
def test_the_reason_of_a_network_or_disk_error_is_kept(error: Exception, reason: str) -> None:
    with pytest.raises(HubError) as caught, hub_faults("Dataset 'x'"):
        raise error
    assert f"({reason})" in str(caught.value)
    with pytest.raises(HubError) as caught, hub_faults("Dataset 'x'"):
        raise ValueError("what the client makes of it") from error
    assert f"({reason})" in str(caught.value)


def test_errors_about_local_files_have_the_same_message() -> None:
    messages = set()
    for error in (
        FileNotFoundError(errno.ENOENT, "No such file or directory", "/home/someone/secret"),
        PermissionError(errno.EACCES, "Permission denied", "/home/someone/secret"),
        IsADirectoryError(errno.EISDIR, "Is a directory", "/home/someone"),
        FileNotFoundError("reference://secret of file:///home/someone"),
    ):
        with pytest.raises(HubError) as caught, hub_faults("Dataset 'x'"):
            raise error
        messages.add(str(caught.value))
    with pytest.raises(HubError) as caught, hub_faults("Dataset 'x'"):
        raise ValueError("Protocol not known: secret of /home/someone")
    assert len(messages) == 1
    assert not [text for text in [*messages, str(caught.value)] if "secret" in text or "someone" in text]


def test_our_own_errors_and_bugs_are_not_translated() -> None:
    with pytest.raises(InputError, match="ours"), hub_faults("x"):
        raise InputError("ours")
    with pytest.raises(KeyError), hub_faults("x"):
        raise KeyError("mistake")


def list_files(hub: DatasetHub, folder: Path, *, seam: str = "", patience: float = 60) -> str:
    """Lists files in a separate process, because the Hub's client reads its address when it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", LIST_FILES.format(seam=seam)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=patience,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.slow
def test_a_silent_hub_times_out_even_in_calls_without_a_timeout(tmp_path: Path) -> None:
    with DatasetHub({"me/data": {"a.jsonl": b"{}"}}) as hub:
        assert list_files(hub, tmp_path) == "a.jsonl"
        hub.silent = "/tree/"
        assert "could not be read from the Hub" in list_files(hub, tmp_path)
        # The control: with a timeout on the client alone, list_repo_tree's own `timeout=None` overrides it.
        with pytest.raises(subprocess.TimeoutExpired):
            list_files(hub, tmp_path, seam=LIMIT_ON_THE_CLIENT_ALONE, patience=15)


def refusal(kind: type[errors.HfHubHTTPError], status: int) -> errors.HfHubHTTPError:
    return kind("no", response=httpx.Response(status, request=httpx.Request("GET", "http://127.0.0.1/x")))


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        (errors.GatedRepoError, 403, "its owner gives access only on request"),
        (errors.DisabledRepoError, 403, "the Hub has disabled it"),
        (errors.RepositoryNotFoundError, 404, "no such public repository"),
        (errors.RevisionNotFoundError, 404, "no such revision"),
        (errors.RemoteEntryNotFoundError, 404, "lacks that file"),
        (errors.HfHubHTTPError, 401, "does not give it to everybody"),
        (errors.HfHubHTTPError, 403, "does not give it to everybody"),
        (errors.HfHubHTTPError, 400, r"refuses the request \(status 400\)"),
    ],
)
def test_a_refusal_that_will_not_change_is_not_told_to_try_again(
    kind: type[errors.HfHubHTTPError], status: int, words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught, hub_faults("Dataset 'x'"):
        raise refusal(kind, status)
    assert "try again" not in str(caught.value)
    with pytest.raises(InputError, match=words), hub_faults("Dataset 'x'"):
        raise ValueError("what the client makes of it") from refusal(kind, status)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 503])
def test_a_refusal_that_may_pass_can_be_tried_again(status: int) -> None:
    with pytest.raises(HubError, match="try again later"), hub_faults("Dataset 'x'"):
        raise refusal(errors.HfHubHTTPError, status)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_folder_for_downloads_that_cannot_be_written_is_named_with_the_remedy(number: int) -> None:
    with pytest.raises(InputError, match="cannot be written; set HF_HOME to one that can"), hub_faults("Dataset 'x'"):
        raise OSError(number, os.strerror(number), f"{constants.HF_HOME}/hub")
