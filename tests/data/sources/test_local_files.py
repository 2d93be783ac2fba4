from __future__ import annotations

import gzip
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
import zstandard

from pipeline.core.errors import InputError
from pipeline.data.sources import local_files
from pipeline.data.sources.base import Batch
from pipeline.data.sources.local_files import FilesSource
from pipeline.data.sources.walk import LINK_ABOVE, LocalFile, Pattern
from tests.data.examples import code, code_folder, json_lines, row


def read(path: Path | str) -> tuple[list[tuple[str, ...]], Counter[str], list[Batch]]:
    """Every row, the number of bad ones by reason, and the batches."""
    batches = list(FilesSource(str(path)).batches())
    rows = [values for batch in batches for values in batch.rows.iter_rows()]
    return rows, Counter(bad.reason for batch in batches for bad in batch.bad), batches


def test_a_folder_is_read_recursively_and_other_extensions_are_counted(tmp_path: Path) -> None:
    folder = code_folder(tmp_path / "project", 5)
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "rows.jsonl").write_bytes(json_lines([row(1)]))
    (folder / "README.md").write_text("pandas")
    (folder / "deep" / "picture.png").write_bytes(b"\x89PNG")
    rows, bad, batches = read(folder)
    assert len(rows) == 7
    assert not bad
    assert sum(batch.num_skipped for batch in batches) == 2
    assert ("project", "part0/file0.py", "1", str(len(code(0))), code(0), "") in rows


def test_a_glob_and_a_single_file_are_read_too(tmp_path: Path) -> None:
    code_folder(tmp_path / "project", 6)
    assert len(read(f"{tmp_path}/project/part*/*.py")[0]) == 6
    assert len(read(f"{tmp_path}/**/file1.py")[0]) == 1
    (only,) = read(tmp_path / "project" / "other.py")[0]
    assert only[:2] == ("project", "other.py")


def test_a_name_with_pattern_characters_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "a[1].py").write_text("x = 1\n")
    assert len(read(tmp_path / "a[1].py")[0]) == 1


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    rows = [row(number) for number in range(700)]
    lines = json_lines(rows)
    (tmp_path / "a.json").write_bytes(lines)
    (tmp_path / "a.jsonl").write_bytes(lines)
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(lines))
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet", row_group_size=100)
    expected = [tuple(value.values()) for value in rows]
    for path in sorted(tmp_path.iterdir()):
        assert read(path)[0] == expected, path.name


def test_good_rows_around_every_kind_of_damage_are_kept_and_each_error_is_counted(tmp_path: Path) -> None:
    lines = json_lines(row(number) for number in range(100)).splitlines(keepends=True)
    lines[10] = lines[10][:-5] + b"\n"
    lines[20] = b'{"content": null}\n'
    lines[30] = b'{"content": 7}\n'
    lines[40] = b'{"content": "caf\xe9"}\n'
    lines[50] = b'{"path": "no text"}\n'
    (tmp_path / "lines.jsonl").write_bytes(b"".join(lines))
    (tmp_path / "latin.py").write_bytes(b"# caf\xe9\n")
    (tmp_path / "good.py").write_text("x = 1\n")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")
    pl.DataFrame({"x": [1]}).write_parquet(tmp_path / "numbers.parquet")
    (tmp_path / "fake.json.gz").write_bytes(b"not packed")
    rows, bad, batches = read(tmp_path)
    assert len(rows) == 95 + 1
    assert bad == {
        "not JSON": 1,
        "text is null": 1,
        "text is not a string": 1,
        "not UTF-8": 2,
        "no text column": 2,
        "file is damaged": 2,
    }
    places = {bad.where for batch in batches for bad in batch.bad}
    assert f"{tmp_path}/lines.jsonl:11" in places
    assert f"{tmp_path}/numbers.parquet" in places


def test_a_truncated_gz_keeps_its_whole_lines(tmp_path: Path) -> None:
    packed = gzip.compress(json_lines(row(number) for number in range(3_000)))
    (tmp_path / "whole.json.gz").write_bytes(packed)
    (tmp_path / "cut.json.gz").write_bytes(packed[:-2_000])
    rows, bad, _ = read(tmp_path / "cut.json.gz")
    assert 1_000 < len(rows) < 3_000
    assert [values[1] for values in rows] == [f"src/file{number}.py" for number in range(len(rows))]
    assert bad == {"file ends too early": 1}
    assert len(read(tmp_path / "whole.json.gz")[0]) == 3_000, "control"


