"""Who may start, stop, delete and read local files: the table of the one function that decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.settings import Settings
from pipeline.ui.access import decide, host_name, is_loopback

LOCAL, LAN = "127.0.0.1", "0.0.0.0"


@pytest.mark.parametrize(
    ("bound", "host", "headers", "key", "knows_key", "state"),
    [
        (LOCAL, "127.0.0.1:7860", [], None, False, "open"),
        (LOCAL, "localhost:7860", [], None, False, "open"),
        (LOCAL, "[::1]:7860", [], None, False, "open"),
        ("::1", "[::1]:7860", ["accept", "cookie"], None, False, "open"),
        # A name that only resolves to loopback is somebody else's: DNS rebinding.
        (LOCAL, "evil.example:7860", [], None, False, "closed"),
        (LOCAL, "127.0.0.1.evil.example", [], None, False, "closed"),
        (LOCAL, "", [], None, False, "closed"),
        # A proxy or a tunnel in front makes strangers look local.
        (LOCAL, "localhost:7860", ["X-Forwarded-For"], None, False, "closed"),
        (LOCAL, "localhost:7860", ["forwarded"], "key", False, "locked"),
        (LOCAL, "localhost:7860", ["x-real-ip"], "key", True, "owner"),
        (LAN, "127.0.0.1:7860", [], None, False, "closed"),
        (LAN, "192.168.1.5:7860", [], None, False, "closed"),
        (LAN, "192.168.1.5:7860", [], "key", False, "locked"),
        (LAN, "192.168.1.5:7860", [], "key", True, "owner"),
        (LAN, "localhost:7860", [], "key", False, "locked"),
        # Nobody can show a key that is not known.
        (LAN, "192.168.1.5:7860", [], None, True, "closed"),
    ],
)
def test_the_owner_is_needed_wherever_others_reach_the_page(
    tmp_path: Path, bound: str, host: str, headers: list[str], key: str | None, knows_key: bool, state: str
) -> None:
    settings = Settings(home=tmp_path, server_name=bound, owner_key=key)
    decision = decide(settings, host=host, header_names=headers, knows_key=knows_key)
    assert decision.state == state
    assert decision.allowed == (state in ("open", "owner"))


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:80", "localhost"),
        ("[::1]:7860", "::1"),
        ("[::1]", "::1"),
        ("::1", "::1"),
    ],
)
def test_a_host_header_is_read_without_port_and_brackets(host: str, name: str) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize("name", ["0.0.0.0", "192.168.1.5", "localhost.evil.example", "127.0.0.1.nip.io", "", "::"])
def test_only_loopback_is_loopback(name: str) -> None:
    assert not is_loopback(name)
