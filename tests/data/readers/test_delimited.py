from __future__ import annotations

import csv
import io
import random

import pytest

from pipeline.data.readers import delimited_records
from pipeline.data.readers.delimited import delimited_blocks
from pipeline.data.readers.frames import text_column
from pipeline.data.sources.base import ESCAPED, LONGEST_TEXT, BadRow

MB = 2**20


def read(data: bytes, delimiter: bytes = b",", asked: str | None = None) -> tuple[list[str], list[BadRow]]:
    read_from = delimited_blocks(
        io.BytesIO(data), "f", len(data), lambda schema: text_column(schema, asked), delimiter=delimiter
    )
    made = [block.read() for block in read_from]
    return [text for one in made for text in one.rows["content"]], [bad for one in made for bad in one.bad]


@pytest.mark.parametrize("seed", range(200))
def test_records_are_those_of_pythons_csv(seed: int) -> None:
    """Except after an unclosed quote, where csv reads on to the end of the file, and for a lone \\r."""
    letters = random.Random(seed)
    data = "a,b\n" + "".join(letters.choices(['"', '""', ",", "\n", "\r\n", "x", "é", '"y"', " "], k=60)) + '",\n"\n'
    rows = list(csv.reader(io.StringIO(data, newline=""), strict=False))
    texts, bad = read(data.encode(), asked="a")
    if any(row.reason == "quote is not closed" for row in bad):
        return
    rows = [row for row in rows[1:] if row]
    assert texts == [row[0] for row in rows if len(row) == 2 and row[0]]
    assert len(bad) == sum(len(row) != 2 or not row[0] for row in rows)


def test_the_header_names_the_columns_and_the_text_is_chosen_among_them() -> None:
    data = b"path,content,n\r\na.py,import x,7\r\n"
    assert read(data) == (["import x"], [])
    assert read(data, asked="path") == (["a.py"], [])
    assert read(b"body\nimport x\n") == (["import x"], []), "the only column"
    assert read(b"path,n\na.py,7\n") == ([], [BadRow("no text column", "f")])
    assert read(data, asked="body") == ([], [BadRow("no text column", "f")])
    assert read(b"a\tcontent\n1\tx, y\n", b"\t") == (["x, y"], [])


@pytest.mark.parametrize("header", [b"path;content", b"path|content", b"path\tcontent", b'"path";"content"'])
def test_a_file_with_another_delimiter_is_refused(header: bytes) -> None:
    other = "fields are not separated by commas (.csv) or tabs (.tsv)"
    assert read(header + b"\na.py;import x\n") == ([], [BadRow(other, "f:1")])
    assert read(b"path,content\na.py,import x\n", b"\t") == ([], [BadRow(other, "f:1")])


@pytest.mark.parametrize("first", [b"import x", b'"x = 1\nprint(x)"', b"print(x)", b"pass", b'""'])
def test_a_single_column_without_a_header_is_refused(first: bytes) -> None:
    assert read(first + b"\nimport y\n") == ([], [BadRow("first line does not name the columns", "f:1")])


def test_a_single_column_is_read_under_any_name_that_is_requested_or_is_one() -> None:
    assert read(b"Source Code\nimport x\n") == (["import x"], [])
    assert read(b"code;python\nimport x\n", asked="code;python") == (["import x"], [])


def test_a_record_with_quotes_escaped_by_backslashes_is_a_bad_row() -> None:
    escaped = 'quote inside a text is written \\" instead of ""'
    data = rb"""n,content
1,"print(\"a\")"
2,"print(\"a\", 1)"
3,"print(\"\")"
4,"print(""\"", 1)"
5,"end \"
"""
    assert read(data) == (
        ['print("\\", 1)', "end \\"],
        [BadRow(escaped, "f:2"), BadRow(escaped, "f:3"), BadRow(escaped, "f:4")],
    )


def test_a_bad_record_loses_only_itself_and_reports_its_line() -> None:
    data = b'n,content\n1,"two\nlines"\n2\n3,x,y\n\n4,\n5,caf\xe9\n6,"it ""is"""\n'
    assert read(data) == (
        ["two\nlines", 'it "is"'],
        [
            BadRow("more or fewer fields than the header", "f:4"),
            BadRow("more or fewer fields than the header", "f:5"),
            BadRow("text is null", "f:7"),
            BadRow("not UTF-8", "f:8"),
        ],
    )


def test_an_unclosed_quote_loses_only_its_own_record() -> None:
    data = b'n,content\n1,a\n2,"b\n3,c\n4,d\n'
    assert read(data) == (["a", "c", "d"], [BadRow("quote is not closed", "f:3")])
    assert read(b'n,content\n1,"a') == ([], [BadRow("quote is not closed", "f:2")])
    assert read(b'"n,content\n1,a\n') == ([], [BadRow("quote is not closed", "f:1")])


