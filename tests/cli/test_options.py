from __future__ import annotations

import io
from pathlib import Path

import pytest

from pipeline.cli.options import text_of
from pipeline.core.errors import InputError


def test_an_argument_that_names_a_file_is_its_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some.py").write_text("import pandas\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert text_of("some.py") == text_of(str(tmp_path / "some.py")) == "import pandas\n"
    assert text_of("import pandas\n") == "import pandas\n"
    assert text_of("x" * 10_000) == "x" * 10_000
    assert text_of("zero\0byte") == "zero\0byte"
    assert text_of(str(tmp_path)) == str(tmp_path), "a folder is no text"
    monkeypatch.setattr("sys.stdin", io.StringIO("from standard input"))
    assert text_of("-") == "from standard input"


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff")
    with pytest.raises(InputError, match=r"picture\.png cannot be read as text"):
        text_of(str(tmp_path / "picture.png"))
