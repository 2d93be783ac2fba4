"""Decides who may do what: one function, called by every handler that starts, stops, deletes, pushes or reads files.

The page is open only when it is bound to loopback and a request names a loopback host and has no header that a proxy
adds. Any other page requires the owner: a browser that signed in with PIPELINE_OWNER_KEY and has the cookie, or a
program that sends the key in a header. Greyed-out buttons and private events are no protection: any HTTP client can
call every handler.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock

import gradio as gr
from starlette.requests import HTTPConnection, cookie_parser

from pipeline.core.errors import InputError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.ui.shared.audit import Audit
from pipeline.ui.shared.formats import duration
from pipeline.ui.shared.hosts import host_name, is_loopback
from pipeline.ui.shared.texts import t
from pipeline.ui.shared.visitors import visitor_of
from pipeline.ui.shared.wrong_keys import WrongKeys

OWNER_KEY_HEADER = "x-owner-key"
"""The header in which a program sends the key; a person types it into the page."""
OWNER_COOKIE = "studio_owner"
PROXY_HEADERS = frozenset({"forwarded", "via", "x-real-ip", "x-original-host", "cf-connecting-ip", "true-client-ip"})
SIGN_IN_SECONDS = 12 * 3_600
MAX_SIGN_INS = 64


class AccessError(InputError):
    """The action is not allowed here; the message says what to do."""


class DelayError(AccessError):
    """A wrong key was sent too soon after others."""

    def __init__(self, message: str, *, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds
        """How long to wait before the next try."""


@dataclass(frozen=True)
class Decision:
    """Whether this request may perform the owner's actions; `state` is open, owner, locked or closed."""

    state: str
    known_by: str = ""
    """What makes the request allowed: open, cookie or header; empty when it is not."""

    @property
    def allowed(self) -> bool:
        return self.state in ("open", "owner")


def decide(settings: Settings, *, host: str, header_names: Iterable[str], known_by: str) -> Decision:
    """The rule itself. `host` is the request's Host header; `known_by` is "cookie" or "header" if the request has a
    valid one, else empty.
    """
    names = {name.lower() for name in header_names}
    is_proxied = bool(names & PROXY_HEADERS) or any(name.startswith("x-forwarded-") for name in names)
    if is_loopback(settings.server_name) and is_loopback(host_name(host)) and not is_proxied:
        return Decision("open", "open")
    if settings.owner_key is None:
        return Decision("closed")
    return Decision("owner", known_by) if known_by else Decision("locked")


class OwnerTokens:
    """The signed-in browsers: a random token of 256 bits for each, and when it expires.

    Tokens carry no data and are known only to this process. Lock must end one early, which needs this table; signatures
    would add nothing to it. A restart ends all tokens, so a changed key does too: the owner types the key again. The
    table contains digests, so that printing it shows no token.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends: OrderedDict[bytes, float] = OrderedDict()
        self._lock = Lock()

    def add(self) -> str:
        """A new token; above MAX_SIGN_INS, the oldest one is removed."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._ends[_digest(token)] = self._clock() + SIGN_IN_SECONDS
            if len(self._ends) > MAX_SIGN_INS:
                self._ends.popitem(last=False)
        return token

    def has(self, token: str) -> bool:
        return self._clock() < self._ends.get(_digest(token), float("-inf"))

    def remove(self, token: str) -> bool:
        """Remove a token. Returns whether it existed and had not expired."""
        with self._lock:
            return self._clock() < self._ends.pop(_digest(token), float("-inf"))


