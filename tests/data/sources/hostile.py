"""Malformed and malicious files: what each contains, and the expected result of a scan, counted by hand.

`cases()` is the table. Numbers that depend on how much of a file can be decompressed come from another decompressor.
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as arrow
import pyarrow.parquet as arrow_parquet
import zstandard

from pipeline.data.sources.base import (
    BOMB,
    DAMAGED,
    ESCAPED,
    FIELDS,
    LONGEST_TEXT,
    NO_HEADER,
    NO_TEXT,
    NOT_A_STRING,
    NOT_AN_OBJECT,
    NOT_AS_NAMED,
    NOT_JSON,
    NOT_UTF8,
    NULL_TEXT,
    OTHER_DELIMITER,
    TOO_LONG,
    TRUNCATED,
    UNCLOSED,
    UNREADABLE,
)
from tests.data.examples import json_lines, row

MB = 2**20
FIRST, LAST = json_lines([row(1)]), json_lines([row(2)])
MANY = json_lines(row(number) for number in range(3_000))
DEEP = 100_000


@dataclass(frozen=True)
class Case:
    """One file. `make` returns its bytes, or creates something that is not a regular file at the path it is given."""

    name: str
    make: Callable[[], bytes] | Callable[[Path], None]
    good: int
    bad: dict[str, str] = field(default_factory=dict)
    """{location after the file's name: reason}; `` is the file itself, `:3` its third line, `*` any line."""
    is_file: bool = True

    def write(self, folder: Path) -> Path:
        path = folder / self.name
        if self.is_file:
            path.write_bytes(self.make())  # type: ignore[call-arg, arg-type]
        else:
            self.make(path)  # type: ignore[call-arg]
        return path


def cases() -> list[Case]:
    found = [
        *lines(),
        *texts(),
        *shapes(),
        *packed(),
        *long(),
        *python(),
        *tables(),
        *long_tables(),
        *delimited(),
        *texts_of_lines(),
        *no_files(),
    ]
    assert len({case.name for case in found}) == len(found)
    return found


def between(name: str, line: bytes, reason: str | None) -> Case:
    """A .jsonl with `line` between two good ones; it is bad for `reason`, or good if that is None."""
    data = FIRST + line + b"\n" + LAST
    return Case(f"{name}.jsonl", lambda: data, 2 if reason else 3, {":2": reason} if reason else {})


def lines() -> Iterable[Case]:
    """Malformed JSON, and JSON that only seems malformed."""
    nested = b'{"a":' * DEEP + b"1" + b"}" * DEEP
    for name, line in {
        "no-end": b'{"content": "x"',
        "no-quote": b'{"content": "x}',
        "one-brace": b"{",
        "single-quotes": b"{'content': 'x'}",
        "comma-behind": b'{"content": "x",}',
        "comma-missing": b'{"content": "x" "path": "y"}',
        "colon-missing": b'{"content" "x"}',
        "name-bare": b'{content: "x"}',
        "comment": b'{"content": "x"} // why',
        "two-objects": b'{"content": "x"} {"content": "y"}',
        "word-behind": b'{"content": "x"} x',
        "brace-behind": b'{"content": "x"}}',
        "word": b"undefined",
        "python-word": b'{"content": "x", "size": True}',
        "leading-zero": b'{"content": "x", "size": 01}',
        "plus": b'{"content": "x", "size": +1}',
        "hexadecimal": b'{"content": "x", "size": 0x1}',
        "point-last": b'{"content": "x", "size": 1.}',
        "escape-unknown": b'{"content": "\\x41"}',
        "escape-short": b'{"content": "\\u12"}',
        "tab-raw": b'{"content": "a\tb"}',
        "control-raw": b'{"content": "a\x01b"}',
        "return-raw": b'{"content": "a\rb"}',
        "nul-raw": b'{"content": "a\0b"}',
        "nul-behind": b'{"content": "x"}\0',
        "space-of-unicode": b'\xc2\xa0{"content": "x"}',
        "form-feed-before-value": b'{"content":\x0c"x"}',
        "deep-array": b"[" * DEEP,
        "deep-beside-text": b'{"content": "x", "y": ' + b"[" * DEEP + b"]" * DEEP + b"}",
        "deep-objects": b'{"content": "x", "y": ' + nested + b"}",
        "integer-of-5000-digits": b'{"content": "x", "size": ' + b"9" * 5_000 + b"}",
    }.items():
        yield between(name, line, NOT_JSON)
    yield Case(
        "newline-raw.jsonl", lambda: FIRST + b'{"content": "a\nb"}\n' + LAST, 2, {":2": NOT_JSON, ":3": NOT_JSON}
    )
    for name, line in {
        "bare-number": b"7",
        "bare-string": b'"content"',
        "bare-null": b"null",
        "array-line": b'[{"content": "x"}]',
        "infinity-line": b"Infinity",
    }.items():
        yield between(name, line, NOT_AN_OBJECT)
    for name, line in {
        "integer-of-400-digits": b'{"content": "x", "size": ' + b"9" * 400 + b"}",
        "float-beyond-all": b'{"content": "x", "size": 1e999}',
        "nan-beside-text": b'{"content": "x", "size": NaN, "copies": -Infinity}',
        "bom-in-the-middle": b'\xef\xbb\xbf{"content": "x"}',
        "space-around": b' \t\r{ "content" :\r"x" } \t',
        "name-escaped": b'{"c\\u006fntent": "x"}',
        "text-twice": b'{"content": "x", "content": 7}',
    }.items():
        yield between(name, line, None)


def texts() -> Iterable[Case]:
    """Values of the text column that are not text, or not UTF-8."""
    for name, value in {"null": b"null", "twice-null-first": b'null, "content": "x"'}.items():
        yield between(f"text-{name}", b'{"content": ' + value + b"}", NULL_TEXT)
    for name, value in {
        "integer": b"7",
        "huge": b"9" * 400,
        "float": b"-1.5e3",
        "true": b"true",
        "list": b'["x"]',
        "object": b'{"content": "x"}',
        "nan": b"NaN",
        "infinity": b"-Infinity",
    }.items():
        yield between(f"text-{name}", b'{"content": ' + value + b"}", NOT_A_STRING)
    yield between("text-missing", b'{"path": "a.py"}', NO_TEXT)
    yield between("text-nested", b'{"path": {"content": "x"}}', NO_TEXT)
    yield between("text-in-capitals", b'{"Content": "x"}', NO_TEXT)
    for name, value in {
        "latin-1": b"caf\xe9",
        "ff": b"\xff",
        "overlong": b"\xc0\x80",
        "cut-off": b"\xf0\x9f\x98",
        "surrogate-bytes": b"\xed\xa0\x80",
        "too-large": b"\xf4\x90\x80\x80",
        "surrogate-high": b"\\ud800",
        "surrogate-low": b"\\udfff",
        "surrogates-reversed": b"\\udc00\\ud800",
        "surrogate-high-twice": b"\\ud83d\\ud83d\\ude00",
        "surrogate-before-letter": b"\\ud83dx",
        "surrogate-before-escape": b"\\uD83D\\u0041",
        "surrogate-before-ffff": b"\\ud800\\uffff",
    }.items():
        yield between(f"utf8-{name}", b'{"content": "' + value + b'"}', NOT_UTF8)
    yield between("utf8-in-path", b'{"content": "x", "path": "\xe9"}', NOT_UTF8)
    yield between("utf8-in-other", b'{"content": "x", "y": "\xe9"}', NOT_UTF8)
    yield between("surrogate-in-path", b'{"content": "x", "path": "\\ud800"}', None)
    yield between("surrogate-in-name", b'{"content": "x", "\\ud800": 1}', None)
    yield between("nul-escaped", b'{"content": "a\\u0000b"}', None)
    yield between("pair-whole", b'{"content": "\\ud83d\\ude00"}', None)


def shapes() -> Iterable[Case]:
    """Files with an unusual overall structure."""
    pretty = json.dumps([row(1), row(2)], indent=1).encode()
    yield Case("empty.json", lambda: b"", 0)
    yield Case("sevens.jsonl", lambda: b"7\n" * 150_000, 0, {f":{n}": NOT_AN_OBJECT for n in range(1, 150_001)})
    yield Case("only-newlines.jsonl", lambda: b"\n" * 100_000, 0)
    yield Case("only-spaces.json", lambda: b" \r\n\t\n" * 1_000, 0)
    yield Case("bom.jsonl", lambda: b"\xef\xbb\xbf" + FIRST + LAST, 2)
    yield Case("bom-array.json", lambda: b"\xef\xbb\xbf" + pretty, 2)
    yield Case("only-bom.jsonl", lambda: b"\xef\xbb\xbf", 0, {":1": NOT_JSON})
    yield Case("windows.jsonl", lambda: (FIRST + b"\n" + LAST).replace(b"\n", b"\r\n"), 2)
    yield Case("old-mac.jsonl", lambda: FIRST.replace(b"\n", b"\r") + LAST, 0, {":1": NOT_JSON})
    yield Case("no-newline-at-end.jsonl", lambda: FIRST + LAST.rstrip(), 2)
    yield Case("zeros.jsonl", lambda: FIRST + bytes(10_000), 1, {":2": NOT_JSON})
    yield Case("array.json", lambda: json.dumps([row(1), row(2)]).encode(), 2)
    yield Case("array-pretty.json", lambda: pretty, 2)
    yield Case("array-empty.json", lambda: b"[]", 0)
    yield Case("object-pretty.json", lambda: json.dumps(row(1), indent=2).encode(), 1)
    yield Case(
        "array-bad-items.json",
        lambda: json.dumps([row(1), row(2, content=7), 7, row(3, content=None), {}, row(4)]).encode(),
        2,
        {":2": NOT_A_STRING, ":3": NOT_AN_OBJECT, ":4": NULL_TEXT, ":5": NO_TEXT},
    )
    yield Case("array-cut.json", lambda: b"[\n" + FIRST.rstrip() + b",\n" + LAST, 1, {":1": NOT_JSON, ":2": NOT_JSON})
    yield Case("array-of-one-line.jsonl", lambda: b'[{"content": "x"}]\n' + LAST, 1, {":1": NOT_AN_OBJECT})
    yield Case("array-deep.json", lambda: b"[\n" + b"[" * DEEP + b"\n" + LAST, 1, {":1": NOT_JSON, ":2": NOT_JSON})
    yield Case("mixed-names.jsonl", lambda: b'{"text": "a"}\n{"code": "b", "copies": 3}\n{"content": "c"}\n', 3)
    utf_16 = (FIRST + LAST).decode().encode("utf-16")
    yield Case("utf-16.jsonl", lambda: utf_16, 0, {":1": NOT_UTF8, ":2": NOT_JSON, ":3": NOT_JSON})
    yield Case("utf-16-without-bom.json", lambda: utf_16[2:], 0, dict.fromkeys((":1", ":2", ":3"), NOT_JSON))
    yield Case(
        "picture.json", lambda: b"\x89PNG\r\n\x1a\n\xff\xff", 0, {":1": NOT_UTF8, ":2": NOT_JSON, ":3": NOT_UTF8}
    )


def packed() -> Iterable[Case]:
    """Compressed files that are truncated, damaged, unusual or not compressed at all."""
    gz, zst = gzip.compress(MANY, mtime=0), zstandard.ZstdCompressor().compress(MANY)
    for share in (1, 3, 7, 9):
        yield cut_off(f"cut-{share}.json.gz", gz[: len(gz) * share // 10])
        yield cut_off(f"cut-{share}.jsonl.zst", zst[: len(zst) * share // 10])
    for less in (1, 4, 8, 9):
        yield cut_off(f"cut-by-{less}.json.gz", gz[:-less])
        yield cut_off(f"cut-by-{less}.jsonl.zst", zst[:-less])
    for more in (1, 5, 10):
        yield cut_off(f"cut-to-{more}.json.gz", gz[:more])
        yield cut_off(f"cut-to-{more}.jsonl.zst", zst[:more])
    first, last = gzip.compress(FIRST), gzip.compress(LAST)
    z_first, z_last = (zstandard.ZstdCompressor().compress(data) for data in (FIRST, LAST))
    yield Case("garbage-behind.json.gz", lambda: first + b"some garbage", 1, {":2": DAMAGED})
    yield Case("newline-behind.json.gz", lambda: first + b"\n", 1, {":2": TRUNCATED})
    yield Case("garbage-behind.jsonl.zst", lambda: z_first + b"garbage", 1, {":2": DAMAGED})
    yield Case("members.json.gz", lambda: first + last, 2)
    yield Case("members.jsonl.zst", lambda: z_first + z_last, 2)
    yield Case("line-over-two-members.json.gz", lambda: gzip.compress(FIRST[:9]) + gzip.compress(FIRST[9:]), 1)
    yield Case("second-cut.json.gz", lambda: first + last[:-5], 2, {":3": TRUNCATED})
    yield Case("second-damaged.json.gz", lambda: first + last[:10] + bytes([255] * 50), 1, {":2": DAMAGED})
    yield Case("zeros-behind.json.gz", lambda: first + bytes(100_000), 1)
    yield Case("zeros-between.json.gz", lambda: first + bytes(1_000) + last, 2)
    yield Case("zeros-behind.jsonl.zst", lambda: z_first + bytes(100_000), 1)
    yield Case("nothing-in-it.json.gz", lambda: gzip.compress(b""), 0)
    yield Case("nothing-in-it.jsonl.zst", lambda: zstandard.ZstdCompressor().compress(b""), 0)
    yield Case("empty.json.gz", lambda: b"", 0)
    yield Case("not-packed.jsonl.gz", lambda: FIRST + LAST, 0, {":1": DAMAGED})
    yield Case("not-packed.jsonl.zst", lambda: FIRST + LAST, 0, {":1": DAMAGED})
    yield Case("gz-named.zst", lambda: first, 0, {":1": DAMAGED})
    yield Case("bad-line-inside.json.gz", lambda: gzip.compress(FIRST + b"{\n" + LAST), 2, {":2": NOT_JSON})
    stored = gzip.compress(FIRST + LAST, 0, mtime=0)
    yield Case("gz-named.json", lambda: stored, 1, {":1": NOT_UTF8, ":3": NOT_UTF8})


def cut_off(name: str, data: bytes) -> Case:
    """A truncated file. Another decompressor than ours determines how many whole lines it has."""
    decoder = zlib.decompressobj(31) if name.endswith(".gz") else zstandard.ZstdDecompressor().decompressobj()
    whole = decoder.decompress(data).count(b"\n")
    return Case(name, lambda: data, whole, {f":{whole + 1}": TRUNCATED})


def long() -> Iterable[Case]:
    """Lines and decompressed files that are far too large."""
    yield Case("line-of-50-mb.jsonl", lambda: FIRST + line_of(50 * MB) + LAST, 2, {":2": TOO_LONG})
    yield Case("line-of-50-mb.json.gz", lambda: pack(FIRST + line_of(50 * MB) + LAST), 2, {":2": TOO_LONG})
    yield Case("line-of-50-mb-first.jsonl", lambda: line_of(50 * MB) + LAST, 1, {":1": TOO_LONG})
    yield Case("line-of-50-mb-last.jsonl", lambda: FIRST + line_of(50 * MB)[:-1], 1, {":2": TOO_LONG})
    yield Case(
        "lines-of-50-mb.jsonl.zst",
        lambda: zstandard.ZstdCompressor().compress(FIRST + 2 * line_of(50 * MB) + LAST),
        2,
        {":2": TOO_LONG, ":3": TOO_LONG},
    )
    yield Case("line-of-16-mb.jsonl", lambda: FIRST + line_of(LONGEST_TEXT) + LAST, 3)
    yield Case("line-above-16-mb.jsonl", lambda: FIRST + line_of(LONGEST_TEXT + 1) + LAST, 2, {":2": TOO_LONG})
    yield Case("bomb-of-blank-lines.json.gz", lambda: FIRST_GZ + gz_bomb(b" \t\r\n"), 1, {"*": BOMB})
    yield Case("bomb-of-zeros.json.gz", lambda: FIRST_GZ + gz_bomb(b"\0"), 1, {":2": TOO_LONG, "*": BOMB})
    yield Case("bomb-of-line-ends.json.gz", lambda: FIRST_GZ + gz_bomb(b"\n"), 1, {"*": BOMB})
    yield Case("bomb-of-zeros.jsonl.zst", lambda: zst_bomb(b"\0"), 0, {":1": TOO_LONG, "*": BOMB})
    yield Case("bomb-of-line-ends.jsonl.zst", lambda: zst_bomb(b"\n"), 0, {"*": BOMB})


FIRST_GZ = gzip.compress(FIRST)


def line_of(num_bytes: int) -> bytes:
    """A good line, its end not counted."""
    return b'{"content": "' + b"x" * (num_bytes - 15) + b'"}\n'


def pack(data: bytes) -> bytes:
    return gzip.compress(data, 1)


@cache
def gz_bomb(text: bytes, times: int = 20) -> bytes:
    """64 MB, packed, many times."""
    return gzip.compress(text * (64 * MB // len(text)), 1) * times


@cache
def zst_bomb(text: bytes, megabytes: int = 1_200) -> bytes:
    packer = zstandard.ZstdCompressor().compressobj()
    return b"".join([*(packer.compress(text * (MB // len(text))) for _ in range(megabytes)), packer.flush()])


def python() -> Iterable[Case]:
    yield Case("good.py", "x = 'é'\n".encode, 1)
    yield Case("empty.py", lambda: b"", 1)
    yield Case("nul.py", lambda: b"x = '\0'\n", 1)
    yield Case("bom.py", lambda: b"\xef\xbb\xbfx = 1\n", 1)
    yield Case("latin-1.py", lambda: b"x = 1\n\ny = 'caf\xe9'\n", 0, {":3": NOT_UTF8})
    yield Case("utf-16.py", lambda: "x = 1\n".encode("utf-16"), 1, {})
    yield Case("utf-16-cut.py", lambda: "x = 1\n".encode("utf-16")[:-1], 0, {":1": NOT_AS_NAMED})
    yield Case("gbk.py", lambda: b"# coding: gbk\n\n\xff\xff\n", 0, {":3": NOT_AS_NAMED})
    yield Case("of-16-mb.py", lambda: b"#" * LONGEST_TEXT, 1)
    yield Case("above-16-mb.py", lambda: b"#" * (LONGEST_TEXT + 1), 0, {"": TOO_LONG})


def tables() -> Iterable[Case]:
    whole = parquet({"content": [f"import pandas {n}" for n in range(2_000)]}, row_group_size=500)
    yield Case("good.parquet", lambda: whole, 2_000)
    yield Case("zero-rows.parquet", lambda: parquet({"content": pl.Series([], dtype=pl.String)}), 0)
    yield Case("zero-columns.parquet", lambda: parquet({}), 0, {"": NO_TEXT})
    yield Case("zero-bytes.parquet", lambda: b"", 0, {":1": DAMAGED})
    yield Case("cut.parquet", lambda: whole[: len(whole) // 2], 0, {":1": DAMAGED})
    yield Case("cut-by-1.parquet", lambda: whole[:-1], 0, {":1": DAMAGED})
    yield Case("bad-footer.parquet", lambda: whole[:-300] + bytes(292) + whole[-8:], 0, {":1": DAMAGED})
    yield Case(
        "bad-pages.parquet",
        lambda: whole[:4] + bytes([255] * 2_000) + whole[2_004:],
        0,
        {f":{n}": DAMAGED for n in (1, 501, 1_001, 1_501)},
    )
    yield Case("json-named.parquet", lambda: FIRST + LAST, 0, {":1": DAMAGED})
    yield Case("no-text.parquet", lambda: parquet({"x": [1, 2]}), 0, {"": NO_TEXT})
    yield Case(
        "nulls.parquet", lambda: parquet({"content": ["a", None, "b", None]}), 2, {":2": NULL_TEXT, ":4": NULL_TEXT}
    )
    yield Case(
        "bytes.parquet",
        lambda: parquet({"content": [b"ok", b"\xff", None, "é".encode()]}),
        2,
        {":2": NOT_UTF8, ":3": NULL_TEXT},
    )
    yield Case("numbers.parquet", lambda: parquet({"content": [1.5, 2.5]}), 0, {":1": NOT_A_STRING, ":2": NOT_A_STRING})
    yield Case("structs.parquet", lambda: parquet({"content": [{"a": "x"}]}), 0, {":1": NOT_A_STRING})
    yield Case("lists.parquet", lambda: parquet({"content": [["x"]]}), 0, {":1": NOT_A_STRING})
    yield Case(
        "odd-others.parquet",
        lambda: parquet(
            {
                "content": ["x", "y"],
                "copies": [1, None],
                "license": [["mit"], []],
                "path": [b"\xff", b"a"],
                "size": [date(2020, 1, 1), None],
            }
        ),
        2,
    )
    yield Case("categories.parquet", lambda: parquet({"content": pl.Series(["x", "y", "x"], dtype=pl.Categorical)}), 3)


def long_tables() -> Iterable[Case]:
    """A few hundred bytes whose text takes as many megabytes."""
    yield Case("text-of-16-mb.parquet", lambda: text_of(LONGEST_TEXT), 3)
    yield Case("text-above-16-mb.parquet", lambda: text_of(LONGEST_TEXT + 1), 2, {":2": TOO_LONG})
    yield Case("text-of-50-mb.parquet", lambda: text_of(50 * MB), 2, {":2": TOO_LONG})
    yield Case("text-of-300-mb.parquet", lambda: text_of(300 * MB), 0, {":1": BOMB})
    yield Case(
        "bytes-above-16-mb.parquet", lambda: parquet({"content": [b"x" * (LONGEST_TEXT + 1)]}), 0, {":1": TOO_LONG}
    )
    yield Case(
        "path-above-16-mb.parquet",
        lambda: parquet({"content": ["a", "b"], "path": ["x" * (LONGEST_TEXT + 1), "b"]}),
        1,
        {":1": TOO_LONG},
    )


def text_of(num_bytes: int) -> bytes:
    """A table of three texts, the second so long."""
    target = io.BytesIO()
    texts = arrow.table({"content": ["a", "x" * num_bytes, "b"]})
    arrow_parquet.write_table(texts, target, compression="zstd", use_dictionary=False, write_statistics=False)
    return target.getvalue()


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    target = io.BytesIO()
    pl.DataFrame(columns).write_parquet(target, **options)
    return target.getvalue()


def delimited() -> Iterable[Case]:
    yield Case("good.csv", lambda: b'path,content\na.py,"x = ""1"",\n"\n', 1)
    yield Case("good.tsv.xz", lambda: lzma.compress(b"path\tcontent\na.py\tx\n"), 1)
    yield Case("empty.csv", lambda: b"", 0)
    yield Case("no-text.csv", lambda: b"a,b\n1,2\n", 0, {"": NO_TEXT})
    yield Case("semicolons.csv", lambda: b"path;content\na.py;x\nb.py;y\n", 0, {":1": OTHER_DELIMITER})
    yield Case("no-header.csv", lambda: b"import os\nimport sys\n", 0, {":1": NO_HEADER})
    yield Case("backslashes.csv", lambda: b'path,content\na,"x = \\"\n\\""\nb,x\n', 1, {":2": ESCAPED})
    yield Case("fields.csv", lambda: b"path,content\na\na,b,c\nd,e\n", 1, {":2": FIELDS, ":3": FIELDS})
    yield Case("unclosed.csv", lambda: b'path,content\na,"b\nc,d\n', 1, {":2": UNCLOSED})
    yield Case("unclosed-header.csv", lambda: b'"path,content\na,b\nc,d\n', 0, {":1": UNCLOSED})
    yield Case("latin-1.csv", lambda: b"path,content\na,caf\xe9\nb,x\n", 1, {":2": NOT_UTF8})
    yield Case("utf-16.csv", lambda: "content\nx\n".encode("utf-16"), 0, {":1": NOT_UTF8})
    yield Case("cut.csv.bz2", lambda: bz2.compress(MANY_CSV)[:-9], 2_000, {":2002": TRUNCATED})
    yield Case("damaged.csv.xz", lambda: lzma.compress(MANY_CSV)[:50] + bytes(9_000), 0, {":1": DAMAGED})
    yield Case("xz-of-4-gb-dictionary.csv.xz", greedy_xz, 0, {":1": DAMAGED})
    long = b'content\n"x\n' + (b"x" * 99 + b"\n") * 200_000
    yield Case("unclosed-of-20-mb.csv", lambda: long, 200_000, {":2": TOO_LONG})
    yield Case("line-of-50-mb.csv.gz", lambda: pack(b"content\na\n" + line_of(50 * MB) + b"b\n"), 2, {":3": TOO_LONG})
    yield Case("bomb-of-line-ends.csv.gz", lambda: gzip.compress(b"content\na\n") + gz_bomb(b"\n"), 1, {"*": BOMB})
    yield Case(
        "bomb-of-commas.csv.gz",
        lambda: gzip.compress(b"content\na\n") + gz_bomb(b","),
        1,
        {":3": TOO_LONG, "*": BOMB},
    )
    yield Case(
        "bomb-of-quotes.csv.gz", lambda: gzip.compress(b"content\na\n") + gz_bomb(b'"'), 1, {":3": TOO_LONG, "*": BOMB}
    )


def texts_of_lines() -> Iterable[Case]:
    yield Case("good.txt", lambda: b"a\n\nb", 3)
    yield Case("latin-1.txt", lambda: b"a\ncaf\xe9\nb\n", 2, {":2": NOT_UTF8})
    yield Case("cut.txt.gz", lambda: gzip.compress(b"a\nb\n" * 9)[:-4], 18, {":19": TRUNCATED})
    yield Case(
        "line-of-50-mb.txt.bz2", lambda: bz2.compress(b"a\n" + line_of(50 * MB) + b"b\n", 1), 2, {":2": TOO_LONG}
    )
    yield Case("bomb-of-zeros.txt.gz", lambda: gzip.compress(b"a\n") + gz_bomb(b"\0"), 1, {":2": TOO_LONG, "*": BOMB})


MANY_CSV = b"content\n" + b"import x\n" * 2_000


def greedy_xz() -> bytes:
    """Asks for a dictionary of 4 GB, as its filter's property says; the checksum of its header is right."""
    data = bytearray(lzma.compress(b"content\nx\n"))
    size = 4 * (data[12] + 1)
    place = data.index(bytes([0x21, 0x01]), 12, 12 + size) + 2
    data[place] = 40
    data[12 + size - 4 : 12 + size] = zlib.crc32(data[12 : 12 + size - 4]).to_bytes(4, "little")
    return bytes(data)


def no_files() -> Iterable[Case]:
    yield Case("folder.json", lambda path: path.mkdir(), 0, is_file=False)
    yield Case("folder.parquet", lambda path: path.mkdir(), 0, is_file=False)
    for ending in ("py", "json", "jsonl.gz", "parquet"):
        yield Case(f"pipe.{ending}", os.mkfifo, 0, {"": UNREADABLE}, is_file=False)
        yield Case(f"dangling.{ending}", lambda path: path.symlink_to("nowhere"), 0, {"": UNREADABLE}, is_file=False)
    yield Case("round.json", lambda path: path.symlink_to(path), 0, {"": UNREADABLE}, is_file=False)
