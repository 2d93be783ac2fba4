"""GET /studio/example/ID.py and ID.ipynb."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from email.message import Message

import pytest

from pipeline.core.paths import Home
from pipeline.gallery.examples import Examples
from tests.gallery.test_examples import keep
from tests.page import Page

pytestmark = pytest.mark.slow


def fetch(page: Page, path: str, **headers: str) -> tuple[int, Message, bytes]:
    request = urllib.request.Request(f"{page.url}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def test_a_kept_example_is_sent_as_a_file(page: Page) -> None:
    kept = keep(Examples(Home(page.home).gallery), title="<script>", texts=["x = '<script>'\n"])
    for kind, media_type in (("py", "text/x-python; charset=utf-8"), ("ipynb", "application/x-ipynb+json")):
        status, headers, body = fetch(page, f"/studio/example/{kept.id}.{kind}")
        assert (status, headers["content-type"]) == (200, media_type)
        assert headers["content-disposition"] == f'attachment; filename="codeparrot-{kept.id}.{kind}"'
        assert headers["x-content-type-options"] == "nosniff" and "no-store" in headers["cache-control"]
        assert f"{page.url}/?example={kept.id}" in body.decode()
    assert json.loads(body)["nbformat"] == 4


def test_a_hidden_example_is_only_for_the_owner(page: Page) -> None:
    gallery = Examples(Home(page.home).gallery)
    kept = keep(gallery, texts=["secret = 1\n"])
    gallery.hide(kept.id)
    path = f"/studio/example/{kept.id}.py"
    assert b"secret" in fetch(page, path)[2]  # on loopback
    status, _, body = fetch(page, path, **{"x-forwarded-for": "203.0.113.7"})
    assert status == 404 and b"secret" not in body and b"was hidden by the owner" in body


@pytest.mark.parametrize("name", ["zzzzzzzz.py", "zzzzzzzz.exe", "..%2f..%2fsecret.py", "zzzzzzzz", "ABCDEFGH.py"])
def test_anything_else_is_no_file(page: Page, name: str) -> None:
    assert fetch(page, f"/studio/example/{name}")[0] in (403, 404)
