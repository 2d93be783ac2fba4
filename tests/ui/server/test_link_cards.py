"""What other sites show for a link: tags in the page's head, and an image."""

from __future__ import annotations

import asyncio
import io
import os
import re
import threading
from collections.abc import Callable
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from starlette.requests import Request
from starlette.responses import Response

from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.core.text import UNSEEN
from pipeline.gallery.examples import Examples
from pipeline.ui.server import link_cards
from pipeline.ui.server.card_image import HEIGHT, WIDTH, draw
from pipeline.ui.server.link_cards import LinkCards
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.threads import wait_for
from tests.gallery.test_examples import keep
from tests.page import Page
from tests.ui.server.test_downloads import fetch
from tests.waiting import eventually

EVIL = '"><script>alert(1)</script>\n<img src=x>&amp;'


def tags(page: Page, query: str) -> dict[str, str]:
    body = fetch(page, f"/?{query}")[2].decode()
    found = re.findall(r'<meta (?:property|name)="((?:og|twitter):\w+)" content="([^"]*)">', body)
    assert len(dict(found)) == len(found), "each once"
    return {name: unescape(value) for name, value in found}


def size(content: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG"
        return image.size


@pytest.mark.slow
def test_an_example_has_its_own_card(page: Page) -> None:
    kept = keep(Examples(Home(page.home).gallery), title="A frame", texts=["df = pd.DataFrame()\n"])
    found = tags(page, f"example={kept.id}&__theme=dark")
    assert found["og:title"] == "A frame" and "bold-kea, step 600" in found["og:description"]
    assert "df = pd.DataFrame()" in found["og:description"] and found["twitter:card"] == "summary_large_image"
    assert found["og:url"] == f"{page.url}/?example={kept.id}"
    assert found["og:image"] == f"{page.url}/studio/card/{kept.id}.png"
    status, headers, body = fetch(page, f"/studio/card/{kept.id}.png")
    assert (status, headers["content-type"], size(body)) == (200, "image/png", (WIDTH, HEIGHT))
    assert len(body) < 100_000 and body != fetch(page, "/studio/card/page.png")[2]


@pytest.mark.slow
def test_a_run_has_its_curve_and_figures(page: Page) -> None:
    found = tags(page, "run=calm-kea")
    assert found["og:title"] == "calm-kea" and "validation loss" in found["og:description"]
    assert found["og:image"] == f"{page.url}/studio/card/run/calm-kea.png"
    size(fetch(page, "/studio/card/run/calm-kea.png")[2])


@pytest.mark.slow
def test_what_is_hidden_or_gone_has_the_card_of_the_page_also_for_its_owner(page: Page) -> None:
    gallery = Examples(Home(page.home).gallery)
    hidden, gone = keep(gallery, title="secret", texts=["secret = 1"]), keep(gallery, title="secret 2")
    gallery.hide(hidden.id)
    gallery.delete(gone.id)
    generic = fetch(page, "/studio/card/page.png")[2]
    for example_id in (hidden.id, gone.id, "zzzzzzzz"):
        found = tags(page, f"example={example_id}")
        assert found["og:title"] == "CodeParrot Studio" and found["og:image"].endswith("/page.png")
        assert fetch(page, f"/studio/card/{example_id}.png")[2] == generic
    assert tags(page, "run=nowhere")["og:title"] == "CodeParrot Studio"


@pytest.mark.slow
def test_a_card_that_was_shown_is_gone_once_its_example_is_hidden(page: Page) -> None:
    gallery = Examples(Home(page.home).gallery)
    kept = keep(gallery, title="soon hidden")
    path = f"/studio/card/{kept.id}.png"
    generic = fetch(page, "/studio/card/page.png")[2]
    assert fetch(page, path)[2] != generic
    gallery.hide(kept.id)
    assert fetch(page, path)[2] == generic


@pytest.mark.slow
def test_hostile_texts_stay_text(page: Page) -> None:
    kept = keep(Examples(Home(page.home).gallery), title=EVIL, texts=[EVIL])
    assert tags(page, f"example={kept.id}")["og:title"] == " ".join(EVIL.split())
    body = fetch(page, f"/?example={kept.id}&run=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")[2]
    assert b"<script>alert(1)" not in body and b"<img src=x>" not in body
    size(fetch(page, f"/studio/card/{kept.id}.png")[2])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x.png", "run/.png", "run/a%2fb.png", "..%2fpage.png", "page.svg"])
def test_other_paths_are_closed(page: Page, name: str) -> None:
    assert fetch(page, f"/studio/card/{name}")[0] in (403, 404)


@pytest.mark.parametrize("text", ["", "\x00\ud800\u202e", "x" * 100_000, "\n" * 100_000, "日本語 🦜\t\r\n", EVIL])
def test_any_text_is_drawn_in_bounds(text: str) -> None:
    content = draw(text, text, text, text)
    assert size(content) == (WIDTH, HEIGHT) and len(content) < 150_000


def test_a_card_shows_characters_that_are_not_seen(cards: LinkCards, tmp_path: Path) -> None:
    kept = keep(Examples(Home(tmp_path).gallery), title="a\u202e\u2066b", texts=["x = 1 # \u202e\u200b"])
    head = cards.head({"example": kept.id}, "https://a.example")
    assert 'content="a\\u202e\\u2066b"' in head and "x = 1 # \\u202e\\u200b" in head
    assert UNSEEN.search(head) is None
    assert draw("a\u202eb", "", "c\u2066d") == draw("a\\u202eb", "", "c\\u2066d") != draw("a b", "", "c d")


def asked(cards: LinkCards, name: str, address: str = "203.0.113.9") -> Any:
    path = {"name": f"{name}.png"}
    return cards.image(Request({"type": "http", "headers": [], "client": (address, 1), "path_params": path}))


@pytest.fixture
def cards(tmp_path: Path) -> LinkCards:
    return LinkCards(Engine(Settings(home=tmp_path)))


async def soon(holds: Callable[[], object]) -> None:
    await asyncio.to_thread(eventually, holds, "the answers", 10)


def test_images_that_wait_to_be_drawn_keep_nothing_else_waiting(
    cards: LinkCards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many are asked for at once: few are drawn, in one thread, the others are refused, and the pool is free."""
    gallery = Examples(Home(tmp_path).gallery)
    names = [keep(gallery, title=f"example {number}").id for number in range(link_cards.MAX_WAITING + 22)]
    end, threads = threading.Event(), []

    def slowly(example: Any) -> bytes:
        threads.append(threading.current_thread().name)
        end.wait(30)
        return example.id.encode()

    monkeypatch.setattr(link_cards, "_of_example", slowly)

    async def crowd() -> list[Response]:
        waiting = [
            asyncio.create_task(asked(cards, name, f"203.0.113.{names.index(name)}"))
            for name in [*names, names[0]]
            for _ in range(2)
        ]
        try:
            await soon(lambda: sum(one.done() for one in waiting) >= len(waiting) - 2 * (link_cards.MAX_WAITING + 1))
            assert await wait_for(lambda: "free") == "free"
            assert len(set(threads)) == 1 and threads[0].startswith("link-card")
            waiting[0].cancel()  # its visitor leaves, others ask for the same
        finally:
            end.set()
        done = await asyncio.gather(*waiting, return_exceptions=True)
        return [one for one in done if isinstance(one, Response)]

    found = asyncio.run(crowd())
    refused = [one for one in found if one.status_code == 503]
    assert len(threads) == link_cards.MAX_WAITING and len(refused) > 20
    assert all(int(one.headers["retry-after"]) > 0 and one.headers["cache-control"] == "no-store" for one in refused)
    drawn = {bytes(one.body).decode() for one in found if one.status_code == 200}
    assert len(drawn) == link_cards.MAX_WAITING and drawn <= set(names)
    assert asyncio.run(asked(cards, names[-1])).status_code == 200, "later, there is room"


def test_one_address_cannot_take_the_places_of_others(
    cards: LinkCards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = Examples(Home(tmp_path).gallery)
    *names, other = [keep(gallery, title=f"example {number}").id for number in range(41)]
    end = threading.Event()
    monkeypatch.setattr(link_cards, "_of_example", lambda example: end.wait(30) and example.id.encode())

    async def crowd() -> tuple[list[Response], Response, Response]:
        stranger = [asyncio.create_task(asked(cards, name, "203.0.113.7")) for name in names]
        try:
            await soon(lambda: sum(one.done() for one in stranger) == len(names) - link_cards.MAX_WAITING_OF_EACH)
            seen = [asyncio.create_task(asked(cards, name, "203.0.113.8")) for name in (other, names[0])]
            await asyncio.sleep(0.5)
            assert not any(one.done() for one in seen), "another visitor's wait, also for what the stranger asked for"
        finally:
            end.set()
        return await asyncio.gather(*stranger), *await asyncio.gather(*seen)

    of_stranger, of_other, same = asyncio.run(crowd())
    assert [one.status_code for one in of_stranger].count(200) == link_cards.MAX_WAITING_OF_EACH
    assert all(one.headers["retry-after"] for one in of_stranger if one.status_code == 503)
    assert (bytes(of_other.body).decode(), same.status_code) == (other, 200)
    assert asyncio.run(asked(cards, names[-1], "203.0.113.7")).status_code == 200, "its places are free again"


@pytest.mark.parametrize(
    ("num_bytes", "expected"), [(10, 512), (10**6, 64)], ids=["at most 512 images", "at most 64 MB"]
)
def test_images_are_kept_up_to_a_number_and_a_size(
    cards: LinkCards, monkeypatch: pytest.MonkeyPatch, num_bytes: int, expected: int
) -> None:
    drawn: list[str] = []
    content = b"x" * num_bytes
    monkeypatch.setattr(cards, "_drawing", lambda name: ((name,), lambda: drawn.append(name) or content))
    names = [str(number) for number in range(expected + 20)]

    async def ask(wanted: list[str]) -> None:
        for name in wanted:
            assert (await asked(cards, name)).status_code == 200

    asyncio.run(ask(names))
    assert drawn == names
    asyncio.run(ask(names[20:]))
    assert drawn == names, "the newest are kept"
    asyncio.run(ask(names[:1]))
    assert drawn == [*names, names[0]], "the oldest made room"


def test_an_image_that_cannot_be_drawn_takes_no_place(cards: LinkCards, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_cards, "draw", lambda *args, **options: 1 / 0)
    for _ in range(link_cards.MAX_WAITING + 1):
        with pytest.raises(ZeroDivisionError):
            asyncio.run(asked(cards, "page"))


def test_the_curve_of_a_run_that_trains_is_drawn_once_a_minute(
    cards: LinkCards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = SimpleNamespace(run="calm-kea", state="running", requested_at=1.0)
    metrics = Home(tmp_path).run(run.run).metrics
    metrics.parent.mkdir(parents=True)
    drawn: list[str] = []
    monkeypatch.setattr(cards, "_run", lambda name: run)
    monkeypatch.setattr(link_cards, "curve_image", lambda rows: drawn.append(run.state) or b"png")

    def ask(second: int) -> int:
        with metrics.open("a") as file:
            file.write('{"step": 1}\n')
        os.utime(metrics, (second, second))
        assert asyncio.run(asked(cards, "run/calm-kea")).status_code == 200
        return len(drawn)

    assert [ask(6_000 + second) for second in (0, 1, 30, 59, 60, 61, 119)] == [1, 1, 1, 1, 2, 2, 2]
    run.state = "finished"
    assert ask(6_119) == 3, "the last lines are on it at once"
