"""Who may start, stop, delete and read local files: the table of the deciding function, and how owners are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from pipeline.core.atomic_io import read_lines
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.ui.shared.access import (
    MAX_SIGN_INS,
    OWNER_COOKIE,
    SIGN_IN_SECONDS,
    Access,
    AccessError,
    DelayError,
    decide,
)
from pipeline.ui.shared.hosts import host_name, is_loopback
from tests.ui.conftest import OWNER_KEY as KEY
from tests.ui.conftest import Clock, request_of

LOCAL, LAN = "127.0.0.1", "0.0.0.0"


@pytest.mark.parametrize(
    ("bound", "host", "headers", "key", "known_by", "state"),
    [
        (LOCAL, "127.0.0.1:7860", [], None, "", "open"),
        (LOCAL, "localhost:7860", [], None, "", "open"),
        (LOCAL, "[::1]:7860", [], None, "", "open"),
        ("::1", "[::1]:7860", ["accept", "cookie"], None, "", "open"),
        # A name that only resolves to loopback belongs to somebody else: DNS rebinding.
        (LOCAL, "evil.example:7860", [], None, "", "closed"),
        (LOCAL, "127.0.0.1.evil.example", [], None, "", "closed"),
        (LOCAL, "", [], None, "", "closed"),
        # A proxy or a tunnel in front makes strangers look local.
        (LOCAL, "localhost:7860", ["X-Forwarded-For"], None, "", "closed"),
        (LOCAL, "localhost:7860", ["forwarded"], KEY, "", "locked"),
        (LOCAL, "localhost:7860", ["x-real-ip"], KEY, "cookie", "owner"),
        (LAN, "127.0.0.1:7860", [], None, "", "closed"),
        (LAN, "192.168.1.5:7860", [], None, "", "closed"),
        (LAN, "192.168.1.5:7860", [], KEY, "", "locked"),
        (LAN, "192.168.1.5:7860", [], KEY, "cookie", "owner"),
        (LAN, "localhost:7860", [], KEY, "", "locked"),
        # Without an owner key, no cookie is valid.
        (LAN, "192.168.1.5:7860", [], None, "cookie", "closed"),
    ],
)
def test_the_owner_is_needed_wherever_others_reach_the_page(
    tmp_path: Path, bound: str, host: str, headers: list[str], key: str | None, known_by: str, state: str
) -> None:
    settings = Settings(home=tmp_path, server_name=bound, owner_key=key)
    decision = decide(settings, host=host, header_names=headers, known_by=known_by)
    assert decision.state == state
    assert decision.allowed == (state in ("open", "owner"))
    assert decision.known_by == {"open": "open", "owner": known_by}.get(state, "")


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


@pytest.fixture
def lan(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", server_name=LAN, owner_key=KEY)


@pytest.fixture
def access(lan: Settings, clock: Clock) -> Access:
    return Access(lan, clock)


def visit(token: str | None = None, **headers: str) -> gr.Request:
    """A request of a browser with the cookie `token`."""
    cookies = {} if token is None else {"cookie": f"other=1; {OWNER_COOKIE}={token}"}
    return request_of("192.168.1.5:7860", **cookies, **headers)


def unlock(access: Access, key: str = KEY, token: str | None = None) -> str:
    return access.unlock(visit(token).request, key)  # type: ignore[arg-type]


def lock(access: Access, token: str) -> None:
    access.lock(visit(token).request)  # type: ignore[arg-type]


def logged(settings: Settings) -> list[dict[str, Any]]:
    return read_lines(Home(settings.home).audit)


def test_the_cookie_of_a_sign_in_makes_its_browser_the_owner(access: Access) -> None:
    token = unlock(access)
    decision = access.of(visit(token))
    assert (decision.state, decision.known_by) == ("owner", "cookie")
    assert access.of(visit()).state == "locked", "control: without it"


def test_a_forged_or_damaged_cookie_is_not_valid(access: Access) -> None:
    token = unlock(access)
    for other in ("", "x", token[:-1], token[1:], token + "A", token.swapcase(), KEY, "\xff" * 43, "None"):
        assert access.of(visit(other)).state == "locked", other
    assert access.of(visit(token)).state == "owner", "control"


def test_a_cookie_of_another_process_or_of_before_a_restart_is_not_valid(access: Access, lan: Settings) -> None:
    assert Access(lan).of(visit(unlock(access))).state == "locked"


def test_a_sign_in_expires(access: Access, clock: Clock) -> None:
    token = unlock(access)
    clock.now += SIGN_IN_SECONDS - 1
    assert access.of(visit(token)).allowed
    clock.now += 1
    assert not access.of(visit(token)).allowed


def test_lock_ends_one_browsers_sign_in_and_no_other(access: Access) -> None:
    one, other = unlock(access), unlock(access)
    lock(access, one)
    assert (access.of(visit(one)).state, access.of(visit(other)).state) == ("locked", "owner")


def test_unlocking_again_ends_the_previous_sign_in(access: Access) -> None:
    first = unlock(access)
    second = unlock(access, token=first)
    assert (access.of(visit(first)).allowed, access.of(visit(second)).allowed) == (False, True)


def test_the_number_of_signed_in_browsers_is_limited(access: Access) -> None:
    tokens = [unlock(access) for _ in range(MAX_SIGN_INS + 1)]
    assert [access.of(visit(token)).allowed for token in tokens] == [False] + [True] * MAX_SIGN_INS


def test_no_attribute_prints_a_token_or_the_key(access: Access) -> None:
    token = unlock(access)
    kept = repr(vars(access)) + repr(vars(access._tokens)) + repr(vars(access._wrong_keys))
    assert token not in kept
    assert KEY not in kept


def test_a_session_hash_gives_no_access(access: Access) -> None:
    token = unlock(access)
    signed_in = visit(token)
    stranger = visit()
    assert signed_in.session_hash == stranger.session_hash
    access.require(signed_in)
    with pytest.raises(AccessError, match="for the owner"):
        access.require(stranger)


@pytest.mark.parametrize("key", [KEY, f" {KEY}\n"])
def test_a_program_sends_the_key_in_a_header(access: Access, key: str) -> None:
    decision = access.of(visit(x_owner_key=key))
    assert (decision.state, decision.known_by) == ("owner", "header")


@pytest.mark.parametrize("key", ["", "x", KEY[:-1], KEY + "x", KEY.upper(), "clé"])
def test_a_wrong_header_gives_no_access(access: Access, key: str) -> None:
    assert access.of(visit(x_owner_key=key)).state == "locked"


@pytest.mark.parametrize("key", [f"{KEY}\n", f"\t {KEY} ", KEY])
def test_space_around_a_typed_key_is_ignored(access: Access, key: str) -> None:
    assert access.of(visit(unlock(access, key))).allowed


def test_a_non_ascii_key_works(tmp_path: Path) -> None:
    key = "правильная лошадь батарея"
    access = Access(Settings(home=tmp_path, server_name=LAN, owner_key=key))
    assert access.of(visit(unlock(access, key))).allowed
    assert access.of(visit(x_owner_key=key)).allowed, "as UTF-8"


@pytest.mark.parametrize("key", ["", "wrong", KEY[:-1], "\ud800", "\x00", "x" * 4_000])
def test_a_wrong_key_signs_nobody_in(access: Access, key: str) -> None:
    with pytest.raises(AccessError, match="not the owner's key"):
        unlock(access, key)


def test_a_page_without_a_key_accepts_none(tmp_path: Path) -> None:
    access = Access(Settings(home=tmp_path, server_name=LAN))
    with pytest.raises(AccessError, match="without an owner's key"):
        unlock(access, "")
    access.count_wrong_header(visit(x_owner_key="x").request)  # type: ignore[arg-type]
    assert access.of(visit(x_owner_key="")).state == "closed"
    assert not Home(tmp_path).audit.exists()


def test_the_right_key_works_while_wrong_ones_are_delayed(access: Access) -> None:
    with pytest.raises(AccessError):
        unlock(access, "wrong")
    with pytest.raises(DelayError, match=r"Wait 1 s before you try another; the right key works"):
        unlock(access, "wrong")
    token = unlock(access)
    assert access.of(visit(token)).allowed
    assert access.of(visit(x_owner_key=KEY)).allowed


def test_an_owners_own_mistake_is_not_counted(access: Access, lan: Settings) -> None:
    token = unlock(access)
    for _ in range(3):
        with pytest.raises(AccessError) as caught:
            unlock(access, "wrong", token)
        assert not isinstance(caught.value, DelayError)
        access.count_wrong_header(visit(token, x_owner_key="wrong").request)  # type: ignore[arg-type]
    assert [row["action"] for row in logged(lan)] == ["unlock"]


def test_wrong_headers_are_counted_as_wrong_keys_are(access: Access, lan: Settings) -> None:
    for _ in range(5):
        access.count_wrong_header(visit(x_owner_key="wrong").request)  # type: ignore[arg-type]
    access.count_wrong_header(visit(x_owner_key=KEY).request)  # type: ignore[arg-type]
    with pytest.raises(DelayError):
        unlock(access, "wrong")
    access.require(visit(x_owner_key=KEY), "stop", "calm-kea")
    rows = [(row["action"], row.get("count"), row["known_by"]) for row in logged(lan)]
    assert rows == [("wrong key", 1, ""), ("wrong key", 5, ""), ("stop", None, "header")]


def test_an_owners_actions_are_logged_and_reads_are_not(access: Access, lan: Settings) -> None:
    token = unlock(access)
    access.require(visit(token), "delete", "ready")
    access.require(visit(token))
    access.of(visit(token))
    lock(access, token)
    lock(access, token)
    with pytest.raises(AccessError):
        access.require(visit(token), "delete", "ready")
    rows = [(row["action"], row["target"], row["address"], row["known_by"]) for row in logged(lan)]
    assert rows == [
        ("unlock", "", "10.0.0.7", "key"),
        ("delete", "ready", "10.0.0.7", "cookie"),
        ("lock", "", "10.0.0.7", "cookie"),
    ]
    text = Home(lan.home).audit.read_text()
    assert KEY not in text
    assert token not in text


def test_an_open_page_logs_actions_too(settings: Settings) -> None:
    Access(settings).require(request_of(), "start", "ready")
    [row] = logged(settings)
    assert (row["action"], row["known_by"]) == ("start", "open")


def test_deciding_touches_no_disk(access: Access, lan: Settings) -> None:
    for request in (visit(), visit("x"), visit(x_owner_key="wrong")):
        access.of(request)
    assert not lan.home.exists()


def test_a_program_with_a_wrong_key_is_told_so(access: Access) -> None:
    with pytest.raises(AccessError, match="The header X-Owner-Key holds a key that is not the owner's"):
        access.require(visit(x_owner_key="wrong"))
    with pytest.raises(AccessError, match="for the owner"):
        access.require(visit())
