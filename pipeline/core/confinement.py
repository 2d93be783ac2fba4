"""What a process that reads strangers' data gives up before it reads the first byte: memory, files, addresses, processes.

Each layer stands by itself: resource limits; Landlock, by which the kernel refuses files and ports to all code of the process
(Linux 5.13 and newer: https://docs.kernel.org/userspace-api/landlock.html); audit hooks, by which Python refuses them where
there is no Landlock, and hosts by name, which Landlock does not know. Nothing of it can be undone by the process.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import ipaddress
import os
import resource
import socket
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.core.paths import ROOT

OPEN_FILES = 512
NICENESS = 10
"""The page answers first."""
PR_SET_NO_NEW_PRIVS = 38
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""System calls, the same on every architecture."""
GET_VERSION = 1
RULE_PATH, RULE_PORT = 1, 2
READ_RIGHTS = 1 << 2 | 1 << 3
"""Read a file, list a folder."""
FILE_RIGHTS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14
"""Execute, write, read, truncate: the others are rights of folders."""
ALL_RIGHTS = (1 << 13) - 1
"""Of files, in version 1; 2 adds linking across folders (1 << 13), 3 truncating (1 << 14)."""
BIND_TCP, CONNECT_TCP = 1, 2
"""From version 4 on."""
CAPABILITY_VERSION = 0x20080522
SCOPES = 3
"""Abstract sockets and signals reach no process outside, from version 6 on."""
SYSTEM_PATHS = (
    "/usr /lib /lib64 /lib32 /nix/store /etc/ssl /etc/pki /etc/ca-certificates /etc/resolv.conf /etc/hosts /etc/host.conf "
    "/etc/nsswitch.conf /etc/gai.conf /etc/services /etc/protocols /etc/localtime /etc/timezone /etc/mime.types /etc/ld.so.cache "
    "/etc/ld.so.conf /etc/ld.so.conf.d /run/systemd/resolve /mnt/wsl/resolv.conf "
    "/dev/null /dev/zero /dev/urandom /dev/random "
    "/proc/cpuinfo /proc/meminfo /proc/stat /proc/sys /sys/fs/cgroup /sys/devices/system /sys/kernel/mm"
).split()
"""What libraries read that hold no secrets: themselves, certificates, name resolution, what machine this is."""
CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
HUB_DOMAINS = ("huggingface.co", "hf.co")
"""Where the Hub sends whoever asks it for a file."""
FORBIDDEN_EVENTS = frozenset(
    "subprocess.Popen os.system os.exec os.posix_spawn os.spawn os.fork os.forkpty pty.spawn os.kill os.killpg "
    "ctypes.dlopen ctypes.dlsym socket.bind socket.sendto socket.sendmsg os.putenv os.chmod os.chown os.link os.symlink "
    "urllib.Request ftplib.connect smtplib.connect telnetlib.Telnet.open imaplib.open poplib.connect nntplib.connect".split()
)


@dataclass(frozen=True, kw_only=True)
class Confinement:
    """What is left to a process."""

    memory_bytes: int
    """Of data: what the process writes to memory, not what it maps."""
    file_bytes: int
    """Size of the largest file it may write."""
    folder: Path
    """Where alone it may write; its working directory."""
    reads_all_files: bool = False
    """For an owner's own files; a stranger's data is read without."""
    hub_endpoint: str | None = None
    """The one server that may be asked, as `https://huggingface.co`; None: none at all."""


def confine(limits: Confinement) -> list[str]:
    """Give up everything else. Returns the layers that are in force on this system: `limits`, `landlock`, `hooks`.

    Import what is heavy before: what lies outside the Python installation cannot be imported afterwards.
    """
    os.chdir(limits.folder)
    _limit_resources(limits)
    _drop_capabilities()
    paths = None if limits.reads_all_files else readable_paths()
    has_landlock = _landlock(paths, limits.folder, _ports(limits.hub_endpoint))
    sys.addaudithook(_Hook(limits, paths))
    return ["limits", *(["landlock"] if has_landlock else []), "hooks"]


def readable_paths() -> list[Path]:
    """Files and folders that a process needs in order to run at all."""
    # Not all of sys.path: the project's own folder is on it, where the home may lie, and whatever PYTHONPATH names.
    packages = [name for name in sys.path if name.endswith(("site-packages", "dist-packages"))]
    python = [sys.prefix, sys.base_prefix, sys.exec_prefix, *packages]
    certificates = [os.environ[name] for name in CERTIFICATE_VARIABLES if os.environ.get(name)]
    named = [*python, str(ROOT / "pipeline"), str(ROOT / "assets"), *SYSTEM_PATHS, *certificates]
    paths = {Path(name).resolve() for name in named} - {Path("/")}
    return sorted(path for path in paths if path.exists())


