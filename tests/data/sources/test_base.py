from __future__ import annotations

import polars as pl

from pipeline.data.sources.base import COLUMNS, BadRow, BatchBuilder, decoded
from tests.data.examples import batch, row


def test_a_batch_has_the_courses_columns_all_strings_and_counts_bytes_not_characters() -> None:
    builder = BatchBuilder()
    builder.add(("owner/name", "a.py", "1", "2", "é", "mit"))
    made = builder.batch()
    assert made.rows.schema == dict.fromkeys(COLUMNS, pl.String)
    assert made.num_bytes == 2


def test_bad_rows_and_skipped_files_travel_with_the_batch() -> None:
    builder = BatchBuilder()
    builder.add(BadRow("not JSON", "a.jsonl:3"))
    builder.skip()
    made = builder.batch()
    assert (made.bad, made.num_skipped, len(made.rows)) == ((BadRow("not JSON", "a.jsonl:3"),), 1, 0)


def test_the_head_of_a_batch_counts_only_its_own_bytes() -> None:
    whole = batch([row(number) for number in range(5)])
    head = whole.head(2)
    assert len(head.rows) == 2
    assert head.num_bytes == sum(len(row(number)["content"]) for number in range(2))
    assert whole.head(5) is whole


def test_text_that_is_not_utf8_is_bad_at_its_line() -> None:
    assert decoded("é\n".encode(), "a.py") == "é\n"
    assert decoded(b"x = 1\ny = 2\nz = '\xff'\n", "a.py") == BadRow("not UTF-8", "a.py:3")
