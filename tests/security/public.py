"""A page that others can reach, with a canary in every secret, and measurements of it from outside."""

from __future__ import annotations

import hashlib
import itertools
import os
from pathlib import Path

import psutil

from pipeline.core.paths import Home
from tests.homes import write_corpus, write_run
from tests.page import Page
from tests.posts import get, log_of

CANARY = "CANARY7f3a"
OWNER_KEY = f"{CANARY}-owner-0123456789-abcdef"
SECRETS = {
    "PIPELINE_OWNER_KEY": OWNER_KEY,
    "HF_TOKEN": f"hf_{CANARY}tokentokentoken",
    "AWS_SECRET_ACCESS_KEY": f"{CANARY}-bucket",
    "OPENAI_API_KEY": f"{CANARY}-model",
    "DATABASE_URL": f"postgres://me:{CANARY}@db/x",
    "SECRET": f"{CANARY}-any",
}
PUBLIC = {"GRADIO_SERVER_NAME": "0.0.0.0", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", **SECRETS}
NOBODY = "http://127.0.0.1:9"
"""A Hub endpoint where nobody listens: the tests contact no other machine."""
IDLE = frozenset({"pipeline.data.preview", "pipeline.generation"})
"""Modules of the page's own processes that serve visitors."""
CHANGING = ("page.log", "scans/", ".lock", "worker.log", "generator.log", "hf/", "audit")
"""Parts of the names of files that the page writes by itself, for any visitor."""
MB = 2**20

_addresses = itertools.count(1)


class PublicPage(Page):
    """`folder/home`, with one run and one corpus, and canaries in files beside and inside the home."""

    def __init__(self, folder: Path, **environment: str) -> None:
        client = {"HF_ENDPOINT": NOBODY, "HF_HOME": str(folder / "hf")}
        super().__init__(folder / "home", **{**PUBLIC, **client, **environment})
        self.beside, self.inside = folder / "canary.txt", self.home / "canary.txt"
        for path in (self.beside, self.inside, folder / "hf" / "token"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{CANARY}-{path.name}\n")
        write_corpus(Home(self.home), "ready")
        write_run(Home(self.home), "calm-kea")

    # ---- measurements ----

    def tree(self) -> dict[str, str]:
        """Digest of every file of the home that no visitor may change, by name."""
        files = (path for path in sorted(self.home.rglob("*")) if path.is_file())
        named = {path.relative_to(self.home).as_posix(): path for path in files}
        kept = {name: path for name, path in named.items() if not any(part in name for part in CHANGING)}
        return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in kept.items()}

    def megabytes(self) -> float:
        """Resident memory of the page's own process."""
        return psutil.Process(self.pid).memory_info().rss / MB

    def modules(self) -> set[str]:
        """Modules that run in the processes of this page and of its home, without those in IDLE."""
        return {module_of(process) for process in self.processes()} - IDLE - {""}

    def processes(self) -> list[psutil.Process]:
        found = {process.pid: process for process in psutil.Process(self.pid).children(recursive=True)}
        for process in psutil.process_iter():
            if process.pid != self.pid and _environ(process).get("PIPELINE_HOME") == str(self.home):
                found[process.pid] = process
        return list(found.values())

    def faults(self) -> int:
        """Tracebacks in the page's log."""
        return log_of(self).count("Traceback")

    def is_alive(self) -> bool:
        return get(self, "/studio/who", x_forwarded_for=address())[0] == 200

    def secrets_found(self) -> list[str]:
        """Where others could read a secret's canary: files but our canary files, environments, command lines."""
        own = {self.beside, self.inside, self.home.parent / "hf" / "token"}
        files = [path for path in self.home.parent.rglob("*") if path.is_file() and path not in own]
        found = [str(path) for path in files if CANARY.encode() in path.read_bytes()]
        for process in [psutil.Process(self.pid), *self.processes()]:
            for name in ("environ", "cmdline"):
                path = Path(f"/proc/{process.pid}/{name}")
                if CANARY.encode() in _read(path):
                    found.append(f"{name} of {module_of(process) or 'the page'}")
        return found


def weakened(name: str) -> type[PublicPage]:
    """A page without the guard `name` of weakened.py: the control of an attack."""

    class Weakened(PublicPage):
        command = ("-m", "tests.security.weakened", name)

    return Weakened


def address() -> str:
    """A new client address for each call, as a known proxy would report it."""
    number = next(_addresses)
    return f"11.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def module_of(process: psutil.Process) -> str:
    """`pipeline.jobs` of `python -m pipeline.jobs`; empty when it runs none, or has exited."""
    try:
        words = process.cmdline()
    except psutil.Error:
        return ""
    return words[words.index("-m") + 1] if "-m" in words[:-1] else ""


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except (psutil.Error, OSError):
        return {}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it has gone, or belongs to another user
        return b""


def is_root() -> bool:
    return os.geteuid() == 0
