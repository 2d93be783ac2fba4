"""Small files at any address: a path, file:// and a file system that is not this machine's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import fsspec
import pytest

from pipeline.core.errors import InputError, PipelineError
from pipeline.core.paths import ROOT
from pipeline.data.execution import storage

KILLED = """
import os, signal, sys
from pipeline.data.execution import storage
def writer(file):
    file.write(b"half of it")
    file.flush()
    if sys.argv[2] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
storage.write_atomically(sys.argv[1], writer)
"""


@pytest.fixture(params=["path", "file", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder that does not exist yet."""
    folders = {"path": tmp_path / "new", "file": f"file://{tmp_path}/new", "memory": f"memory://{uuid.uuid4()}/new"}
    return str(folders[request.param])


def names(folder: str) -> list[str]:
    system, path = fsspec.url_to_fs(folder)
    return sorted(Path(name).name for name in system.ls(path, detail=False))


def write(address: str, data: bytes) -> None:
    storage.write_atomically(address, lambda file: file.write(data))


def read(address: str) -> bytes:
    with storage.open_read(address) as file:
        return file.read()


def test_what_is_written_is_read_again_and_replaced_whole(folder: str) -> None:
    address = f"{folder}/a.bin"
    assert not storage.exists(address)
    write(address, b"the first and longer one")
    assert (storage.exists(address), storage.size(address)) == (True, 24)
    write(address, b"second")
    assert (read(address), storage.size(address), names(folder)) == (b"second", 6, ["a.bin"])


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(folder: str) -> None:
    address = f"{folder}/a.bin"
    write(address, b"old")

    def failing(file: BinaryIO) -> None:
        file.write(b"half")
        raise RuntimeError("the bird flew away")

    with pytest.raises(RuntimeError, match="the bird flew away"):
        storage.write_atomically(address, failing)
    assert (read(address), names(folder)) == (b"old", ["a.bin"])


def test_a_transfer_that_fails_leaves_the_old_file_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = f"memory://{uuid.uuid4()}"
    write(f"{folder}/a.bin", b"old")

    def failing(*_: object) -> None:
        raise OSError("the line is cut")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "mv", failing)
    with pytest.raises(PipelineError, match="the line is cut"):
        write(f"{folder}/a.bin", b"new")
    assert (read(f"{folder}/a.bin"), names(folder)) == (b"old", ["a.bin"])


@pytest.mark.parametrize("access", [storage.exists, storage.size, storage.open_read])
def test_an_address_that_fails_gives_one_sentence_without_the_credentials(
    access: Callable[[str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sesamesesame")

    def failing(*_: object, **__: object) -> None:
        raise RuntimeError("sesamesesame opens nothing\nhere")

    for name in ("exists", "size", "open"):
        monkeypatch.setattr(type(fsspec.filesystem("memory")), name, failing)
    with pytest.raises(PipelineError) as caught:
        access("memory://parts/a.bin")
    assert str(caught.value) == (
        "memory://parts/a.bin cannot be used (RuntimeError: [AWS_SECRET_ACCESS_KEY] opens nothing here); check the "
        "address and the credentials for it in the environment, then go on."
    )


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    for last, status, found in (("kill", -signal.SIGKILL, b"old"), ("live", 0, b"half of it")):
        done = subprocess.run([sys.executable, "-c", KILLED, path, last], cwd=ROOT, check=False)
        assert (done.returncode, path.read_bytes()) == (status, found)


def test_a_missing_file_is_not_found(folder: str) -> None:
    for access in (storage.size, storage.open_read):
        with pytest.raises(FileNotFoundError):
            access(f"{folder}/missing")


def test_a_file_gets_the_usual_permissions(tmp_path: Path) -> None:
    """Other users read files in a shared folder, so the 0600 of a temporary file must not stay."""
    write(str(tmp_path / "a.bin"), b"x")
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "a.bin").stat().st_mode & 0o777 == 0o666 & ~mask


def test_an_address_without_a_file_system_is_refused() -> None:
    with pytest.raises(InputError, match="Address 'nowhere://a' cannot be opened"):
        storage.exists("nowhere://a")


@pytest.mark.parametrize("address", ["/mnt/shared", "./here:there", "shared", "file:///mnt/shared", "memory://parts"])
def test_addresses_that_can_be_written_to_pass(address: str) -> None:
    storage.check(address, "parts")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", "parts is ''; give a path"),
        ("s3:/bucket/folder", "parts is 's3:/bucket/folder'; write an address as s3://..."),
        ("s3:bucket", "write an address as s3://..."),
        ("nowhere://a", "nothing here knows nowhere://..."),
        ("simplecache::nowhere://a", "nothing here knows nowhere://..."),
        ("file://", "name what is there too"),
        ("hf://datasets/me/parts", "a preparation may not write to the Hub"),
    ],
)
def test_addresses_that_cannot_be_written_to_are_refused_with_the_remedy(address: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        storage.check(address, "parts")
    assert words in str(caught.value)
    assert address in str(caught.value)


@pytest.mark.parametrize(("scheme", "package"), [("s3", "s3fs"), ("gs", "gcsfs"), ("abfs", "adlfs")])
def test_a_package_that_is_missing_is_named_with_its_command(
    scheme: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(
        InputError, match=rf"{scheme}://\.\.\. needs {package}; install it with `pip install {package}`"
    ):
        storage.check(f"{scheme}://bucket/parts", "parts")


@pytest.mark.parametrize("scheme", ["ftp", "sftp", "nowhere"])
def test_a_password_in_an_address_is_refused_and_not_repeated(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paramiko", None)
    with pytest.raises(InputError, match="parts is an address with a password; leave it out") as caught:
        storage.check(f"{scheme}://me:sesame@host/parts", "parts")
    assert "sesame" not in str(caught.value)


def test_parts_in_a_folder_with_too_long_a_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"parts is .*; shorten the path: a name has at most 255 bytes"):
        storage.check(str(tmp_path / ("x" * 256)), "parts")
    storage.check(str(tmp_path / ("x" * 255)), "parts")
