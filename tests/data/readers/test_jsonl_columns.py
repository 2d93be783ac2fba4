"""Reading by columns gives the same as reading by lines on hostile lines, or leaves them to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.data.readers import jsonl_columns
from pipeline.data.readers.line_block import LineBlock
from pipeline.data.sources.base import TEXT_COLUMNS, Batch

ESCAPES = '\\n \\t \\" \\\\ \\/ \\b \\f \\r \\u0041 \\u00e9 \\u0080 \\u2028 \\uffff \\ud83d\\ude00 \\u0000'.split()
HALVES = (
    "\\ud800 \\udc00 \\udc00\\ud800 \\ud83d\\ud83d\\ude00 \\ud800\\uffff \\uDBFF\\uE000 \\ud83dx \\uD8 \\u00zz".split()
)
RAW = [
    "import pandas",
    "é",
    "日本",
    "😀",
    "\ufeff",
    "\u2028",
    "\x7f",
    "\x80",
    "7",
    "true",
    "null",
    "[",
    "{",
    '":"',
    ",",
]
WRONG = [
    b"\\x41",
    b"\\",
    b"\t",
    b"\x01",
    b"\0",
    b"\r",
    b"\xff",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b'"',
]
NUMBERS = (
    "0 7 -1 -0 -0.0 1.0 1.10 1e2 1E+2 1e-7 1e21 1e22 1e400 5e-324 18446744073709551616 4.35 0.30000000000000004".split()
)
WORDS = "null true false nan NaN Infinity -Infinity 01 +1 .5 1. 0x1 tru None".split()
NAMES = "content text code repo_name path copies size license x".split()
ODD_NAMES = [
    "",
    "Content",
    "c\\u006fntent",
    "\\u0074ext",
    "cod\\u0065",
    "p\\u0061th",
    "\\ud800",
    "content\\u0000",
    "content ",
]
SPACE = st.sampled_from([b"", b"", b"", b" ", b"\t", b"\r", b"\x0c", b"\xc2\xa0", b"\0"])


def encoded(values: list[str]) -> list[bytes]:
    return [value.encode() for value in values]


parts = st.one_of(
    st.sampled_from(encoded(RAW + ESCAPES)), st.sampled_from(encoded(RAW + HALVES)), st.sampled_from(WRONG)
)
strings = st.lists(parts, max_size=3).map(lambda parts: b'"' + b"".join(parts) + b'"')
names = st.sampled_from(encoded(NAMES + NAMES + ODD_NAMES)).map(lambda name: b'"' + name + b'"')
numbers = st.one_of(
    st.sampled_from(encoded(NUMBERS)),
    st.integers().map(lambda n: str(n).encode()),
    st.floats(allow_nan=False, allow_infinity=False).map(lambda x: repr(x).encode()),
)


def objects(values: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    item = st.tuples(SPACE, names, SPACE, values, SPACE).map(lambda p: p[0] + p[1] + p[2] + b":" + p[3] + p[4])
    return st.lists(item, max_size=6).map(lambda items: b"{" + b",".join(items) + b"}")


def arrays(values: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(values, max_size=3).map(lambda items: b"[" + b", ".join(items) + b"]")


plain = st.one_of(strings, strings, numbers, st.sampled_from(encoded(WORDS)))
values = st.recursive(plain, lambda inner: st.one_of(arrays(inner), objects(inner)), max_leaves=6)
good = st.tuples(st.sampled_from([b"content", b"text", b"code"]), st.sampled_from(encoded(RAW)), objects(plain)).map(
    lambda p: b'{"' + p[0] + b'":"' + p[1].replace(b'"', b"") + b'"' + b"," * (len(p[2]) > 2) + p[2][1:]
)
behind = st.sampled_from([b"", b"", b"", b"", b"x", b"}", b",", b"\0", b"{}", b"null", b" "])
lines = st.one_of(
    good,
    good,
    st.tuples(SPACE, objects(values), behind).map(b"".join),
    st.tuples(values, behind).map(b"".join),
    st.tuples(good, st.sampled_from([b"", b" "]), good).map(b"".join),
    SPACE,
)
blocks = st.tuples(st.lists(lines, min_size=1, max_size=5).map(b"\n".join), st.sampled_from([b"", b"\n"])).map(b"".join)


def by_columns(data: bytes) -> Any:
    return jsonl_columns.table(data, data.count(b"\n") + (not data.endswith(b"\n")), TEXT_COLUMNS)


def by_lines(data: bytes, monkeypatch: pytest.MonkeyPatch) -> Batch:
    with monkeypatch.context() as patch:
        patch.setattr(jsonl_columns, "table", lambda *_: None)
        return LineBlock(data, 1, data.count(b"\n") + 1, "f", TEXT_COLUMNS).read()


def check_both_agree(data: bytes, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the lines were read by columns."""
    if not data or (table := by_columns(data)) is None:
        return False
    batch = by_lines(data, monkeypatch)
    assert not batch.bad
    assert table.rows() == batch.rows.rows()
    assert table.schema == batch.rows.schema
    return True


@pytest.mark.slow
@settings(max_examples=1_500, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=blocks)
@example(data=b'{"content": "\\ud800\\uffff"}')
@example(data=b'{"text": "a", "c\\u006fntent": "b"}')
@example(data=b'{"text": "a"}\n{"text": "b", "\\u0063ode": "c"}')
@example(data=b'{"content": "a", "license": ["\\b", 1e2, {"x": 1, "x": 2}]}')
@example(data=b'{"content": "a", "copies": 1e22, "size": -0.0, "path": 714557829040267.2}')
def test_both_readers_agree_on_hostile_lines(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    check_both_agree(data, monkeypatch)


def test_ordinary_lines_are_read_by_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: both readers would also agree if none were ever read by columns."""
    for data in (
        b'{"content": "import pandas", "path": "a.py", "copies": 3}\n{"content": "b", "more": [1, {"x": "\\b"}]}\n',
        b'{"text": "caf\\u00e9 \\ud83d\\ude00", "size": 1.5}',
        b'{"code": "x", "license": null}\n' * 1_000,
        b'{"content": "x", "text": 7, "c\\u006fde": "y"}',
    ):
        assert check_both_agree(data, monkeypatch), data


@pytest.mark.slow
@pytest.mark.parametrize("part", ["_has_odd_pair", "_has_escaped_name", "NOT_EXACT", "NOT_TEXT"])
def test_every_check_is_needed(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: without one of its checks, reading by columns gives a wrong result."""
    never: Callable[[bytes], bool] | str = (lambda data: False) if part.startswith("_") else "\0never"
    monkeypatch.setattr(jsonl_columns, part, never)
    wrong = {
        "_has_odd_pair": b'{"content": "\\ud800\\uffff"}',
        "_has_escaped_name": b'{"text": "a", "c\\u006fntent": "b"}',
        "NOT_EXACT": b'{"content": "a", "license": ["\\b"]}',
        "NOT_TEXT": b'{"content": 7}',
    }[part]
    with pytest.raises(AssertionError):
        check_both_agree(wrong, monkeypatch)


@pytest.mark.parametrize("offset", range(-12, 3))
def test_an_odd_pair_is_found_at_every_offset(offset: int) -> None:
    """Also where two parts of a searched block meet."""
    data = b" " * (jsonl_columns.PART + offset) + rb"\ud83d\uE000" + b" " * jsonl_columns.PART
    assert jsonl_columns._has_odd_pair(data)
    assert not jsonl_columns._has_odd_pair(data.replace(b"E", b"D"))
