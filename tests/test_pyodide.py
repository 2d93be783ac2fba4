"""The interpreter for the tests is the npm package's file and no other, and is fetched once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.core.settings import PYODIDE_VERSION
from tests import pyodide
from tests.page import free_port


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pyodide, "FOLDER", tmp_path / "cache" / "pyodide")
    return tmp_path / "cache" / "pyodide"


@pytest.fixture
def wrong_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A registry on loopback that gives another file. Yields the paths that it is asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"another file")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_address[1]}")
    yield asked
    server.shutdown()
    server.server_close()


def test_the_tests_run_the_version_that_the_page_names() -> None:
    assert pyodide.VERSION == PYODIDE_VERSION


def test_another_file_is_refused_and_nothing_is_kept(
    wrong_registry: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="is not the file with the sha512"):
        pyodide.install()
    assert wrong_registry == [f"/pyodide/-/pyodide-{PYODIDE_VERSION}.tgz"]
    assert pyodide.find() is None and not folder.parent.exists()
    assert pyodide.main() == 0
    assert "python tests/pyodide.py" in capsys.readouterr().out


def test_a_registry_that_is_away_ends_no_suite(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{free_port()}/")
    assert pyodide.main() == 0
    assert "was not fetched" in capsys.readouterr().out
    assert pyodide.find() is None


def test_what_is_there_is_not_fetched_again(folder: Path, wrong_registry: list[str]) -> None:
    folder.mkdir(parents=True)
    assert pyodide.main() == 0
    assert wrong_registry == []
