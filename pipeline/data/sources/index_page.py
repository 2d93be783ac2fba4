"""The pages of a package index (https://packaging.python.org/specifications/simple-repository-api): the files of a
project, and the source distribution to read. Sends no request; the text of a page is untrusted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.parse import unquote, urljoin, urlsplit

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from pipeline.core.errors import InputError, PackageIndexError
from pipeline.data.sources.base import BadRow
from pipeline.data.sources.index_settings import without_login

SHA256 = re.compile(r"[0-9a-f]{64}")

NO_SDIST = "no source distribution (.tar.gz)"
YANKED = "withdrawn by its authors (yanked)"
NO_HASH = "no sha256 in the package index"
NOT_WEB = "link that is not http"


@dataclass(frozen=True)
class Requirement:
    """A project, and which version of it."""

    project: str
    """Its normalized name."""
    version: str | None = None
    """None: the newest that is final."""

    def __str__(self) -> str:
        return f"{self.project}=={self.version}" if self.version else self.project


@dataclass(frozen=True)
class Release:
    """A source distribution in the index."""

    project: str
    version: str
    url: str
    """http or https, without a login."""
    sha256: str
    num_bytes: int | None
    """As the index says; None if it does not."""

    def __str__(self) -> str:
        return f"{self.project}-{self.version}"


@dataclass(frozen=True)
class ListedFile:
    """A file as an index lists it."""

    name: str
    url: str
    sha256: str
    num_bytes: int | None
    is_yanked: bool

    @property
    def is_sdist(self) -> bool:
        return self.name.endswith(".tar.gz")


def chosen(wanted: Requirement, files: Iterable[ListedFile]) -> Release | BadRow:
    """The newest source distribution that fits, or the reason why there is none. Raises InputError for a version that
    does not exist. As with pip, earlier indexes win among equal versions, and a withdrawn one must be named.
    """
    versions = [(version, file) for file in files if (version := _version(wanted.project, file)) is not None]
    if wanted.version is not None:
        asked = Version(wanted.version)
        versions = [pair for pair in versions if pair[0] == asked]
        if not versions:
            raise InputError(
                f"The package index has no version {wanted.version} of project {wanted.project!r}; check it."
            )
    sdists = [pair for pair in versions if pair[1].is_sdist]
    kept = [pair for pair in sdists if wanted.version is not None or not pair[1].is_yanked]
    if not kept:
        return BadRow(YANKED if sdists else NO_SDIST, str(wanted))
    finals = [pair for pair in kept if not pair[0].is_prerelease]
    version, file = max(finals or kept, key=lambda pair: pair[0])
    place = f"{wanted.project}-{version}"
    if not file.url:
        return BadRow(NOT_WEB, place)
    if not SHA256.fullmatch(file.sha256):
        return BadRow(NO_HASH, place)
    return Release(wanted.project, str(version), file.url, file.sha256, file.num_bytes)


def _version(project: str, file: ListedFile) -> Version | None:
    """The version in the name of a file; None if it is not a distribution of `project`."""
    try:
        if file.is_sdist:
            name, version = parse_sdist_filename(file.name)
        else:
            name, version, *_ = parse_wheel_filename(file.name)
    except (InvalidSdistFilename, InvalidWheelFilename, InvalidVersion):
        return None
    return version if name == project else None


def files_of_json(page: bytes, base: str) -> Iterator[ListedFile]:
    """The files of a page in JSON. Raises PackageIndexError when it is none."""
    try:
        for file in json.loads(page)["files"]:
            size = file.get("size")
            sha256 = str((file.get("hashes") or {}).get("sha256", ""))
            yield ListedFile(
                str(file["filename"]),
                web_address(urljoin(base, str(file["url"]))),
                sha256.lower(),
                size if isinstance(size, int) and size >= 0 else None,
                file.get("yanked", False) is not False,  # a text, even an empty one, is the reason
            )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PackageIndexError(
            "The package index answers with a page that cannot be read; try again later, or use source installed."
        ) from error


def files_of_html(page: bytes, base: str) -> Iterator[ListedFile]:
    """The files of a page in HTML."""
    parser = _Anchors()
    parser.feed(page.decode("utf-8", "replace"))
    base = urljoin(base, parser.base)
    for anchor in parser.anchors:
        try:
            parts = urlsplit(urljoin(base, anchor.get("href") or ""))
        except ValueError:
            continue
        kind, _, sha256 = parts.fragment.partition("=")
        url = web_address(parts._replace(fragment="").geturl())
        name = unquote(parts.path.rpartition("/")[2])
        yield ListedFile(name, url, sha256.lower() if kind == "sha256" else "", None, "data-yanked" in anchor)


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.anchors: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.anchors.append(dict(attrs))
        elif tag == "base" and not self.base:
            self.base = dict(attrs).get("href") or ""


def web_address(url: str) -> str:
    """`url` without a login; empty unless it is a valid address of http or https."""
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable()
        return without_login(parts) if is_web and (parts.port is None or parts.port > 0) else ""
    except ValueError:
        return ""


def canonical(name: str) -> str:
    """The normalized name of a project. Raises ValueError when it is no name of one."""
    return canonicalize_name(name, validate=True)
