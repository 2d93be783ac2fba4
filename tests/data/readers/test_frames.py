from __future__ import annotations

import polars as pl
import pyarrow as pa
import pytest

from pipeline.data.readers.frames import batch_of, text_column
from pipeline.data.sources.base import COLUMNS, BadRow


def test_the_text_column_is_content_before_code_before_text() -> None:
    def chosen(*names: str, asked: str | None = None) -> str | None:
        return text_column({name: pl.String() for name in names}, asked)

    assert chosen("code", "text", "content") == "content"
    assert chosen("code", "text") == chosen("text", "code") == "code", "text is often prose"
    assert chosen("code", "x") == "code"
    assert chosen("x") == "x", "the only text column"
    assert chosen("x", "y") is None
    assert chosen("x", "content", asked="x") == "x"
    assert chosen("content", asked="x") is None
    assert text_column({"x": pl.Int64()}) is None


@pytest.mark.parametrize("name", ["path", "repo_name", "repo", "license", "max_stars_repo_path", "size"])
def test_a_path_a_repository_or_a_licence_is_never_the_text(name: str) -> None:
    assert text_column({name: pl.String(), "n": pl.Int64()}) is None
    assert text_column({name: pl.String(), "anything": pl.String()}) is None, "as before: it could be prose"
    assert text_column({name: pl.Int64(), "anything": pl.String()}) == "anything"


def test_missing_columns_are_empty_and_others_become_text() -> None:
    frame = pl.DataFrame({"text": ["é"], "copies": [3], "license": [["mit"]], "path": [None], "more": [1]})
    made = batch_of(frame, "text", place="f", first=1)
    assert made.rows.schema == dict.fromkeys(COLUMNS, pl.String)
    assert made.rows.rows() == [("", "", "3", "", "é", "mit")]
    assert (made.num_bytes, made.bad) == (2, ())


def test_null_texts_are_bad_by_row_number() -> None:
    frame = pl.DataFrame({"content": ["a", None, "b"], "path": ["1", "2", "3"]})
    made = batch_of(frame, "content", place="f", first=257)
    assert list(made.rows["path"]) == ["1", "3"]
    assert made.bad == (BadRow("text is null", "f:258"),)


def test_a_column_of_numbers_is_all_bad() -> None:
    made = batch_of(pl.DataFrame({"content": [1, None]}), "content", place="f", first=1)
    assert [bad.reason for bad in made.bad] == ["text is not a string", "text is null"]
    assert len(made.rows) == 0


def test_bytes_are_read_as_utf8_row_by_row() -> None:
    frame = pl.DataFrame({"content": [b"ok", b"\xff", None, "é".encode()]})
    made = batch_of(frame, "content", place="f", first=1)
    assert list(made.rows["content"]) == ["ok", "é"]
    assert made.bad == (BadRow("not UTF-8", "f:2"), BadRow("text is null", "f:3"))


def test_a_column_of_mixed_json_values_keeps_its_strings() -> None:
    values = pa.array(['"import pandas"', "null", "7", None], pa.json_())
    made = batch_of(pl.DataFrame(pa.table({"content": values})), "content", place="f", first=1)
    assert list(made.rows["content"]) == ["import pandas"]
    assert [bad.reason for bad in made.bad] == ["text is null", "text is not a string", "text is null"]
