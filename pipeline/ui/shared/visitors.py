"""Identifies visitors: by the address that a known proxy reports, else the peer's, and by a cookie that distinguishes
browsers behind one address.

Quotas count by address. A visitor can delete the cookie, so it only lowers them.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from pipeline.core.settings import Settings
from pipeline.ui.shared.hosts import is_loopback

COOKIE = "studio_visitor"
COOKIE_VALUE = re.compile(r"[0-9a-f]{32}")
IPV6_PREFIX = 64
"""Length in bits of the IPv6 prefix that a provider gives one customer."""


@dataclass(frozen=True)
class Visitor:
    """One browser or program. Two of the same address share that address's quota."""

    address: str
    cookie: str
    """Empty for a program, and for a browser's first request."""


def visitor_of(connection: HTTPConnection, settings: Settings) -> Visitor:
    """Who sent this request."""
    peer = connection.client.host if connection.client else ""
    on_space = settings.space_id is not None
    # A Space is reached only through the Hub's proxies; elsewhere only a proxy on this machine is trusted.
    is_proxy = on_space or is_loopback(peer)
    # Some proxies add a header line, others append to the existing one: either way the last hop comes last.
    forwarded = ", ".join(connection.headers.getlist("x-forwarded-for")) if is_proxy else ""
    return Visitor(address_of(peer, forwarded, several=on_space), cookie_of(connection.cookies))


def is_https(connection: HTTPConnection, settings: Settings) -> bool:
    """Whether the visitor's browser uses HTTPS, if only to the proxy."""
    peer = connection.client.host if connection.client else ""
    proto = connection.headers.get("x-forwarded-proto", "") if is_loopback(peer) else ""
    return settings.space_id is not None or "https" in (connection.scope.get("scheme"), proto.partition(",")[0].strip())


def address_of(peer: str, forwarded: str = "", *, several: bool = False) -> str:
    """The address that quotas count by. `forwarded` is X-Forwarded-For from a known proxy; each proxy appends its peer.

    Behind `several` proxies, it is the last public address, which no visitor can forge; behind one, the last entry.
    """
    hops = [*(part.strip() for part in forwarded.split(",") if part.strip()), peer]
    addresses = [address for address in map(_address, hops) if address is not None]
    public = [address for address in addresses if address.is_global] if several else []
    if not public:
        reported = addresses[-2:-1] or addresses[-1:]
        return _network(reported[0]) if reported else peer
    return _network(public[-1])


def cookie_of(cookies: Mapping[str, str]) -> str:
    """The visitor's cookie; empty when it is missing or not one of ours."""
    value = cookies.get(COOKIE, "")
    return value if COOKIE_VALUE.fullmatch(value) else ""


def new_cookie() -> str:
    return secrets.token_hex(16)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _network(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if address.version == 4:
        return str(address)
    return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