def _limit_resources(limits: Confinement) -> None:
    for kind, most in (
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
    ):
        _, hard = resource.getrlimit(kind)
        own = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(ValueError):  # macOS knows some of them and sets none
            resource.setrlimit(kind, (own, own))
    os.nice(NICENESS)
    with contextlib.suppress(OSError):  # of all processes of this container, the kernel ends this one first
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _drop_capabilities() -> None:
    """What root may do beyond its own files: raw sockets, others' memory. Nothing to give up for anybody else."""
    if sys.platform == "linux":
        ctypes.CDLL(None).capset(struct.pack("Ii", CAPABILITY_VERSION, 0), struct.pack("6I", *[0] * 6))


# ---- the kernel ----


def _landlock(readable: list[Path] | None, writable: Path, ports: Iterable[int]) -> bool:
    """Have the kernel refuse other files (all may be read when `readable` is None) and TCP ports. False where it cannot."""
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    version = library.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), GET_VERSION)
    if version < 1:
        return False
    rights = ALL_RIGHTS | (1 << 13 if version >= 2 else 0) | (1 << 14 if version >= 3 else 0)
    network, scopes = BIND_TCP | CONNECT_TCP if version >= 4 else 0, SCOPES if version >= 6 else 0
    handled = struct.pack("QQQ", rights, network, scopes)
    size = 24 if scopes else 16 if network else 8  # an older kernel knows no more of it
    ruleset = library.syscall(CREATE_RULESET, handled, ctypes.c_size_t(size), 0)
    _check(ruleset)
    try:
        for path in [Path("/")] if readable is None else readable:
            _allow(library, ruleset, path, READ_RIGHTS)
        _allow(library, ruleset, writable, rights)
        for port in ports if network else ():
            _check(library.syscall(ADD_RULE, ruleset, RULE_PORT, struct.pack("QQ", CONNECT_TCP, port), 0))
        _check(library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _check(library.syscall(RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def _allow(library: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    if not path.is_dir():
        rights &= FILE_RIGHTS
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        _check(library.syscall(ADD_RULE, ruleset, RULE_PATH, struct.pack("=Qi", rights, descriptor), 0))
    finally:
        os.close(descriptor)


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"Landlock: {os.strerror(number)}")


# ---- Python ----


class _Hook:
    """Called by Python at every event it audits (https://docs.python.org/3/library/audit_events.html)."""

    def __init__(self, limits: Confinement, readable: list[Path] | None) -> None:
        self._endpoint = limits.hub_endpoint
        self._hosts = _hosts(limits.hub_endpoint)
        self._prefixes = None if readable is None else _prefixes([*readable, limits.folder])
        self._folder = _prefixes([limits.folder])
        self._addresses: set[str] = set()
        """What the allowed names resolved to: nothing else is connected to."""
        socket.getaddrinfo = self._resolving(socket.getaddrinfo)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            self._check_file(*arguments[:3])
        elif event == "socket.getaddrinfo":
            self._check_name(arguments[0])
        elif event == "socket.connect":
            self._check_address(arguments[1])
        elif event in FORBIDDEN_EVENTS:
            raise PermissionError(errno.EPERM, f"{event} is closed to this process")

    def _check_file(self, path: Any, mode: str | None, flags: int) -> None:
        if isinstance(path, int):  # a descriptor that is open already
            return
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) or (mode or "r")[:1] in ("w", "a", "x", "+")
        allowed = self._folder if writes else self._prefixes
        if allowed is not None and not f"{os.path.realpath(os.fsdecode(path))}/".startswith((*allowed, "/dev/null/")):
            raise PermissionError(errno.EACCES, "this file is closed to this process")

    def _check_name(self, host: Any) -> None:
        name = os.fsdecode(host).lower().rstrip(".") if isinstance(host, (str, bytes)) else ""
        if not any(name == known or name.endswith(f".{known}") for known in self._hosts):
            raise PermissionError(errno.EACCES, "this host is closed to this process")

    def _check_address(self, address: Any) -> None:
        if not (isinstance(address, tuple) and address[0] in self._addresses):
            raise PermissionError(errno.EACCES, "this address is closed to this process")

    def _resolving(self, resolve: Any) -> Any:
        def getaddrinfo(*arguments: Any, **settings: Any) -> Any:
            found = resolve(*arguments, **settings)
            self._addresses.update(str(entry[4][0]) for entry in found)
            return found

        return getaddrinfo


def _prefixes(paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(f"{os.path.realpath(path)}/" for path in paths)


def _hosts(endpoint: str | None) -> tuple[str, ...]:
    """The names that may be resolved: the endpoint, where it sends us for files, and a proxy on the way to it."""
    if endpoint is None:
        return ()
    host = (urlsplit(endpoint).hostname or "").lower()
    proxies = [(urlsplit(address).hostname or "").lower() for address in _proxies()]
    return tuple(filter(None, [host, *proxies, *(() if _is_address(host) else HUB_DOMAINS)]))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def _ports(endpoint: str | None) -> set[int]:
    addresses = [urlsplit(address) for address in ([endpoint, *_proxies()] if endpoint else [])]
    return {address.port or (80 if address.scheme == "http" else 443) for address in addresses}


def _proxies() -> list[str]:
    return [os.environ[name] for name in PROXY_VARIABLES if os.environ.get(name)]
