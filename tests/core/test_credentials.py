"""After `protect_secrets`, a process's secrets are hidden from itself, other processes of its user, and child processes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pipeline.core.environment import is_harmless
from pipeline.core.paths import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SECRETS = {
    "HF_TOKEN": "canary-of-the-hub",
    "PIPELINE_OWNER_KEY": "canary-of-the-owner",
    "AWS_SECRET_ACCESS_KEY": "canary-of-a-bucket",
    "DATABASE_URL": "canary-of-something-else",
}
HOLDER = """
import ctypes, os, sys
from pipeline.core import credentials
from pipeline.jobs.worker import own_environment
from pipeline.core.settings import Settings
if {user}:
    os.setgid({user})
    os.setuid({user})
    ctypes.CDLL(None).prctl(credentials.PR_SET_DUMPABLE, 1, 0, 0, 0)  # the state after an exec
settings = Settings.from_environment()
{hold}
shown = "-" if {user} else open("/proc/self/environ").read().count("canary")
print(shown, sum("canary" in value for value in os.environ.values()))
print(",".join(sorted(name for name, value in own_environment(settings).items() if "canary" in value)))
print(credentials.credential("HF_TOKEN"), settings.owner_key, flush=True)
sys.stdin.read()
"""
STRANGER = """
import os, sys
os.setgroups([])
os.setgid(4321)
os.setuid(4321)
for name in ("environ", "auxv"):
    try:
        print(name, "is read" if open(f"/proc/{sys.argv[1]}/{name}", "rb").read() else "is empty")
    except OSError as error:
        print(name, type(error).__name__)
"""


def holder(hold: str, user: int = 0) -> subprocess.Popen[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PIPELINE_HOME": "/tmp", **SECRETS}
    return subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(hold=hold, user=user)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def lines_of(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(3)]


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        stream.close()


def test_no_secret_is_left_in_the_environment_or_its_copy_in_proc() -> None:
    process = holder("credentials.protect_secrets()")
    shown, passed_on, kept = lines_of(process)
    end(process)
    assert shown == "0 0"
    assert passed_on == "AWS_SECRET_ACCESS_KEY,HF_TOKEN", "the worker needs only these"
    assert kept == "canary-of-the-hub canary-of-the-owner"


def test_without_hold_every_secret_is_visible() -> None:
    """Control."""
    process = holder("")
    shown, passed_on, _ = lines_of(process)
    end(process)
    assert shown == "4 4"
    assert passed_on == "AWS_SECRET_ACCESS_KEY,HF_TOKEN"


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize(
    ("hold", "seen"),
    [
        ("credentials.protect_secrets()", ["environ PermissionError", "auxv PermissionError"]),
        ("", ["environ is read", "auxv is read"]),
    ],
    ids=["held", "control"],
)
def test_another_process_of_the_user_reads_neither_memory_nor_environment(hold: str, seen: list[str]) -> None:
    process = holder(hold, user=4321)
    lines_of(process)
    command = [sys.executable, "-c", STRANGER, str(process.pid)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    end(process)
    assert output == seen


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "HF_TOKEN", "PIPELINE_OWNER_KEY", "AWS_REGION", "SECRET", "NETRC"])
def test_a_variable_that_is_not_listed_is_not_harmless(name: str) -> None:
    assert not is_harmless(name)


@pytest.mark.parametrize("name", ["PATH", "PIPELINE_HOME", "GRADIO_SERVER_NAME", "SPACE_ID", "CUDA_VISIBLE_DEVICES"])
def test_variables_that_the_page_needs_are_harmless(name: str) -> None:
    assert is_harmless(name)
