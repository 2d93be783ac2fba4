"""Sandbox of a process that reads untrusted data: limits its memory, files, network addresses and child processes.

Three independent layers, applied before the first byte is read: resource limits; Landlock, with which the kernel
refuses files and ports to all code of the process (Linux 5.13 and newer:
https://docs.kernel.org/userspace-api/landlock.html); Python audit hooks, which refuse files and addresses where there
is no Landlock, and host names, which Landlock does not know. The process cannot undo any of them.
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

from pipeline.core import system_calls
from pipeline.core.paths import ROOT
from pipeline.core.system_calls import refuse_system_calls

OPEN_FILES = 512
PROGRAM_FILES = 64
"""With the size of a file, also the limit of what a program may write into files that it has deleted."""
NICENESS = 10
"""Lower CPU priority than the page's."""
PR_SET_NO_NEW_PRIVS = 38
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""Numbers of the Landlock system calls, the same on every architecture."""
GET_VERSION = 1
RULE_PATH, RULE_PORT = 1, 2
READ_RIGHTS = 1 << 2 | 1 << 3
"""Read a file, list a folder."""
FILE_RIGHTS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14
"""Execute, write, read, truncate. All other rights apply to folders only."""
ALL_RIGHTS = (1 << 13) - 1
"""File rights of Landlock version 1; version 2 adds linking across folders (1 << 13), 3 truncation (1 << 14)."""
BIND_TCP, CONNECT_TCP = 1, 2
"""Network rights, from Landlock version 4."""
CAPABILITY_VERSION = 0x20080522
SCOPES = 3
"""Refuses abstract Unix sockets and signals to processes outside the sandbox, from Landlock version 6."""
SYSTEM_PATHS = (
    "/usr /lib /lib64 /lib32 /nix/store /etc/ssl /etc/pki /etc/ca-certificates /etc/resolv.conf /etc/hosts /etc/host.conf "
    "/etc/nsswitch.conf /etc/gai.conf /etc/services /etc/protocols /etc/localtime /etc/timezone /etc/mime.types /etc/ld.so.cache "
    "/etc/ld.so.conf /etc/ld.so.conf.d /run/systemd/resolve /mnt/wsl/resolv.conf "
    "/dev/null /dev/zero /dev/urandom /dev/random "
    "/proc/cpuinfo /proc/meminfo /proc/stat /proc/sys /sys/fs/cgroup /sys/devices/system /sys/kernel/mm"
).split()
"""Paths without secrets that libraries read: their own files, certificates, name resolution, hardware information."""
CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
HUB_DOMAINS = ("huggingface.co", "hf.co")
"""Domains that the Hub redirects file downloads to."""
FORBIDDEN_EVENTS = frozenset(
    "subprocess.Popen os.system os.exec os.posix_spawn os.spawn os.fork os.forkpty pty.spawn os.kill os.killpg "
    "ctypes.dlopen ctypes.dlsym socket.bind socket.sendto socket.sendmsg os.putenv os.chmod os.chown os.link os.symlink "
    "urllib.Request ftplib.connect smtplib.connect telnetlib.Telnet.open imaplib.open poplib.connect nntplib.connect".split()
)


@dataclass(frozen=True, kw_only=True)
class Confinement:
    """What a confined process may still use."""

    memory_bytes: int
    """Limit on data memory (RLIMIT_DATA): memory that the process writes, not files that it maps."""
    file_bytes: int
    """Size of the largest file it may write."""
    folder: Path
    """The only folder that it may write to; its working directory."""
    reads_all_files: bool = False
    """Whether it may read every file: for the owner's own files, not for untrusted data."""
    hub_endpoint: str | None = None
    """The Hub that it may connect to, such as `https://huggingface.co`; None: none."""
    servers: tuple[str, ...] = ()
    """Addresses of the other servers that it may connect to. Without any and without a Hub: no network at all."""
    readable: tuple[Path, ...] = ()
    """More files and folders that it may read; those that do not exist are left out."""


def confine(limits: Confinement) -> list[str]:
    """Confine this process to `limits`. Returns the layers in force on this system: `limits`, `landlock`, `hooks`.

    Import heavy modules first: modules outside the Python installation cannot be imported afterwards.
    """
    os.chdir(limits.folder)
    _limit_resources(limits)
    _drop_capabilities()
    paths = None if limits.reads_all_files else [*readable_paths(), *_existing(limits.readable)]
    has_landlock = _landlock(paths, limits.folder, _ports(_servers(limits)))
    sys.addaudithook(_Hook(limits, paths))
    return ["limits", *(["landlock"] if has_landlock else []), "hooks"]


def confine_program(limits: Confinement, *, cpu_seconds: int) -> None:
    """Confine this process, which then runs a program that nobody has read, to `limits`, without network, other processes
    and this project's own files. By the kernel alone: such a program could get round Python's hooks.

    Raises OSError where the kernel lacks Landlock or filters of system calls.
    """
    os.chdir(limits.folder)
    _limit_resources(limits)
    _lower(resource.RLIMIT_AS, _mapped_bytes() + limits.memory_bytes)  # shared memory is no data
    _lower(resource.RLIMIT_CPU, cpu_seconds)
    _lower(resource.RLIMIT_NOFILE, PROGRAM_FILES)
    _drop_capabilities()
    paths = [path for path in readable_paths() if not _is_own(path)]
    if not _landlock([*paths, *_existing(limits.readable)], limits.folder, ()):
        raise OSError(errno.ENOSYS, "this kernel has no Landlock")
    refuse_system_calls()


