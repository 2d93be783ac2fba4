"""The package indexes that this user's pip reads: addresses, logins, certificates. Sends no request.

pip's files and variables count as they do for pip (PIP_CONFIG_FILE, pip.conf, PIP_INDEX_URL, PIP_EXTRA_INDEX_URL,
PIP_NO_INDEX, PIP_CERT); uv's variables are used where pip has no setting. Folders of this machine (`find-links`, `file:`)
are left out. Logins are part of the addresses there; here they are separate, so that no address that is shown has one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from pipeline.core.credentials import full_environment
from pipeline.core.errors import InputError

SECTIONS = ("download", "global")
"""Sections of pip.conf, the more specific one first."""
TRUE = ("1", "true", "t", "yes", "y", "on")


@dataclass(frozen=True)
class IndexAddress:
    """One index."""

    url: str
    """Without a login, and with a slash at its end."""
    login: tuple[str, str] | None = field(default=None, repr=False)
    """User name and password."""

    @property
    def origin(self) -> tuple[str, str, int | None]:
        return origin_of(self.url)


@dataclass(frozen=True)
class IndexSettings:
    """Where source distributions are found."""

    addresses: tuple[IndexAddress, ...]
    """Each is asked for every project."""
    is_off: bool = False
    """Whether pip is told to use no index."""
    certificates: str | None = None
    """File of the certificate authorities to trust; None: those of the system."""
    file_hosts: tuple[str, ...] = ()
    """Hosts other than those of `addresses` that are known to hold the files of an index."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON-serializable data, logins included."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> IndexSettings:
        addresses = tuple(IndexAddress(one["url"], one["login"] and tuple(one["login"])) for one in found["addresses"])
        return cls(addresses, found["is_off"], found["certificates"], tuple(found["file_hosts"]))


def index_settings(environ: Mapping[str, str] | None = None) -> IndexSettings:
    """The settings of pip for this user. Raises InputError when pip is missing or its files cannot be read."""
    environ = full_environment() if environ is None else environ
    files = _PipFiles()

    def value(name: str) -> str:
        return environ.get(f"PIP_{name.upper().replace('-', '_')}") or files.value(name)

    main = value("index-url") or environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL") or files.default_index
    more = value("extra-index-url") or environ.get("UV_EXTRA_INDEX_URL") or ""
    found = [address for text in [main, *more.split()] if (address := _address(text))]
    is_default = urlsplit(main).hostname == urlsplit(files.default_index).hostname
    return IndexSettings(
        addresses=tuple(dict.fromkeys(found)),
        is_off=value("no-index").lower() in TRUE,
        certificates=value("cert") or None,
        file_hosts=(files.default_file_host,) if is_default else (),
    )


def origin_of(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of a valid address."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port


def without_login(parts: SplitResult) -> str:
    """The address `parts` without a user name and a password."""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _address(text: str) -> IndexAddress | None:
    """None for what is no address of a web server, such as a folder of this machine."""
    try:
        parts = urlsplit(text.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return None
        origin_of(text)  # raises ValueError for an invalid port
    except ValueError:
        return None
    login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    return IndexAddress(without_login(parts).rstrip("/") + "/", login)


class _PipFiles:
    """What pip's configuration files say. pip documents files and options, and has no interface for programs to them;
    these two modules of it have been the same since version 10.
    """

    def __init__(self) -> None:
        try:
            from pip._internal.configuration import Configuration
            from pip._internal.exceptions import ConfigurationError
            from pip._internal.models.index import PyPI
        except ImportError as error:
            raise InputError(
                "This Python has no pip, whose settings name the package index; install pip, or use source installed."
            ) from error
        self.default_index = str(PyPI.simple_url)
        self.default_file_host = str(PyPI.file_storage_domain)
        self._missing: type[Exception] = ConfigurationError
        self._files = Configuration(isolated=False)
        try:
            self._files.load()
        except Exception as error:  # pip has several types for this, with addresses in their texts
            raise InputError(
                f"pip's settings cannot be read ({type(error).__name__}); see `pip config debug`, or use source installed."
            ) from error

    def value(self, name: str) -> str:
        for section in SECTIONS:
            try:
                return str(self._files.get_value(f"{section}.{name}"))
            except self._missing:
                continue
        return ""
