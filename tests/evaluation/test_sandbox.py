"""Programs that want to get out of the sandbox, take more than their share, or outlive it; and ordinary ones."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.core import program_needs
from pipeline.core.errors import InputError, PipelineError
from pipeline.core.paths import ROOT
from pipeline.evaluation.sandbox import Program, ProgramResult, Sandbox
from tests.evaluation import CONFINES

pytestmark = [pytest.mark.slow, CONFINES]

SECONDS = 4.0


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(seconds=SECONDS, memory_bytes=10**9, num_processes=1) as sandbox:
        yield sandbox


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("token")
    return path


def run(sandbox: Sandbox, text: str, check: str = "") -> ProgramResult:
    (outcome,) = sandbox.run([Program(text, check)])
    return outcome


@pytest.mark.parametrize(
    ("text", "check", "stage", "error"),
    [
        ("x = 1", "assert x == 1", "passed", ""),
        ("x = 1", "assert x == 2", "check", "AssertionError"),
        ("x = y", "", "run", "NameError: name 'y' is not defined"),
        ("x = = 1", "", "parse", "SyntaxError: invalid syntax"),
        ("x = '\\ud800'\nraise ValueError(x)", "", "run", "ValueError"),
        ("raise SystemExit(0)", "", "run", "SystemExit: 0"),
        ("import os\nos._exit(0)", "", "run", "exited with status 0"),
        ("import ctypes\nctypes.string_at(0)", "", "run", "SIGSEGV"),
        ("def f(): return f()\nf()", "", "run", "RecursionError"),
        ("import numpy as np\nnp.save('a.npy', np.ones(3))", "assert np.load('a.npy').sum() == 3", "passed", ""),
        ("import matplotlib.pyplot as plt\nplt.plot([1])\nplt.savefig('a.png')", "", "passed", ""),
        ("from sklearn.cluster import KMeans\nKMeans(2, n_init=1).fit([[1.0], [2.0]])", "", "passed", ""),
        ("import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()", "", "passed", ""),
        ("print('x' * 10_000_000)\ninput()", "", "run", "EOFError"),
    ],
)
def test_an_ordinary_program_ends_at_its_stage(sandbox: Sandbox, text: str, check: str, stage: str, error: str) -> None:
    outcome = run(sandbox, text, check)
    assert outcome.stage == stage and error in outcome.error


OUT = {
    "read a file": "open({secret!r}).read()",
    "read it by descriptor": "import os\nos.open({secret!r}, os.O_RDONLY)",
    "list its folder": "import os\nos.listdir({folder!r})",
    "overwrite it": "open({secret!r}, 'w')",
    "truncate it": "import os\nos.truncate({secret!r}, 0)",
    "delete it": "import os\nos.remove({secret!r})",
    "rename it": "import os\nos.rename({secret!r}, 'x')",
    "link it": "import os\nos.link({secret!r}, 'x')",
    "read it through a link": "import os\nos.symlink({secret!r}, 'x')\nopen('x').read()",
    "change its permissions": "import os\nos.chmod({secret!r}, 0)",
    "change its owner": "import os\nos.chown({secret!r}, 1, 1)",
    "change its time": "import os\nos.utime({secret!r}, (0, 0))",
    "mark it": "import os\nos.setxattr({secret!r}, 'user.x', b'1')",
    "write beside it": "open({folder!r} + '/new', 'w')",
    "write into the temporary folder": "open('/tmp/new-file', 'w')",
    "read the environment": "open('/proc/self/environ').read()",
    "read the parent's environment": "import os\nopen(f'/proc/{{os.getppid()}}/environ').read()",
    "read the parent's memory": "import os\nopen(f'/proc/{{os.getppid()}}/mem', 'rb').read(1)",
    "list processes": "import os\nos.listdir('/proc')",
    "read passwords": "open('/etc/passwd').read()",
    "import this project": "import pipeline",
    "import it by its path": "import sys\nsys.path.insert(0, {root!r})\nimport pipeline.core.paths",
    "read this project": "open({root!r} + '/app.py').read()",
    "connect": "import socket\nsocket.create_connection(('127.0.0.1', {port}))",
    "send a datagram": "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))",
    "listen": "import socket\nsocket.create_server(('127.0.0.1', 0))",
    "resolve a name": "import socket\nsocket.getaddrinfo('localhost', 80)[0]\nsocket.socket()",
    "open a raw socket": "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
    "talk over a Unix socket": "import socket\nsocket.socket(socket.AF_UNIX).connect('\\0x')",
    "fetch a page": "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:{port}')",
    "fork": "import os\nos.fork()",
    "fork without Python's hooks": (
        "import _posixsubprocess as p, os\nr, w = os.pipe()\n"
        "p.fork_exec([b'/bin/true'], [b'/bin/true'], True, (w,), None, None, -1, -1, -1, -1, -1, -1, r, w, True, False,"
        " -1, None, None, None, -1, None, True)"
    ),
    "start a process": "import subprocess\nsubprocess.run(['/bin/true'])",
    "start a shell": "import os\nif os.system('true') != 0: raise PermissionError",
    "become another program": "import os\nos.execv('/bin/true', ['true'])",
    "start a pool": "import multiprocessing\nmultiprocessing.get_context('fork').Process(target=print).start()",
    "end its parent": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)",
    "end everything": "import os, signal\nos.kill(-1, signal.SIGKILL)",
    "call the kernel itself": "import ctypes\nif ctypes.CDLL(None).syscall(57) < 0: raise PermissionError",
    "trace its parent": "import ctypes, os\nif ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0): raise PermissionError",
    "limit its parent": "import os, resource as r\nr.prlimit(os.getppid(), r.RLIMIT_CPU, (0, 0))",
    "slow its parent": "import os\nos.setpriority(os.PRIO_PROCESS, os.getppid(), 19)",
    "move its parent": "import os\nos.sched_setaffinity(os.getppid(), {{0}})",
    "signal by a file": "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, 8, os.getppid())",
    "choose that signal": "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, 10, 9)",
    "remove a semaphore": "import ctypes\nif ctypes.CDLL(None).semctl(0, 0, 0) < 0: raise PermissionError",
    "watch a folder": "import ctypes\nif ctypes.CDLL(None).inotify_init1(0) < 0: raise PermissionError",
    "map shared memory": "import mmap\nmmap.mmap(-1, 3 * 10**9)",
    "hide memory in a file": "import os\nos.memfd_create('x')",
    "take back its limits": "import resource as r\nr.setrlimit(r.RLIMIT_AS, (10**12, 10**12))",
    "read the device": "open('/dev/mem', 'rb').read(1)",
}
"""What a program tries. Each must fail, and leave no trace."""
REFUSED = "PermissionError|Operation not permitted|Permission denied"
OTHERWISE = {
    "import this project": "ModuleNotFoundError",
    "import it by its path": "ModuleNotFoundError|PermissionError",
    "link it": "Invalid cross-device link",
    "map shared memory": "Cannot allocate memory",
    "take back its limits": "not allowed to raise maximum limit|PermissionError",
    "read the device": "PermissionError|FileNotFoundError",
    "list processes": "PermissionError",
}
"""How those fail that the kernel does not just refuse."""


@pytest.fixture
def server() -> Iterator[tuple[int, list[object]]]:
    """The port of a server on loopback, and the connections that it got."""
    connections: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)

        def accept() -> None:
            while True:
                try:
                    connections.append(listener.accept())
                except TimeoutError:
                    continue
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1], connections


def facts_of(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_mode, found.st_uid, found.st_gid, found.st_size, found.st_mtime_ns, found.st_nlink


@pytest.mark.parametrize("name", OUT)
def test_nothing_gets_out(sandbox: Sandbox, secret: Path, server: tuple[int, list[object]], name: str) -> None:
    port, connections = server
    before = facts_of(secret)
    text = OUT[name].format(secret=str(secret), folder=str(secret.parent), root=str(ROOT), port=port)
    outcome = run(sandbox, text)
    assert outcome.stage == "run", outcome
    assert re.search(OTHERWISE.get(name, REFUSED), outcome.error), outcome
    assert secret.read_text() == "token" and facts_of(secret) == before
    assert [path.name for path in secret.parent.iterdir()] == ["secret"]
    assert connections == [] and not Path("/tmp/new-file").exists()
    assert run(sandbox, "x = 1").is_right, "the next program runs"


@pytest.mark.parametrize(
    "name",
    ["read a file", "change its permissions", "change its time", "import this project", "connect", "fork", "resolve a name",
     "start a process", "map shared memory", "slow its parent", "signal by a file", "fork without Python's hooks", "choose that signal", "watch a folder",
     "change its owner", "link it", "truncate it", "rename it", "list processes", "listen", "send a datagram", "start a shell", "read the parent's environment", "talk over a Unix socket"],
)  # fmt: skip
def test_control_without_the_sandbox_they_get_out(secret: Path, server: tuple[int, list[object]], name: str) -> None:
    text = OUT[name].format(secret=str(secret), folder=str(secret.parent), root=str(ROOT), port=server[0])
    text = text.replace("'\\0x'", repr(str(secret.parent / "socket")))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(secret.parent / "socket"))
        listener.listen()
        done = subprocess.run(
            [sys.executable, "-c", text],
            cwd=secret.parent,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            check=False,
            capture_output=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("while True: pass", "longer than 4 s"),
        ("import time\ntime.sleep(100)", "longer than 4 s"),
        ("import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(100)", "longer than 4 s"),
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(100,)).start()\ntime.sleep(100)", "longer"),
        (
            "import os\nos.setsid() if os.getpid() != os.getsid(0) else None\nimport time\ntime.sleep(100)",
            "longer than 4 s",
        ),
        ("x = bytearray(3 * 10**9)", "MemoryError"),
        ("x = []\nwhile True: x.append(bytearray(10**7))", "MemoryError"),
        ("with open('x', 'wb') as f: f.write(bytes(5_000_000))", "File too large"),
        (
            "n = 0\nwhile True:\n    n += 1\n    with open(f'{n}', 'wb') as f: f.write(bytes(3_900_000))",
            "more than 64 MB|Too many",
        ),
        (
            "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(100,)).start()",
            "thread|longer",
        ),
        (
            "import os\nfor n in range(1500):\n    os.mkdir('d')\n    os.chdir('d')\nwhile True: pass",
            "MB or 1,000 files",
        ),
        ("import os\nos.mkdir('d', 0o300)\nopen('d/x', 'wb').write(bytes(10**6))\nwhile True: pass", "longer|MB or"),
        ("n = 0\nwhile True:\n    open(f'{n}', 'w').close()\n    n += 1", "MB or 1,000 files"),
        (
            "import os\nkept = []\nwhile True:\n    kept.append(open('x', 'wb'))\n    os.unlink('x')\n    kept[-1].write(bytes(10**6))",
            "Too many open files",
        ),
    ],
)
def test_none_takes_more_than_its_share_or_outlives_its_limit(sandbox: Sandbox, text: str, error: str) -> None:
    outcome = run(sandbox, text)
    assert outcome.stage == "run" and re.search(error, outcome.error), outcome
    (forks,) = sandbox._all
    assert forks._process is not None
    children = Path(f"/proc/{forks._process.pid}/task/{forks._process.pid}/children").read_text().split()
    assert children == [], "nothing outlives it"
    assert not list(Path(forks._folder).glob("program-*")), "nor what it wrote"


def test_what_a_program_does_to_python_does_not_reach_the_next(sandbox: Sandbox) -> None:
    run(sandbox, "import builtins, numpy, os\nbuiltins.len = None\nnumpy.sum = None\nos.environ['X'] = '1'")
    assert run(
        sandbox, "import numpy, os\nx = numpy.sum([len('ab')])", "assert x == 2 and 'X' not in os.environ"
    ).is_right


@pytest.mark.parametrize(
    "text",
    [
        "import os\nos.write(3, b'\\n' * 5000)",
        "import os\nos.write(3, b'\\n' + b'[' * 4000 + b'\\n')\nos._exit(0)",
        "import os\nos.write(3, b'{}\\n')\nos._exit(0)",
        "import os\nos.write(3, b'\\xff' * 9000)\nos._exit(0)",
        "import os\nos.kill(os.getpid(), 35)",
        "import os\nos.close(3)",
    ],
)
def test_what_a_program_writes_into_the_pipe_ends_nothing(sandbox: Sandbox, text: str) -> None:
    (forks,) = sandbox._all
    before = forks._process
    assert run(sandbox, text).stage in ("run", "passed")
    assert run(sandbox, "x = 1").is_right and forks._process is before


def test_a_program_that_cannot_be_started_is_no_failed_program() -> None:
    with Sandbox(num_processes=1) as other:
        assert run(other, "x = 1").is_right
        shutil.rmtree(other._folder.name)
        with pytest.raises(PipelineError, match="The sandbox cannot start a program: "):
            run(other, "x = 1")


def test_the_outcomes_come_in_the_order_of_the_programs() -> None:
    with Sandbox(num_processes=2) as both:
        programs = [Program(f"x = {n}", f"assert x == {n} and x % 3") for n in range(12)]
        assert [outcome.is_right for outcome in both.run(programs)] == [n % 3 > 0 for n in range(12)]


def test_a_sandbox_that_was_killed_is_started_again(sandbox: Sandbox) -> None:
    (forks,) = sandbox._all
    assert forks._process is not None
    forks._process.kill()
    assert run(sandbox, "x = 1").is_right


def test_without_the_kernels_help_no_program_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program_needs, "can_confine_programs", lambda: False)
    with pytest.raises(InputError, match="cannot confine a program"):
        Sandbox()
