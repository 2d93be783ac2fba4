"""What a confined process can still do, and that each layer works alone: with one disabled, the other still refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.environment import child_environment
from pipeline.core.paths import ROOT

CONFINED = """
import json, os, socket, sys
from pathlib import Path
from pipeline.core import confinement
options = json.loads(sys.argv[1])
if options.get("native"):
    import polars
disabled = {{"landlock": ("_landlock", lambda *_: False), "limits": ("_limit_resources", lambda *_: None),
           "hooks": ("_Hook", lambda *_: lambda event, arguments: None)}}
for name in options.get("without", []):
    setattr(confinement, *disabled[name])
layers = confinement.confine(confinement.Confinement(
    memory_bytes=2**30, file_bytes=2**20, folder=Path(options["folder"]), hub_endpoint=options.get("endpoint"),
    reads_all_files=options.get("reads_all_files", False)))
def attempt():
    {body}
try:
    found = attempt()
except BaseException as error:
    found = type(error).__name__
print(json.dumps([layers, found]))
"""


def confined(body: str, folder: Path, **options: object) -> tuple[list[str], object]:
    """The layers of a process confined to `folder`, and what the lines `body` return there, or their error's type."""
    lines = body.strip().replace("\n", "\n    ")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            CONFINED.format(body=lines),
            json.dumps({"folder": str(folder), "native": "polars" in body, **options}),
        ],
        env={**child_environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr[-2000:] or f"exit status {done.returncode}"
    layers, found = json.loads(done.stdout.splitlines()[-1])
    return layers, found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own").mkdir()
    (tmp_path / "secret.csv").write_text("canary\n")
    return tmp_path / "own"


HAS_LANDLOCK = "landlock" in confined("return 1", Path("/tmp"))[0] if sys.platform == "linux" else False
needs_landlock = pytest.mark.skipif(not HAS_LANDLOCK, reason="this kernel has no Landlock")
OPEN = "return open('../secret.csv').read()"
NATIVE = "return polars.read_csv('../secret.csv').columns[0]"
"""Opens the file in Rust code, which Python's audit hooks do not see."""


def test_its_own_folder_can_be_written_and_libraries_imported(folder: Path) -> None:
    body = "open('x', 'w').write('ab')\nimport http.server\nreturn open('x').read()"
    assert confined(body, folder)[1] == "ab"


@pytest.mark.parametrize(
    "path", ["../secret.csv", "/etc/passwd", "/proc/self/environ", "/proc/1/environ", "/root/.bashrc"]
)
def test_other_files_are_closed(folder: Path, path: str) -> None:
    found = confined(f"return open({path!r}, 'rb').read().decode('latin-1')", folder)[1]
    assert found in ("PermissionError", "FileNotFoundError")


def test_a_symlink_out_of_its_folder_is_refused(folder: Path) -> None:
    (folder / "link").symlink_to(folder.parent / "secret.csv")
    assert confined("return open('link').read()", folder)[1] == "PermissionError"


def test_without_landlock_pythons_hooks_refuse(folder: Path) -> None:
    assert confined(OPEN, folder, without=["landlock"]) == (["limits", "hooks"], "PermissionError")


@needs_landlock
@pytest.mark.parametrize("body", [OPEN, NATIVE])
def test_without_hooks_the_kernel_refuses(folder: Path, body: str) -> None:
    assert confined(body, folder, without=["hooks"])[1] == "PermissionError"


@pytest.mark.parametrize("body", [OPEN, NATIVE])
def test_without_hooks_and_landlock_the_file_is_read(folder: Path, body: str) -> None:
    """Control."""
    found = confined(body, folder, without=["hooks", "landlock"])[1]
    assert str(found).strip() == "canary"


def test_the_owners_files_are_read_and_not_written(folder: Path) -> None:
    options = {"reads_all_files": True}
    assert confined(OPEN, folder, **options)[1] == "canary\n"
    assert confined(NATIVE, folder, **options)[1] == "canary"
    assert confined("return open('../secret.csv', 'a').write('x')", folder, **options)[1] == "PermissionError"


CONNECT = "with socket.create_connection(('127.0.0.1', {port}), timeout=5) as one:\n    return 'connected'"


@pytest.fixture
def port() -> object:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_the_endpoint_is_reached_and_no_other_address(folder: Path, port: int) -> None:
    body = CONNECT.format(port=port)
    assert confined(body, folder, endpoint=f"http://127.0.0.1:{port}")[1] == "connected"
    assert confined(body, folder, endpoint="https://huggingface.co")[1] == "PermissionError"
    assert confined(body, folder)[1] == "PermissionError"
    assert confined(body, folder, without=["hooks", "landlock"])[1] == "connected", "control"


@needs_landlock
def test_another_port_is_refused_by_the_kernel(folder: Path, port: int) -> None:
    found = confined(CONNECT.format(port=port), folder, endpoint=f"http://127.0.0.1:{port - 1}", without=["hooks"])
    assert found[1] == "PermissionError"


@pytest.mark.parametrize(
    "host", ["example.org", "127.0.0.2", "localhost.evil.example", "xhuggingface.co", "169.254.169.254"]
)
def test_other_host_names_are_not_even_resolved(folder: Path, host: str) -> None:
    body = f"return socket.getaddrinfo({host!r}, 443)"
    assert confined(body, folder, endpoint="https://huggingface.co")[1] == "PermissionError"


@pytest.mark.parametrize(
    "body",
    [
        "import subprocess\nreturn subprocess.run(['id']).returncode",
        "return os.system('id')",
        "return os.fork()",
        "return os.posix_spawn('/bin/true', ['true'], {})",
        "os.kill(os.getppid(), 0)\nreturn 'reached'",
        "import ctypes\nreturn ctypes.CDLL(None).getpid()",
        "s = socket.socket()\ns.bind(('127.0.0.1', 0))\nreturn 'bound'",
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.sendto(b'x', ('127.0.0.1', 9))\nreturn 'sent'",
        "s = socket.socket(socket.AF_UNIX)\ns.connect('/tmp/x')\nreturn 'connected'",
    ],
)
def test_processes_and_other_sockets_are_closed(folder: Path, body: str) -> None:
    assert confined(body, folder)[1] == "PermissionError"


def test_memory_is_limited(folder: Path) -> None:
    body = "x = bytearray(3 * 2**29)\nreturn len(x)"
    assert confined(body, folder)[1] == "MemoryError"
    assert confined(body, folder, without=["limits"])[1] == 3 * 2**29, "control"


def test_the_size_of_a_file_is_limited(folder: Path) -> None:
    assert confined("return open('x', 'wb').write(bytes(2**22))", folder)[1] == "OSError"
