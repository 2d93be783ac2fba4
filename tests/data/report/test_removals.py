from __future__ import annotations

import json

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.report.removals import MAX_EXAMPLES, Removed
from tests.data.examples import batch, row

RULES = st.sampled_from([None, "long", "short"])


def removed(rows: pl.DataFrame, reasons: list[str | None]) -> Removed:
    found = Removed()
    found.add(rows, pl.Series(reasons, dtype=pl.String))
    return found


def test_files_and_bytes_are_counted_by_rule() -> None:
    rows = batch([row(0, content="é"), row(1, content="abc"), row(2, content="xy")]).rows
    found = removed(rows, ["long", None, "long"]).to_dict()
    assert list(found) == ["long"]
    assert (found["long"]["files"], found["long"]["bytes"]) == (2, 4)
    assert [example["path"] for example in found["long"]["examples"]] == [row(0)["path"], row(2)["path"]]


def test_an_example_says_which_file_it_duplicates() -> None:
    found = Removed()
    found.add(batch([row(0), row(1)]).rows, pl.Series([None, "same"]), [None, "a/b.py"])
    assert found.to_dict()["same"]["examples"] == [{**names(1), "of": "a/b.py"}]


def names(number: int) -> dict[str, str]:
    return {name: row(number)[name] for name in ("repo_name", "path")}


@settings(deadline=None)
@given(st.lists(RULES, max_size=20), st.lists(RULES, max_size=20))
def test_parts_merged_in_order_are_the_whole(first: list[str | None], second: list[str | None]) -> None:
    rows = batch([row(number) for number in range(len(first + second))]).rows
    parts = removed(rows.head(len(first)), first)
    later = removed(rows.tail(len(second)) if second else rows.head(0), second)
    before = later.to_dict()
    parts.merge(later)
    whole = removed(rows, first + second).to_dict()
    assert parts.to_dict() == whole == json.loads(json.dumps(whole))
    assert later.to_dict() == before, "merging leaves the other as it was"
    assert Removed.from_dict(whole).to_dict() == whole
    assert all(len(found["examples"]) == min(found["files"], MAX_EXAMPLES) for found in whole.values())
