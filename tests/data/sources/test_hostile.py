"""Malicious files: their good rows are kept, bad ones are counted with their location, and memory is bounded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from pipeline.data.preview.scan import scan
from pipeline.data.sources.base import DAMAGED, TRUNCATED
from pipeline.data.sources.local_files import FilesSource
from tests.data.sources import hostile
from tests.data.sources.hostile import FIRST, LAST, Case
from tests.data.sources.peak import LOOK, peak_megabytes

CASES = hostile.cases()
LARGE = ("mb", "bomb")
"""Files with these words in their names take a second to read."""


def read(path: Path) -> tuple[int, Counter[tuple[str, str]]]:
    """The number of good rows, and the bad ones as (location after the path, reason)."""
    batches = list(FilesSource(str(path)).batches())
    bad = Counter((bad.where.removeprefix(str(path)), bad.reason) for batch in batches for bad in batch.bad)
    return sum(len(batch.rows) for batch in batches), bad


def found_in(case: Case, folder: Path) -> tuple[int, Counter[tuple[str, str]]]:
    good, bad = read(case.write(folder))
    if "*" in case.bad:  # where a bomb is rejected depends on the decompressor
        bad = Counter(("*", reason) if reason == case.bad["*"] else (place, reason) for place, reason in bad.elements())
    return good, bad


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=pytest.mark.slow if any(w in case.name for w in LARGE) else ())
        for case in CASES
    ],
)
def test_a_hostile_file_gives_the_expected_rows(case: Case, tmp_path: Path) -> None:
    assert found_in(case, tmp_path) == (case.good, Counter(case.bad.items()))


def test_there_are_over_a_hundred_cases_with_every_reason() -> None:
    from pipeline.data.sources import base

    reasons = {value for name, value in vars(base).items() if name.isupper() and isinstance(value, str)}
    assert len(CASES) > 100
    assert {reason for case in CASES for reason in case.bad.values()} == reasons


@pytest.mark.slow
def test_all_together_in_one_folder(tmp_path: Path) -> None:
    """The lines of a text file are rows only if it is requested itself: in a folder it is a README or a licence."""
    for case in CASES:
        case.write(tmp_path)
    read = [case for case in CASES if ".txt" not in case.name]
    assert len(read) < len(CASES)
    *_, last = scan(FilesSource(str(tmp_path)), ["import"])
    assert last.done
    assert last.report["scanned"] == sum(case.good for case in read)
    assert last.report["bad_rows"] == Counter(reason for case in read for reason in case.bad.values())
    assert last.report["skipped"] == len(CASES) - len(read)


def test_a_wrong_checksum_is_detected(tmp_path: Path) -> None:
    """Rows before it have been read already, but not the last quarter of a megabyte, which is not output unchecked."""
    whole = hostile.gzip.compress(hostile.MANY)
    path = tmp_path / "sum.json.gz"
    for place in (-8, -1):  # in the checksum, and in the length
        data = bytearray(whole)
        data[place] ^= 1
        path.write_bytes(data)
        good, bad = read(path)
        assert 3_000 - 2**18 / 150 < good < 3_000
        assert bad == {(f":{good + 1}", DAMAGED): 1}
    path.write_bytes(whole)
    assert read(path) == (3_000, {}), "control"


def test_any_flipped_bit_in_a_compressed_file_is_detected_and_no_row_is_invented(tmp_path: Path) -> None:
    """Except in the header of a .gz, whose date and flags do not matter."""
    rows = [hostile.row(number) for number in range(40)]
    whole = hostile.gzip.compress(hostile.json_lines(rows), mtime=0)
    path = tmp_path / "turned.json.gz"
    for place in range(10, len(whole), 7):
        data = bytearray(whole)
        data[place] ^= 0x10
        path.write_bytes(data)
        good, bad = read(path)
        assert {reason for _, reason in bad} & {DAMAGED, TRUNCATED}, place
        assert good < 40, place
    path.write_bytes(whole)
    assert read(path) == (40, {}), "control"


def test_good_files_of_every_format_have_no_bad_rows(tmp_path: Path) -> None:
    """The control of the whole table: the rows around the bad ones are good."""
    for name, data in {
        "a.json": FIRST + LAST,
        "a.jsonl": FIRST + b"\n" + LAST,
        "a.json.gz": hostile.pack(FIRST + LAST),
        "a.jsonl.zst": hostile.zstandard.ZstdCompressor().compress(FIRST + LAST),
    }.items():
        (tmp_path / name).write_bytes(data)
        assert read(tmp_path / name) == (2, {}), name


@pytest.mark.slow
def test_lines_of_50_mb_and_bombs_are_read_in_bounded_memory(tmp_path: Path) -> None:
    for case in CASES:
        if any(word in case.name for word in LARGE):
            case.write(tmp_path)
    assert peak_megabytes(LOOK, tmp_path) < 1_000
    whole = "import gzip; gzip.decompress(Path(sys.argv[1], 'bomb-of-zeros.json.gz').read_bytes())"
    assert peak_megabytes(whole, tmp_path) > 1_200, "control: decompressing them at once takes more"
