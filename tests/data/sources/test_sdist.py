"""Reading one archive: bombs, endless headers and impossible sizes end it, in bounded memory."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from pipeline.core.environment import child_environment
from pipeline.core.paths import ROOT
from pipeline.data.readers.decompress import StreamError
from pipeline.data.sources import sdist as module
from pipeline.data.sources.base import BOMB, DAMAGED, TRUNCATED
from pipeline.data.sources.sdist import TOO_MANY, Archive, ArchiveEntry, license_in
from tests.package_index import link, packed

MEGABYTE = 2**20


def entries(data: bytes) -> list[ArchiveEntry]:
    return list(Archive(io.BytesIO(data)).entries(lambda path: path.endswith(".py")))


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def test_only_wanted_files_are_kept_in_memory() -> None:
    found = entries(
        packed([("a-1/x.py", "x"), ("a-1/y.bin", b"y" * 9), ("a-1/l", link("x.py")), ("./a-1/d/z.py", "z")])
    )
    assert found == [
        ArchiveEntry("x.py", "file", 1, b"x"),
        ArchiveEntry("y.bin", "file", 9, None),
        ArchiveEntry("l", "other", 0, None),
        ArchiveEntry("d/z.py", "file", 1, b"z"),
    ]


def test_long_and_odd_names_of_every_format_are_read() -> None:
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        target, name = io.BytesIO(), "a-1/" + "long/" * 80 + "ä.py"
        with tarfile.open(fileobj=target, mode="w:gz", format=form, encoding="utf-8") as tar:
            tar.addfile(tarfile.TarInfo(name))
        assert [entry.path for entry in entries(target.getvalue())] == [name.removeprefix("a-1/")]


def test_a_file_that_claims_more_than_the_archive_has_is_the_archives_end() -> None:
    with pytest.raises(StreamError, match=f"{DAMAGED}|{TRUNCATED}"):
        entries(gzip.compress(header("a-1/x.py", 5 * MEGABYTE) + b"short"))


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_that_would_fill_the_memory_is_a_bomb(kind: bytes) -> None:
    size = 3 * module.MAX_HEADER_BYTES
    with pytest.raises(StreamError, match=BOMB):
        entries(gzip.compress(header("x", size, kind) + b"1" * size + header("a-1/x.py", 0)))


def test_a_sparse_file_is_refused() -> None:
    with pytest.raises(StreamError, match=DAMAGED):
        entries(gzip.compress(header("a-1/x.py", 0, tarfile.GNUTYPE_SPARSE) + b"\0" * 1_024))


def test_an_archive_that_unpacks_to_too_much_or_too_many_files_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_UNPACKED_BYTES", MEGABYTE)
    with pytest.raises(StreamError, match=BOMB):
        entries(packed([("a-1/x.bin", b"\0" * 2 * MEGABYTE)]))
    monkeypatch.setattr(module, "MAX_ENTRIES", 3)
    assert len(entries(packed([(f"a-1/{number}", b"") for number in range(3)]))) == 3
    with pytest.raises(StreamError, match=TOO_MANY):
        entries(packed([(f"a-1/{number}", b"") for number in range(4)]))


@pytest.mark.parametrize(
    "data",
    [b"", b"no archive", gzip.compress(b"no tar" * 500), gzip.compress(b"\xff" * 4_096)],
    ids=["empty", "text", "packed text", "packed bytes"],
)
def test_what_is_no_archive_is_damaged_or_empty(data: bytes) -> None:
    try:
        assert entries(data) == []
    except StreamError as error:
        assert str(error) in (DAMAGED, TRUNCATED)


def test_the_licence_is_that_of_the_metadata() -> None:
    def of(text: str) -> str:
        return license_in(ArchiveEntry("PKG-INFO", "file", len(text), text.encode()))

    assert of("Name: a\nLicense-Expression: MIT\n\nLicense: x") == "MIT"
    assert of("Name: a\nClassifier: License :: OSI Approved :: BSD License\n") == "BSD License"
    assert of("Name: a\n") == of("\xff\0") == of("x" * (MEGABYTE + 1)) == ""


BOMB_SCRIPT = """
import resource, sys
from pathlib import Path
from pipeline.data.readers.decompress import StreamError
from pipeline.data.sources.sdist import Archive
import pipeline.data.readers.decompress, isal.isal_zlib, tarfile
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    with open(sys.argv[1], "rb") as file:
        for entry in Archive(file).entries(lambda path: True):
            pass
    print("read to its end", end=" ")
except StreamError as error:
    print(error, end=" ")
print("|", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def zeros(num_megabytes: int) -> bytes:
    """Gzip members of zeros, one after another: each megabyte takes a kilobyte."""
    return gzip.compress(b"\0" * MEGABYTE, 9) * num_megabytes


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit elsewhere")
@pytest.mark.parametrize(
    "head",
    [header("a-1/x.py", 8 * 2**30), header("x", 2**31, tarfile.XHDTYPE), header("x", 2**31, tarfile.GNUTYPE_LONGNAME)],
    ids=["file", "attributes", "name"],
)
def test_gigabytes_out_of_a_megabyte_take_little_memory(tmp_path: Path, head: bytes) -> None:
    bomb = tmp_path / "bomb.tar.gz"
    bomb.write_bytes(gzip.compress(head) + zeros(2_000))
    done = subprocess.run(
        [sys.executable, "-c", BOMB_SCRIPT, str(bomb)],
        cwd=ROOT, env=child_environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    reason, _, megabytes = done.stdout.partition(" | ")
    assert reason == BOMB
    assert int(megabytes) < 64
