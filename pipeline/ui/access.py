"""Who may do what: one function decides, in Python, in every handler that starts, stops, deletes, pushes or reads files.

Open is only a page that is bound to loopback, asked for by a loopback name and without a header that a proxy adds. On
any other the owner is needed, who shows PIPELINE_OWNER_KEY once per page. Greyed-out buttons and private events are
no protection: whoever speaks HTTP reaches every handler.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from threading import Lock

import gradio as gr

from pipeline.errors import InputError
from pipeline.settings import Settings
from pipeline.ui.texts import t

OWNER_KEY_HEADER = "x-owner-key"
"""How a program shows the key; a person types it into the page."""
PROXY_HEADERS = frozenset({"forwarded", "via", "x-real-ip", "x-original-host", "cf-connecting-ip", "true-client-ip"})
MOST_SESSIONS = 256


class AccessError(InputError):
    """Not allowed here; the message says what to do."""


@dataclass(frozen=True)
class Decision:
    """Whether the owner's actions are open to this request; `state` is open, owner, locked or closed."""

    state: str

    @property
    def allowed(self) -> bool:
        return self.state in ("open", "owner")


def decide(settings: Settings, *, host: str, header_names: Iterable[str], knows_key: bool) -> Decision:
    """The rule itself. `host` is the request's Host header; `knows_key` whether this session or request showed the key."""
    names = {name.lower() for name in header_names}
    is_proxied = bool(names & PROXY_HEADERS) or any(name.startswith("x-forwarded-") for name in names)
    if is_loopback(settings.server_name) and is_loopback(host_name(host)) and not is_proxied:
        return Decision("open")
    if settings.owner_key is None:
        return Decision("closed")
    return Decision("owner" if knows_key else "locked")


class Access:
    """Applies `decide` to requests, and remembers which sessions showed the owner's key."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._unlocked: OrderedDict[str, None] = OrderedDict()
        self._lock = Lock()

    def of(self, request: gr.Request) -> Decision:
        return decide(
            self._settings,
            host=request.headers.get("host", ""),
            header_names=request.headers.keys(),
            knows_key=self._knows_key(request),
        )

    def require(self, request: gr.Request) -> None:
        """Raises AccessError, with what to do, unless the owner's actions are open to this request."""
        decision = self.of(request)
        if not decision.allowed:
            raise AccessError(t(f"access.{decision.state}"))

    def unlock(self, request: gr.Request, key: str) -> None:
        """Remember that this session knows the owner's key. Raises AccessError when it does not."""
        if self._settings.owner_key is None:
            raise AccessError(t("access.closed"))
        if not self._is_key(key) or not request.session_hash:
            raise AccessError(t("access.wrong_key"))
        with self._lock:
            self._unlocked[request.session_hash] = None
            while len(self._unlocked) > MOST_SESSIONS:
                self._unlocked.popitem(last=False)

    def _knows_key(self, request: gr.Request) -> bool:
        shown = request.headers.get(OWNER_KEY_HEADER)
        return request.session_hash in self._unlocked or (shown is not None and self._is_key(shown))

    def _is_key(self, key: str) -> bool:
        known = self._settings.owner_key
        return known is not None and hmac.compare_digest(key.strip().encode(), known.encode())


def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets: `[::1]:7860` -> `::1`."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if host.count(":") == 1 else host.lower()


def is_loopback(name: str) -> bool:
    """Whether `name` can only mean this machine."""
    if name == "localhost":
        return True
    address = as_address(name)
    return address is not None and address.is_loopback


def as_address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """`name` as an IP address, or None when it is a name."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
