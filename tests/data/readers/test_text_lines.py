from __future__ import annotations

import io
from pathlib import Path

import pytest

from pipeline.data.readers.frames import text_column
from pipeline.data.readers.text_lines import text_blocks
from pipeline.data.sources.base import LONGEST_TEXT, BadRow


def read(data: bytes) -> tuple[list[str], list[BadRow]]:
    made = [block.read() for block in text_blocks(io.BytesIO(data), "f", len(data), text_column)]
    return [text for one in made for text in one.rows["content"]], [bad for one in made for bad in one.bad]


@pytest.mark.parametrize(
    "data", [b"", b"a", b"a\n", b"a\nb", b"a\r\nb\r\n", b"a\rb\r", b"\n\n", b"a\n\n\r\nb\r", b"\r"]
)
def test_lines_are_those_of_python_and_of_datasets(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with (tmp_path / "a.txt").open(encoding="utf-8") as opened:
        assert read(data) == ([line.rstrip("\n") for line in opened], [])


def test_a_line_end_across_two_chunks_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.data.readers.decompress.CHUNK", 3)
    assert read(b"ab\r\ncd\r\n\r\ne\r") == (["ab", "cd", "", "e"], [])


def test_a_line_that_is_too_long_or_not_utf8_loses_only_itself() -> None:
    long = b"x" * (LONGEST_TEXT + 1)
    texts, bad = read(b"a\n" + long + b"\nb\ncaf\xe9\nc\n" + 3 * long + b"\nd")
    assert texts == ["a", "b", "c", "d"]
    assert bad == [
        BadRow("longer than 16 MB", "f:2"),
        BadRow("not UTF-8", "f:4"),
        BadRow("longer than 16 MB", "f:6"),
    ]
    assert read(b"x" * LONGEST_TEXT + b"\n")[1] == [], "control"


def test_a_byte_order_mark_is_not_text() -> None:
    assert read(b"\xef\xbb\xbfa\n\xef\xbb\xbfb\n") == (["a", "\ufeffb"], [])


def test_a_text_file_has_no_other_column() -> None:
    (block,) = text_blocks(io.BytesIO(b"a\n"), "f", 2, lambda schema: text_column(schema, "body"))
    assert block.read().bad == (BadRow("no text column", "f"),)