def test_an_unclosed_quote_before_much_text_loses_only_its_own_record() -> None:
    lines = b"3," + b"c" * 100 + b"\n"
    texts, bad = read(b'n,content\n2,"b\n' + lines * 200_000)
    assert (len(texts), set(texts)) == (200_000, {"c" * 100})
    assert bad == [BadRow("longer than 16 MB", "f:2")]


@pytest.mark.parametrize(
    "content",
    ['say "hi"', 'print("a", 1)', 'x = "', 'x = "\nfoo"', '"', 'a "\nb" c\n"d', '\\ and "'],
)
def test_a_record_with_quotes_escaped_by_backslashes_is_one_bad_row(content: str) -> None:
    escaped = '"' + content.replace("\\", "\\\\").replace('"', '\\"') + '"'
    for line in (escaped, escaped + ",7", "7," + escaped, f"{escaped},{escaped}"):
        header, good = ("content", "ok") if line == escaped else ("content,n", "ok,1")
        for end in ("\n", "\r\n"):
            data = f"{header}{end}{good}{end}{line}{end}{good}{end}{line}{end}{line}".encode()
            texts, bad = read(data)
            assert texts == ["ok", "ok"], line
            height = 1 + line.count("\n")
            assert bad == [BadRow(ESCAPED, f"f:{n}") for n in (3, 4 + height, 4 + 2 * height)], line


def test_an_escaped_record_is_read_as_one_across_chunks() -> None:
    line = b'"x = \\"' + b"y\n" * 2 * MB + b'\\""\n'
    assert read(b"content\na\n" + line + b"b\n") == (["a", "b"], [BadRow(ESCAPED, "f:3")])


def test_texts_that_end_in_a_backslash_or_have_a_doubled_quote_after_one_are_read() -> None:
    texts = ["C:\\", 'say \\"hi\\"', "a\\", '\\"', 'x = "\\""', "plain", "b\\"]
    target = io.StringIO()
    csv.writer(target, quoting=csv.QUOTE_ALL).writerows([["content", "n"], *([text, "1"] for text in texts)])
    assert read(target.getvalue().encode()) == (texts, [])


def test_a_quote_behind_a_quote_and_a_backslash_loses_only_its_line() -> None:
    texts, bad = read(b"n,content\n" + b'1,"C:\\"foo\n2,"b"\n3,c\n' * 1_000)
    assert (len(texts), set(texts)) == (2_000, {"b", "c"})
    assert {row.reason for row in bad} == {ESCAPED} and len(bad) == 1_000


def test_a_line_or_field_that_is_too_long_loses_only_itself() -> None:
    long, field = b"x" * (LONGEST_TEXT + 1), b"y" * LONGEST_TEXT
    assert read(b"content\na\n" + long + b"\nb\n" + 3 * long + b"\nc\n") == (
        ["a", "b", "c"],
        [BadRow("longer than 16 MB", "f:3"), BadRow("longer than 16 MB", "f:5")],
    )
    assert [len(text) for text in read(b"content\na\n" + field + b"\nb\n")[0]] == [1, LONGEST_TEXT, 1], "control"
    texts, bad = read(b'n,content\n1,"' + field[:-100] + b"\n" + 3 * long + b'"\n2,b\n')
    assert (texts, [row.where for row in bad]) == (["b"], ["f:2", "f:3"])


def test_a_million_fields_are_one_bad_record() -> None:
    wide = b"1," * 5 * MB
    assert read(b"n,content\n" + wide + b"\n2,b\n" + b'"1",' * MB + b"\n3,c\n")[0] == ["b", "c"]
    assert read(wide + b"\n1,b\n") == ([], [BadRow("more or fewer fields than the header", "f:1")])


def test_a_file_of_unfinished_records_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line closes a quote and opens one: searching for the end of each record would take days."""
    monkeypatch.setattr(delimited_records, "FREE_BYTES", MB)
    texts, bad = read(b"content\n" + b'x","a\n' * 1_000_000)
    assert texts == []
    assert bad[-1].reason == "file is damaged"
    assert len(bad) < 100


def test_invalid_utf8_is_detected_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited_records, "CHUNK", 3)
    assert read("content\néééé\n".encode() + b"caf\xe9\n" + 'x\n"é"\n'.encode()) == (
        ["éééé", "x", "é"],
        [BadRow("not UTF-8", "f:3")],
    )
    assert read(b"content\nx\n\xc3") == (["x"], [BadRow("not UTF-8", "f:3")])


def test_a_byte_order_mark_is_not_part_of_the_first_name() -> None:
    assert read(b"\xef\xbb\xbfcontent\nx\n") == (["x"], [])


def test_an_empty_file_and_a_file_with_only_a_header_have_no_rows() -> None:
    assert read(b"") == read(b"\n\n") == read(b"content") == read(b"content\n\n") == ([], [])
