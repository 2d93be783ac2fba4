from __future__ import annotations

import polars as pl
import pytest

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


@pytest.mark.parametrize(
    ("encoding", "head"),
    [
        ("latin-1", "# -*- coding: latin-1 -*-\n"),
        ("latin-1", "#!/usr/bin/python\n# vim: set fileencoding=iso-8859-1 :\n"),
        ("latin-1", "\r\n# coding=L1\r\n"),
        ("cp1252", "# coding: cp1252\n"),
        ("gbk", "\t# encoding: GBK\n"),
        ("shift_jis", "# coding: shift-jis\n"),
        ("utf-8-sig", ""),
        ("utf-16", ""),
        ("utf-32", ""),
        ("utf-8", "# coding: ascii\n"),
        ("utf-8", "# coding: no-such-encoding\n"),
        ("utf-8", "# coding: rot13\n"),
        ("utf-8", "# coding: idna\n"),
        ("utf-8", "x = 1\n# coding: latin-1\n"),
    ],
)
def test_the_encoding_is_the_one_that_the_file_names(encoding: str, head: str) -> None:
    text = head + {"gbk": "\u4f60", "shift_jis": "\u30c6"}.get(encoding, "caf\xe9") + "\n"
    assert decoded(text.encode(encoding), "a.py") == text


@pytest.mark.parametrize(
    ("data", "bad"),
    [
        (b"# coding: gbk\nx = 1\n'\xff\xff'\n", BadRow("not in the encoding that it names", "a.py:3")),
        (b"\xef\xbb\xbfx\n\xff\n", BadRow("not UTF-8", "a.py:2")),
        (b"\xff\xfex", BadRow("not in the encoding that it names", "a.py:1")),
    ],
)
def test_text_that_is_not_in_the_encoding_that_it_names_is_bad(data: bytes, bad: BadRow) -> None:
    assert decoded(data, "a.py") == bad
