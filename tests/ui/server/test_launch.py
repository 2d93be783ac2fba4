"""The page starts without heavy imports, and is served with the required settings."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import gradio as gr
import psutil
import pytest

import app
from pipeline.core.errors import InputError
from pipeline.core.paths import ROOT
from pipeline.core.settings import Settings
from pipeline.ui.server.launch import listen, mount_arguments
from tests.ctrl_c import hearing
from tests.page import Page
from tests.waiting import eventually

HEAVY = ("torch", "transformers", "accelerate", "datasets", "polars", "tokenizers", "tiktoken", "ray")
BUILD = f"""
import sys
import gradio
before = set(sys.modules)
import app
from pipeline.core.settings import Settings
from pipeline.ui.shared.engine import Engine
from pipeline.ui.server.launch import application
from pathlib import Path
settings = Settings(home=Path(sys.argv[1]))
engine = Engine(settings)
application(app.build(engine), engine)
print([name for name in {HEAVY} if name in sys.modules], "huggingface_hub" in set(sys.modules) - before)
"""


def test_the_page_is_built_without_anything_heavy(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILD, str(tmp_path / "home")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert result.stdout.strip() == "[] False"
    assert not (tmp_path / "home").exists()


def test_features_that_the_page_does_not_use_are_off(tmp_path: Path) -> None:
    arguments = mount_arguments(Settings(home=tmp_path))
    closed = ("show_error", "ssr_mode", "enable_monitoring", "run_history", "mcp_server", "pwa")
    assert {arguments[name] for name in closed} == {False}
    assert arguments["max_file_size"] == 0
    assert arguments["footer_links"] == []
    assert arguments["allowed_paths"] == []
    assert str(tmp_path) in arguments["blocked_paths"]


def test_every_argument_is_one_that_gradio_has(tmp_path: Path) -> None:
    import inspect

    known = set(inspect.signature(gr.mount_gradio_app).parameters)
    assert set(mount_arguments(Settings(home=tmp_path))) <= known


def test_the_first_free_port_is_taken() -> None:
    with listen("127.0.0.1", range(47_860, 47_960)) as first, listen("127.0.0.1", range(47_860, 47_960)) as second:
        assert first.getsockname()[1] < second.getsockname()[1]


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(InputError, match=r"no address '192\.0\.2\.1'; set GRADIO_SERVER_NAME"):
        listen("192.0.2.1", [0])


def test_a_home_of_another_user_is_one_sentence_and_exit_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def closed() -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "home" / "owner.json"))

    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(app, "complete_repo", closed)
    assert app.main() == 2
    assert capsys.readouterr().err.startswith(f"PIPELINE_HOME ({tmp_path / 'home'}) holds files of another user: ")


@pytest.mark.slow
def test_a_port_that_is_taken_is_one_sentence_and_exit_status_2(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        result = started(tmp_path, GRADIO_SERVER_PORT=port)
    assert (result.returncode, result.stderr) == (
        2,
        f"GRADIO_SERVER_PORT is {port}, which is taken or not allowed; set another one.\n",
    )


@pytest.mark.slow
def test_a_short_owner_key_is_one_sentence_and_exit_status_2(tmp_path: Path) -> None:
    result = started(tmp_path, PIPELINE_OWNER_KEY="opensesame\n")
    assert (result.returncode, result.stdout) == (2, "")
    [sentence] = result.stderr.splitlines()
    assert sentence.startswith("The length of PIPELINE_OWNER_KEY is 10; set 16 characters or more")
    assert "opensesame" not in sentence
    command = sentence.partition("prints: ")[2].removesuffix(".").replace("python", shlex.quote(sys.executable), 1)
    key = subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout.strip()
    assert Settings(home=tmp_path, owner_key=key).owner_key == key


def started(home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python app.py`, which must end by itself."""
    full = {**os.environ, "PIPELINE_HOME": str(home), **environment}
    command = [sys.executable, "app.py"]
    return subprocess.run(command, cwd=ROOT, env=full, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("stream", ["", "/studio/changes", "/gradio_api/heartbeat/abcdefghij"], ids=str)
def test_ctrl_c_ends_the_page_with_a_sentence(tmp_path: Path, stream: str) -> None:
    """Also while a browser tab is open, which has a stream that does not end."""
    variables = {"PIPELINE_HOME": str(tmp_path / "home"), "PIP_NO_INDEX": "1", "GRADIO_SERVER_NAME": "127.0.0.1"}
    page = subprocess.Popen(
        hearing(sys.executable, "app.py"),
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert page.stdout is not None
        url = page.stdout.readline().removeprefix("The page is at ").strip()
        assert url.startswith("http://127.0.0.1:")
        with contextlib.ExitStack() as opened:
            if stream:
                opened.enter_context(urllib.request.urlopen(url.removesuffix("/") + stream, timeout=60))
            page.send_signal(signal.SIGINT)
            out, error = page.communicate(timeout=300)
    finally:
        page.kill()
    assert (page.returncode, out, error) == (0, "The page has ended. Jobs that run go on without it.\n", "")


@pytest.mark.slow
def test_ctrl_c_while_the_page_starts_leaves_no_traceback(tmp_path: Path) -> None:
    variables = {"PIPELINE_HOME": str(tmp_path / "home"), "PIP_NO_INDEX": "1", "GRADIO_SERVER_NAME": "127.0.0.1"}
    page = subprocess.Popen(
        # It writes a line for each import, so that the test can wait for one.
        hearing(sys.executable, "-X", "importtime", "app.py"),
        cwd=ROOT,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert page.stderr is not None
        assert any("gradio_import" in line for line in page.stderr)  # Gradio itself is next
        page.send_signal(signal.SIGINT)
        out, error = page.communicate(timeout=60)
    finally:
        page.kill()
    assert (page.returncode, out) == (-signal.SIGINT, "")
    assert "Traceback" not in error


@pytest.mark.slow
def test_an_idle_page_seldom_wakes_up(tmp_path: Path) -> None:
    """Gradio's queue, as it is, wakes each millisecond: more than 500 times a second even on a busy machine."""
    page = Page(tmp_path / "home")
    page.start()
    try:
        process = psutil.Process(page.pid)

        def wakes_in_a_second() -> int:
            before = process.num_ctx_switches().voluntary
            time.sleep(1)
            return process.num_ctx_switches().voluntary - before

        eventually(lambda: wakes_in_a_second() < 250, "an idle second")
    finally:
        page.kill()
