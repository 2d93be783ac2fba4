from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from pipeline.data.readers import json_document
from pipeline.data.readers.frames import text_column
from pipeline.data.readers.jsonl import blocks
from pipeline.data.sources.base import LONGEST_TEXT, BadRow, Row
from tests.data.examples import json_lines, row
from tests.data.sources.peak import LOOK, peak_megabytes


def read(data: bytes) -> tuple[list[Row], list[BadRow]]:
    batches = [block.read() for block in blocks(io.BytesIO(data), "f", len(data), text_column, may_be_document=True)]
    return [row for batch in batches for row in batch.rows.rows()], [bad for batch in batches for bad in batch.bad]


@pytest.mark.parametrize("text", [json.dumps([row(1), row(2)]), json.dumps([row(1), row(2)], indent=1)])
def test_a_document_that_is_one_array_gives_its_items(text: str) -> None:
    assert [item[1] for item in read(text.encode())[0]] == ["src/file1.py", "src/file2.py"]


def test_a_document_that_is_one_object_over_many_lines_is_one_row() -> None:
    good, bad = read(json.dumps(row(1), indent=2).encode())
    assert (len(good), bad) == (1, [])


def test_a_bad_item_of_an_array_is_counted_by_its_number() -> None:
    assert read(b'[{"content": "x"}, {"content": 1}]')[1] == [BadRow("text is not a string", "f:2")]


@pytest.mark.parametrize("first", [b"[oops", b"{", b"[1, 2]"])
def test_a_first_line_that_looks_like_a_document_loses_only_itself(first: bytes) -> None:
    good, bad = read(first + b"\n" + json_lines(row(number) for number in range(99)))
    assert (len(good), [item.where for item in bad]) == (99, ["f:1"])


def test_brackets_inside_strings_are_text() -> None:
    texts = ["],[", "}{", '\\"', "\\\\", '",', "é\n", ""]
    good, bad = read(json.dumps([{"content": text, "license": ["[", {"]": ","}]} for text in texts]).encode())
    assert [item[4] for item in good] == texts
    assert not bad


@pytest.mark.parametrize(
    "text",
    ["[", "[1", "[1,]", "[,1]", "[1}", "[1]]", "[1] 2", "[{]}", '["a]', "[1 2]", "[tru]", "[" * 100_000, '["\\x"]'],
)
def test_a_file_that_is_not_one_document_is_read_by_lines(text: str) -> None:
    good, bad = read(text.encode() + b"\n" + json_lines([row(1)]))
    assert (len(good), [item.where for item in bad]) == (1, ["f:1"])


def test_items_are_numbered_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_document, "ITEMS_TOGETHER", 7)
    items = [row(number) if number % 3 else {} for number in range(1, 101)]
    good, bad = read(json.dumps(items).encode())
    assert [item[1] for item in good] == [f"src/file{number}.py" for number in range(1, 101) if number % 3]
    assert [item.where for item in bad] == [f"f:{number}" for number in range(3, 101, 3)]


def test_an_item_longer_than_a_line_may_be_is_too_long() -> None:
    half = "x" * (LONGEST_TEXT // 2)  # no single line is too long
    items = [row(1), row(2, content=half, path=half), row(3)]
    good, bad = read(json.dumps(items, indent=1).encode())
    assert len(good) == 2
    assert bad == [BadRow("longer than 16 MB", "f:2")]
    assert read(json.dumps(items[1], indent=1).encode()) == ([], [BadRow("longer than 16 MB", "f:1")])


@pytest.mark.slow
def test_many_small_items_take_memory_only_for_their_text(tmp_path: Path) -> None:
    """Parsing 4 MB of them at once would take 400 MB."""
    (tmp_path / "few.json").write_text("[{}]")
    (tmp_path / "many.json").write_text(f"[{'{},' * (4 * 2**20 // 3)}{{}}]")
    assert peak_megabytes(LOOK, tmp_path / "many.json") < peak_megabytes(LOOK, tmp_path / "few.json") + 120


def test_a_consumer_can_stop_while_a_long_document_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty blocks are yielded before the first row is known to be one."""
    monkeypatch.setattr(json_document, "ITEMS_TOGETHER", 10)
    data = json.dumps([row(number) for number in range(100)]).encode()
    found = list(blocks(io.BytesIO(data), "f", len(data), text_column, may_be_document=True))
    first = next(number for number, block in enumerate(found) if len(block.read().rows))
    assert first >= 100 // 10
    assert sum(len(block.read().rows) for block in found) == 100
