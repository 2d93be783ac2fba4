"""The folder of downloaded archives: checked at every use, bounded, safe to fill from an untrusted process."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import PackageIndexError
from pipeline.data.sources import sdist_store as module
from pipeline.data.sources.index_page import Release
from pipeline.data.sources.index_settings import index_settings
from pipeline.data.sources.package_index import TOO_LARGE, WRONG_HASH, IndexClient, UnusableArchive
from pipeline.data.sources.sdist_store import SdistStore
from tests.package_index import PackageIndex, Upload


def release(index: PackageIndex, data: bytes, **changes: Any) -> Release:
    """A release whose file the index serves."""
    name = f"a-{len(index.projects)}.tar.gz"
    index.projects[name] = [Upload(name, data)]
    facts = {"url": f"{index.url}/files/{name}", "sha256": hashlib.sha256(data).hexdigest(), "num_bytes": len(data)}
    return Release("a", "1", **{**facts, **changes})


def client(index: PackageIndex) -> IndexClient:
    return IndexClient(index_settings(index.environment()))


def read(store: SdistStore, wanted: Release, index: PackageIndex) -> bytes:
    with store.opened(wanted, client(index)) as file:
        return file.read()


def test_a_file_that_was_changed_on_disk_is_downloaded_again(tmp_path: Path) -> None:
    store = SdistStore(tmp_path)
    with PackageIndex({}) as index:
        wanted = release(index, b"archive")
        assert read(store, wanted, index) == read(store, wanted, index) == b"archive"
        assert len(index.requests) == 1
        [path] = tmp_path.iterdir()
        path.write_bytes(b"other")
        assert read(store, wanted, index) == path.read_bytes() == b"archive"
        assert len(index.requests) == 2


def test_a_file_in_the_other_folder_is_used_and_nothing_is_written_there(tmp_path: Path) -> None:
    with PackageIndex({}) as index:
        wanted, other = release(index, b"archive"), release(index, b"another")
        read(SdistStore(tmp_path / "home"), wanted, index)
        store = SdistStore(tmp_path / "own", also=tmp_path / "home")
        assert read(store, wanted, index) == b"archive"
        assert len(index.requests) == 1
        read(store, other, index)
    assert [len([*folder.iterdir()]) for folder in (tmp_path / "own", tmp_path / "home")] == [1, 1]


def test_a_file_that_is_too_large_or_another_one_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_ARCHIVE_BYTES", 10)
    with PackageIndex({}) as index:
        for wanted, reason, num_requests in (
            (release(index, b"x" * 11), TOO_LARGE, 0),  # the index says so
            (release(index, b"x" * 11, num_bytes=3), TOO_LARGE, 1),
            (release(index, b"x" * 11, num_bytes=None), TOO_LARGE, 1),
            (release(index, b"x", sha256="0" * 64), WRONG_HASH, 1),
        ):
            index.requests.clear()
            with pytest.raises(UnusableArchive, match=re.escape(reason)):
                read(SdistStore(tmp_path), wanted, index)
            assert len(index.requests) == num_requests
    assert [*tmp_path.iterdir()] == []


def test_a_lost_connection_is_tried_again(tmp_path: Path) -> None:
    with PackageIndex({}, status={"/files/": 503}) as index:
        wanted = release(index, b"archive")
        with pytest.raises(PackageIndexError, match="status 503"):
            read(SdistStore(tmp_path), wanted, index)
        assert len(index.requests) == 3
        assert [*tmp_path.iterdir()] == []


def test_what_was_used_longest_ago_is_deleted(tmp_path: Path) -> None:
    store = SdistStore(tmp_path, max_bytes=25)
    with PackageIndex({}) as index:
        releases = [release(index, bytes([number]) * 10) for number in range(3)]
        for number, wanted in enumerate(releases[:2]):
            read(store, wanted, index)
            os.utime(tmp_path / f"{wanted.sha256}.tar.gz", (number, number))
        read(store, releases[0], index)  # used again
        (tmp_path / ".killed.tmp").write_bytes(b"")
        os.utime(tmp_path / ".killed.tmp", (0, 0))
        read(store, releases[2], index)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f"{releases[number].sha256}.tar.gz" for number in (0, 2)
    )


def test_who_wrote_an_archive_cannot_change_it_once_it_was_taken(tmp_path: Path) -> None:
    untrusted, home = tmp_path / "untrusted", tmp_path / "home"
    untrusted.mkdir()
    path = untrusted / f"{64 * 'a'}.tar.gz"
    path.write_bytes(b"archive")
    with path.open("r+b") as still_open:
        SdistStore(home).adopt(untrusted)
        still_open.write(b"another")
    assert [(found.name, found.read_bytes()) for found in home.iterdir()] == [(path.name, b"archive")]
    assert not path.exists()


def test_only_archives_are_taken_from_an_untrusted_folder(tmp_path: Path) -> None:
    untrusted, outside, home = tmp_path / "untrusted", tmp_path / "outside", tmp_path / "home"
    untrusted.mkdir()
    outside.mkdir()
    names = [f"{digit * 64}.tar.gz" for digit in "abc"]
    (untrusted / names[0]).write_bytes(b"archive")
    (untrusted / names[1]).symlink_to("/etc/passwd")
    (untrusted / names[2]).mkdir()
    (untrusted / "../evil.tar.gz").write_bytes(b"")
    (untrusted / "evil.py").write_bytes(b"")
    SdistStore(home).adopt(untrusted)
    assert [path.name for path in home.iterdir()] == [names[0]]
    (outside / names[1]).write_bytes(b"archive")
    (tmp_path / "link").symlink_to(outside)
    SdistStore(home).adopt(tmp_path / "link")
    SdistStore(home).adopt(tmp_path / "missing")
    assert [path.name for path in home.iterdir()] == [names[0]]
