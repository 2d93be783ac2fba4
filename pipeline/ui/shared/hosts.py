"""Host names and addresses in requests: which of them can only mean this machine."""

from __future__ import annotations

import ipaddress


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
