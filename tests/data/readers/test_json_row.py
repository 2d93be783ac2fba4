from __future__ import annotations

from datetime import date

import pytest

from pipeline.data.readers.json_row import as_text, loads, row_of
from pipeline.data.sources.base import TEXT_COLUMNS, BadRow


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("a", "a"),
        ("\ud800", "?"),
        (3, "3"),
        (1.0, "1"),
        (1e20, "100000000000000000000"),
        (["é", "b"], "é, b"),
        (["é", 1], '["é", 1]'),
        ([], ""),
        (b"\xff", "\ufffd"),
        (date(2020, 1, 2), "2020-01-02"),
    ],
)
def test_other_columns_become_text(value: object, text: str) -> None:
    assert as_text(value) == text


def test_of_duplicate_keys_the_first_counts() -> None:
    assert loads(b'\xef\xbb\xbf{"a": 1, "a": 2, "b": 3}') == {"a": 1, "b": 3}


def test_the_text_is_under_the_first_name_or_the_row_is_bad_with_its_location() -> None:
    assert row_of({"code": "x", "path": "p"}, "f:1", TEXT_COLUMNS) == ("", "p", "", "", "x", "")
    assert row_of(7, "f:1", TEXT_COLUMNS) == BadRow("not a JSON object", "f:1")
    assert row_of({}, "f:1", TEXT_COLUMNS) == BadRow("no text column", "f:1")
    assert row_of({"content": None, "code": "x"}, "f:1", TEXT_COLUMNS) == BadRow("text is null", "f:1")