def can_confine_programs() -> bool:
    """Whether this system has what `confine_program` needs."""
    return system_calls.is_supported() and _landlock_version() >= 3  # truncation is refused from version 3 on


def _existing(paths: Iterable[Path]) -> list[Path]:
    return [path.resolve() for path in paths if path.exists()]


def _is_own(path: Path) -> bool:
    return path in ((ROOT / "pipeline").resolve(), (ROOT / "assets").resolve())


def _mapped_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


def readable_paths() -> list[Path]:
    """Files and folders that any Python process needs to read."""
    # Not all of sys.path: it includes PYTHONPATH, and the project's root, where the home folder may be.
    packages = [name for name in sys.path if name.endswith(("site-packages", "dist-packages"))]
    python = [sys.prefix, sys.base_prefix, sys.exec_prefix, *packages]
    certificates = [os.environ[name] for name in CERTIFICATE_VARIABLES if os.environ.get(name)]
    named = [*python, str(ROOT / "pipeline"), str(ROOT / "assets"), *SYSTEM_PATHS, *certificates]
    paths = {Path(name).resolve() for name in named} - {Path("/")}
    return sorted(path for path in paths if path.exists())


def _limit_resources(limits: Confinement) -> None:
    for kind, maximum in (
        (resource.RLIMIT_DATA, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
    ):
        _lower(kind, maximum)
    os.nice(NICENESS)
    with contextlib.suppress(OSError):  # when memory runs out, the kernel kills this process first
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def limit_memory(num_bytes: int) -> None:
    """From now on this process allocates at most `num_bytes`; more is a MemoryError, or ends the process."""
    _lower(resource.RLIMIT_DATA, num_bytes)


def _lower(kind: int, maximum: int) -> None:
    """Set a resource limit to `maximum`, or to its hard limit if that is lower."""
    _, hard = resource.getrlimit(kind)
    limit = maximum if hard == resource.RLIM_INFINITY else min(maximum, hard)
    with contextlib.suppress(ValueError):  # macOS defines some of these limits but refuses to set them
        resource.setrlimit(kind, (limit, limit))


def _drop_capabilities() -> None:
    """Drop the privileges of root, such as raw sockets and other processes' memory. Other users have none to drop."""
    if sys.platform == "linux":
        ctypes.CDLL(None).capset(struct.pack("Ii", CAPABILITY_VERSION, 0), struct.pack("6I", *[0] * 6))


# ---- the kernel ----


def _landlock(readable: list[Path] | None, writable: Path, ports: Iterable[int]) -> bool:
    """Have the kernel refuse other files and TCP ports; `readable` None allows reading all. False if unsupported."""
    if sys.platform != "linux":
        return False
    library = ctypes.CDLL(None, use_errno=True)
    if (version := _landlock_version()) < 1:
        return False
    rights = ALL_RIGHTS | (1 << 13 if version >= 2 else 0) | (1 << 14 if version >= 3 else 0)
    network, scopes = BIND_TCP | CONNECT_TCP if version >= 4 else 0, SCOPES if version >= 6 else 0
    handled = struct.pack("QQQ", rights, network, scopes)
    size = 24 if scopes else 16 if network else 8  # older kernels know fewer fields
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


def _landlock_version() -> int:
    """0 or less where the kernel has none."""
    if sys.platform != "linux":
        return 0
    return int(ctypes.CDLL(None).syscall(CREATE_RULESET, None, ctypes.c_size_t(0), GET_VERSION))


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
    """Audit hook, called by Python at every audited event (https://docs.python.org/3/library/audit_events.html)."""

    def __init__(self, limits: Confinement, readable: list[Path] | None) -> None:
        self._hosts = _hosts(limits)
        self._prefixes = None if readable is None else _prefixes([*readable, limits.folder])
        self._folder = _prefixes([limits.folder])
        self._addresses: set[str] = set()
        """Addresses that the allowed host names resolved to; connections to any other are refused."""
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
        if isinstance(path, int):  # a descriptor that is already open
            return
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) or (mode or "r")[:1] in ("w", "a", "x", "+")
        allowed = self._folder if writes else self._prefixes
        if allowed is not None and not f"{os.path.realpath(os.fsdecode(path))}/".startswith((*allowed, "/dev/null/")):
            raise PermissionError(errno.EACCES, "this file is closed to this process")

    def _check_name(self, host: Any) -> None:
        name = os.fsdecode(host).lower().rstrip(".") if isinstance(host, (str, bytes)) else ""
        if not any(name == allowed or name.endswith(f".{allowed}") for allowed in self._hosts):
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


def _servers(limits: Confinement) -> tuple[str, ...]:
    return (*((limits.hub_endpoint,) if limits.hub_endpoint else ()), *limits.servers)


def _hosts(limits: Confinement) -> tuple[str, ...]:
    """Host names that may be resolved: the servers, the domains the Hub redirects downloads to, and the proxies."""
    servers = _servers(limits)
    if not servers:
        return ()
    hosts = [(urlsplit(address).hostname or "").lower() for address in (*servers, *_proxies())]
    redirects = HUB_DOMAINS if limits.hub_endpoint and not _is_address(hosts[0]) else ()
    return tuple(filter(None, [*hosts, *redirects]))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def _ports(servers: Iterable[str]) -> set[int]:
    servers = [*servers]
    addresses = [urlsplit(address) for address in (*servers, *(_proxies() if servers else ()))]
    return {address.port or (80 if address.scheme == "http" else 443) for address in addresses}


def _proxies() -> list[str]:
    return [os.environ[name] for name in PROXY_VARIABLES if os.environ.get(name)]
