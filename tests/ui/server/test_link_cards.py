"""What other sites show for a link: tags in the page's head, and an image."""

from __future__ import annotations

import io
import re
from html import unescape

import pytest
from PIL import Image

from pipeline.core.paths import Home
from pipeline.gallery.examples import Examples
from pipeline.ui.server.card_image import HEIGHT, WIDTH, draw
from tests.gallery.test_examples import keep
from tests.page import Page
from tests.ui.server.test_downloads import fetch

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
