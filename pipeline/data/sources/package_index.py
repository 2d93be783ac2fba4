"""Requests to a package index: which source distribution it has of a project, and the bytes of one. Only http and https
addresses are opened, with limits on time and size. `index_page` reads the pages.

No message names an address: that of a private index is nobody else's business, and a login may be in it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

from pipeline.core.errors import InputError, PackageIndexError
from pipeline.data.sources.base import BadRow
from pipeline.data.sources.index_page import ListedFile, Release, Requirement, chosen, files_of_html, files_of_json
from pipeline.data.sources.index_settings import IndexSettings, origin_of

if TYPE_CHECKING:
    import httpx2

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 20.0
"""Timeout for a response, and for its next chunk."""
FETCH_SECONDS = 300.0
"""Timeout for a whole page or file."""
TRIES = 3
MAX_REDIRECTS = 5
MAX_PAGE_BYTES = 32 * 2**20
CHUNK = 2**18
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
PASSING = (408, 409, 425, 429)
"""Statuses of refusals that may not last."""
MISSING = (404, 410)

NOT_LISTED = "not in the package index"
WRONG_HASH = "not the file that the package index announced (sha256)"
TOO_LARGE = "archive that is too large"


class UnusableArchive(Exception):
    """A source distribution that cannot be used; the text is the reason."""


class IndexClient:
    """Thread-safe. Use `client_of`, so that connections are shared."""

    def __init__(self, settings: IndexSettings) -> None:
        import httpx2

        self._settings = settings
        self._client = httpx2.Client(
            timeout=httpx2.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            follow_redirects=True,
            max_redirects=MAX_REDIRECTS,
            **({} if settings.certificates is None else {"verify": _trusting(settings.certificates)}),
        )

    def find(self, wanted: Requirement) -> Release | BadRow | None:
        """The source distribution, the reason why there is none to read, or None for a project that no index has.

        Raises InputError when the index refuses to answer or lacks the version, PackageIndexError when it does not answer.
        """
        pages = [self._files(f"{address.url}{wanted.project}/") for address in self._addresses()]
        if all(page is None for page in pages):
            return None
        return chosen(wanted, [file for page in pages for file in page or ()])

    def check(self, project: str, seconds: float) -> None:
        """Raises as `find`, unless the first index has `project` and answers within about `seconds`."""
        import httpx2

        address = self._addresses()[0]
        with index_faults(), self._stream(f"{address.url}{project}/", httpx2.Timeout(seconds)) as response:
            _check_status(response.status_code)
            if response.status_code in MISSING:
                raise InputError(f"The package index has no project {project!r}; use source installed.")

    def fetch(self, release: Release, into: BinaryIO, max_bytes: int) -> None:
        """Writes the file of `release` into an empty file. Raises UnusableArchive when it is larger than `max_bytes` or
        is not what the index announced, and as `find`.
        """
        for number in range(1, TRIES + 1):
            into.seek(0)
            into.truncate()
            try:
                return self._fetch(release, into, max_bytes)
            except PackageIndexError:
                if number == TRIES:
                    raise

    def _fetch(self, release: Release, into: BinaryIO, max_bytes: int) -> None:
        digest = hashlib.sha256()
        with index_faults(), self._stream(release.url) as response:
            if response.status_code in MISSING:
                raise UnusableArchive(NOT_LISTED)
            for chunk in _chunks(response, max_bytes):
                digest.update(chunk)
                into.write(chunk)
        if digest.hexdigest() != release.sha256:
            raise UnusableArchive(WRONG_HASH)

    def _addresses(self) -> Any:
        check_usable(self._settings)
        return self._settings.addresses

    def _files(self, url: str) -> list[ListedFile] | None:
        """The files on a project's page; None if the index has no such project."""
        with index_faults(), self._stream(url) as response:
            if response.status_code in MISSING:
                return None
            try:
                page = b"".join(_chunks(response, MAX_PAGE_BYTES))
            except UnusableArchive:
                raise InputError("A page of the package index is longer than 32 MB; name other projects.") from None
            is_json = "json" in response.headers.get("content-type", "").lower()
            base = str(response.url)
        return [*(files_of_json if is_json else files_of_html)(page, base)]

    def _stream(self, url: str, timeout: httpx2.Timeout | None = None) -> Any:
        login = next((one.login for one in self._settings.addresses if one.origin == origin_of(url)), None)
        extra: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
        return self._client.stream("GET", url, headers={"accept": ACCEPT}, auth=login, **extra)


@cache
def client_of(settings: IndexSettings) -> IndexClient:
    """The client of this process."""
    return IndexClient(settings)


def check_usable(settings: IndexSettings) -> None:
    """Raises InputError when the settings name no index that can be read."""
    if settings.is_off:
        raise InputError("pip is told to use no package index (no-index); change that, or use source installed.")
    if not settings.addresses:
        raise InputError("pip's settings name no package index on a web server; name one, or use source installed.")


def _trusting(certificates: str) -> Any:
    import ssl

    try:
        return ssl.create_default_context(cafile=certificates)
    except OSError as error:
        raise InputError("The certificates that pip's settings name (cert) cannot be read; correct them.") from error


def _chunks(response: httpx2.Response, max_bytes: int) -> Iterator[bytes]:
    """The body. Raises UnusableArchive beyond `max_bytes`, PackageIndexError beyond FETCH_SECONDS."""
    _check_status(response.status_code)
    ends_at, size = time.monotonic() + FETCH_SECONDS, 0
    for chunk in response.iter_bytes(CHUNK):
        size += len(chunk)
        if size > max_bytes:
            raise UnusableArchive(TOO_LARGE)
        if time.monotonic() > ends_at:
            raise PackageIndexError(
                f"The package index took longer than {FETCH_SECONDS:.0f} seconds for one file; try again later."
            )
        yield chunk


def _check_status(status: int) -> None:
    if status < 400 or status in MISSING:
        return
    if status in PASSING or status >= 500:
        raise PackageIndexError(
            f"The package index cannot answer now (status {status}); try again later, or use source installed."
        )
    raise InputError(f"The package index refuses the request (status {status}); check pip's settings for it.")


@contextmanager
def index_faults() -> Iterator[None]:
    """Turns errors of the network into PackageIndexError."""
    import httpx2

    try:
        yield
    except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError, OSError) as error:
        # From None: the texts of these errors may name the address.
        raise PackageIndexError(
            f"The package index cannot be reached ({_reason(error)}); try again later, or use source installed."
        ) from None


def _reason(error: Exception) -> str:
    import httpx2

    kinds = {
        httpx2.TimeoutException: "no answer in time",
        httpx2.TooManyRedirects: "too many redirects",
        httpx2.UnsupportedProtocol: "a redirect that is not http",
        httpx2.RemoteProtocolError: "the connection was cut",
    }
    return next((words for kind, words in kinds.items() if isinstance(error, kind)), "no connection")