class Access:
    """Applies `decide` to requests, signs owners in and out, and logs their actions. `clock`: monotonic seconds."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._key_digest = None if settings.owner_key is None else _digest(settings.owner_key)
        self._tokens = OwnerTokens(clock)
        self._audit = Audit(Home(settings.home))
        self._wrong_keys = WrongKeys(self._audit, clock)

    def of(self, request: gr.Request | HTTPConnection) -> Decision:
        """Reads only the headers and counts nothing: cheap enough for every tick of every browser."""
        headers = request.headers
        key = headers.get(OWNER_KEY_HEADER)
        if self._tokens.has(_cookie(request)):
            known_by = "cookie"
        else:
            known_by = "header" if key is not None and self._is_key(key.encode("latin-1")) else ""
        return decide(self._settings, host=headers.get("host", ""), header_names=headers.keys(), known_by=known_by)

    def require(self, request: gr.Request, action: str = "", target: object = "") -> None:
        """Raises AccessError, with what to do, unless this request may perform the owner's actions.

        A non-empty `action` is written to the audit log, with the id or name of its `target`.
        """
        decision = self.of(request)
        if not decision.allowed:
            is_wrong_key = decision.state == "locked" and OWNER_KEY_HEADER in request.headers
            raise AccessError(t("access.wrong_header") if is_wrong_key else t(f"access.{decision.state}"))
        if action:
            self._record(action, request, decision.known_by, target)

    def unlock(self, connection: HTTPConnection, key: str) -> str:
        """Sign a browser in; returns the token for its cookie. Raises AccessError for a wrong key, DelayError for one
        sent too soon after others.

        The right key is accepted at any time, even from a delayed address and above the limit over all addresses.
        Otherwise an attacker behind the owner's proxy or provider could keep the owner out for good. The delay is not
        what stops guessing: a random key of 16 characters has about 95 bits, far beyond any number of requests. It
        limits log lines and CPU time.
        """
        if self._key_digest is None:
            raise AccessError(t("access.closed"))
        if not self._is_key(key.encode("utf-8", "surrogatepass")):
            self._refuse(connection)
        self._tokens.remove(_cookie(connection))
        token = self._tokens.add()
        self._wrong_keys.forget(self._address(connection))
        self._record("unlock", connection, "key")
        return token

    def lock(self, connection: HTTPConnection) -> None:
        """Sign this browser out, in all its tabs. Without a sign-in, does nothing and logs nothing."""
        if self._tokens.remove(_cookie(connection)):
            self._record("lock", connection, "cookie")

    def count_wrong_header(self, connection: HTTPConnection) -> None:
        """Count the key in this request's header if it is wrong. Called once per request, unlike `of`.

        Such a request continues as a visitor's: a program with an old key can still read what is public.
        """
        has_key_to_check = self._key_digest is not None and OWNER_KEY_HEADER in connection.headers
        if has_key_to_check and not self.of(connection).allowed:
            self._wrong_keys.add(self._address(connection))

    def _refuse(self, connection: HTTPConnection) -> None:
        """Always raises. A wrong key from a browser that is already signed in is not counted."""
        seconds = 0.0 if self.of(connection).allowed else self._wrong_keys.add(self._address(connection))
        if seconds:
            raise DelayError(t("access.delay", time=duration(math.ceil(seconds))), seconds=seconds)
        raise AccessError(t("access.wrong_key"))

    def _record(self, action: str, request: gr.Request | HTTPConnection, known_by: str, target: object = "") -> None:
        self._wrong_keys.flush()
        self._audit.write(action, target=target, address=self._address(request), known_by=known_by)

    def _address(self, request: gr.Request | HTTPConnection) -> str:
        connection = request.request if isinstance(request, gr.Request) else request
        return visitor_of(connection, self._settings).address if connection else ""

    def _is_key(self, given: bytes) -> bool:
        """Compares digests, so the time is constant for keys of any length."""
        given_digest = hashlib.sha256(given.strip()).digest()
        return self._key_digest is not None and hmac.compare_digest(given_digest, self._key_digest)


def _digest(secret: str) -> bytes:
    # A request, and an environment variable that is not UTF-8, can contain lone surrogates.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _cookie(request: gr.Request | HTTPConnection) -> str:
    return cookie_parser(request.headers.get("cookie", "")).get(OWNER_COOKIE, "")