def test_pipes_and_broken_links_cannot_hang_or_stop_the_scan(tmp_path: Path) -> None:
    code_folder(tmp_path, 2)
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "dangling.py").symlink_to(tmp_path / "nowhere.py")
    (tmp_path / "round").symlink_to(tmp_path, target_is_directory=True)
    rows, bad, _ = read(tmp_path)
    assert len(rows) == 3
    assert bad == {"cannot be opened": 2}


def test_a_name_that_is_not_utf8_becomes_printable(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/caf\xe9.py", "wb") as file:  # noqa: PTH123 - a name that is not UTF-8
        file.write(b"x = 1\n")
    (only,) = read(tmp_path)[0]
    assert only[1] == "caf?.py"


def test_progress_rises_to_one(tmp_path: Path) -> None:
    code_folder(tmp_path, 40)
    (tmp_path / "rows.json.gz").write_bytes(gzip.compress(json_lines(row(number) for number in range(2_000))))
    shares = [batch.progress or 0 for batch in read(tmp_path)[2]]
    assert len(shares) == 3  # the file in the folder itself, the rows, the files in subfolders
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_reading_twice_gives_the_same(tmp_path: Path) -> None:
    source = FilesSource(str(code_folder(tmp_path, 9)))
    assert [batch.rows.rows() for batch in source.batches()] == [batch.rows.rows() for batch in source.batches()]


def test_lines_of_a_text_file_are_rows_only_if_it_is_requested_itself(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("pandas\nnumpy\n")
    (tmp_path / "a.py").write_text("import pandas\n")
    found = [(len(batch.rows), batch.num_skipped) for batch in FilesSource(str(tmp_path)).batches()]
    assert found == [(1, 1)]
    named = [len(batch.rows) for batch in FilesSource(str(tmp_path / "requirements.txt")).batches()]
    assert sum(named) == 2


def test_the_text_column_can_be_named_behind_the_path(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(json_lines([{"body": "import x\n", "content": "prose", "title": "t"}]))
    for path in (tmp_path / "rows.jsonl", tmp_path, tmp_path / "*.jsonl"):
        assert [values[4] for values in read(f"{path}#body")[0]] == ["import x\n"]
    assert [values[4] for values in read(tmp_path)[0]] == ["prose"], "control"
    rows, bad, _ = read(f"{tmp_path}#nothing")
    assert (rows, bad) == ([], {"no text column": 1})


def test_a_name_with_a_number_sign_is_that_file(tmp_path: Path) -> None:
    folder = code_folder(tmp_path / "c#", 3)
    assert len(read(folder)[0]) == len(read(f"{folder}/**/*.py")[0]) == 4


@pytest.mark.parametrize("path", ["/tmp/" + "x" * 256 + "/a.py", "/tmp/" + "é" * 128, "/tmp/" + "x" * 256 + "*/a.py"])
def test_a_name_longer_than_a_file_can_have_is_refused(path: str) -> None:
    with pytest.raises(InputError, match=r"source is 'files:/tmp/.*shorten the path: a name has at most 255 bytes"):
        FilesSource(path)


def test_what_cannot_be_listed_is_counted_beside_the_files(tmp_path: Path) -> None:
    folder = code_folder(tmp_path / "project", 4)
    (folder / "up").symlink_to("..")
    for path in (folder, f"{folder}/**"):
        rows, bad, batches = read(path)
        assert (len(rows), bad) == (5, {LINK_ABOVE: 1})
        assert [row.where for batch in batches for row in batch.bad] == [str(folder / "up")]
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "up").symlink_to("..")
    assert read(tmp_path / "only")[:2] == ([], {LINK_ABOVE: 1})


@pytest.mark.parametrize("path", ["", "/**/*.py"])
def test_listing_ends_once_it_is_over(tmp_path: Path, path: str) -> None:
    source = FilesSource(f"{code_folder(tmp_path / 'project', 4)}{path}")
    assert source.shards(lambda: True) == []
    assert [shard.num_files for shard in source.shards()] == [5], "control"


def test_a_glob_is_searched_only_for_a_while_before_it_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(pattern: Pattern, is_over: Callable[[], bool] = lambda: False) -> Iterator[LocalFile]:
        for _ in range(500):
            if is_over():
                return
            time.sleep(0.01)
        raise AssertionError("the search was not ended")
        yield

    monkeypatch.setattr(local_files, "walk", endless)
    monkeypatch.setattr(local_files, "CHECK_SECONDS", 0.05)
    assert FilesSource(f"{tmp_path}/**/*.py").spec == f"files:{tmp_path}/**/*.py"
