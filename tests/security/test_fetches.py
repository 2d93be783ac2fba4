"""Path traversal and server-side request forgery: no file is served, and no URL is fetched."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.faults.shares import shares
from tests.posts import events, get
from tests.security.conftest import Figures, Weaken
from tests.security.listener import Listener
from tests.security.public import CANARY, PublicPage, address
from tests.security.strangers import WAYS, Post, sent, usual_values

pytestmark = pytest.mark.slow

DOORS = (
    "/gradio_api/file={path}",
    "/gradio_api/file/{path}",
    "/file={path}",
    "/gradio_api/stream/{path}",
    "/static/{up}{path}",
    "/assets/{up}{path}",
    "/theme.css/{up}{path}",
    "/custom_component/x/client/{up}{path}",
    "/gradio_api/custom_component/{up}{path}",
    "/svelte/{up}{path}",
    "/{up}{path}",
)
UPS = (
    "../" * 12,
    "..%2f" * 12,
    "%2e%2e/" * 12,
    "%252e%252e%252f" * 12,
    "..\\" * 12,
    "....//" * 12,
    "/",
    "//",
    "%00/",
    ".;/" * 6,
)
TEXTS = (CANARY, "root:x:", "PIPELINE_OWNER_KEY", "[project]")


def paths(page: PublicPage) -> list[str]:
    """Each door with each way up, to a file beside the home or another one with sensitive content."""
    files = [page.beside, page.inside, Path("/etc/passwd"), Path("/proc/self/environ")]
    doors = itertools.product(DOORS, UPS)
    found = [
        door.format(path=quoted(str(path).lstrip("/") if "{up}" in door else str(path), number), up=up)
        for number, ((door, up), path) in enumerate(zip(doors, itertools.cycle(files), strict=False))
    ]
    return [*found, *(f"/gradio_api/file={path}" for path in files), "/gradio_api/file=app.py", "/pyproject.toml"]


def quoted(path: str, number: int) -> str:
    return path.replace("/", "%2f") if number % 3 == 2 else path


def addresses(listener: Listener) -> list[str]:
    own = listener.address
    targets = [
        f"http://{own}/x",
        f"HTTP://{own}/x",
        f"https://{own}/x",
        f"http:/{own}/x",
        f"ftp://{own}/x",
        f"//{own}/x",
    ]
    doors = ("/gradio_api/file=", "/gradio_api/proxy=", "/proxy=", "/file=", "/gradio_api/file/")
    return [door + target for door, target in itertools.product(doors, targets)]


def fetching_values(listener: Listener, page: PublicPage) -> list[Any]:
    """Values that Gradio would fetch or copy where it accepts files."""
    url = f"http://{listener.address}/x"
    meta = {"meta": {"_type": "gradio.FileData"}}
    files = [
        {"path": url, **meta},
        {"path": url, "url": url, **meta},
        {"path": str(page.beside), **meta},
        {"path": str(page.inside), "orig_name": "x", **meta},
        {"path": "x", "url": f"file://{page.beside}", **meta},
        {"url": url, "is_stream": True, **meta},
        {"path": f"data:text/plain,{url}", **meta},
        {"path": "/etc/passwd"},
        {"url": url},
        {"video": {"path": url, **meta}},
        {"image": {"path": url, **meta}, "caption": "x"},
    ]
    texts = [
        url,
        f"hub:{url}",
        f"files:{url}",
        f"hub:simplecache::{url}",
        f"files:{page.beside}",
        f"data:text/plain,{url}",
    ]
    return [*files, *([file] for file in files), *({"x": file} for file in files[:4]), *texts]


def given_away(page: PublicPage, asked: list[str]) -> tuple[Counter[int], list[tuple[str, int, str]]]:
    """How often each status was returned, and the paths whose response is a file or a server error."""
    answers, bad = Counter[int](), []
    for path in asked:
        status, text = get(page, path, x_forwarded_for=address())
        answers[status] += 1
        if status >= 500 or any(secret in text for secret in TEXTS):
            bad.append((path, status, text[:200]))
    return answers, bad


def test_no_path_leads_to_a_file(public: PublicPage, figures: Figures) -> None:
    faults, asked = public.faults(), paths(public)
    assert len(set(asked)) > 60
    answers, bad = given_away(public, asked)
    figures(paths=len(asked), statuses=dict(answers), given_away=len(bad))
    assert not bad, bad[:5]
    assert public.faults() == faults


def test_control_without_the_list_of_open_paths_gradio_gives_the_file(weaken: Weaken) -> None:
    page = weaken("paths")
    _, bad = given_away(page, paths(page))
    assert any(CANARY in text for _, _, text in bad)


def test_no_url_is_fetched(public: PublicPage, figures: Figures) -> None:
    faults = public.faults()
    with Listener() as listener:
        asked = addresses(listener)
        assert len(asked) >= 30
        answers, bad = given_away(public, asked)
        assert listener.num_connections == 0
        assert listener.is_counting(), "control"
    figures(addresses=len(asked), statuses=dict(answers), connections=0)
    assert not bad and set(answers) == {403}, (answers, bad)
    assert public.faults() == faults


@shares("every", 23, 1, pytest.mark.security)
def test_a_file_in_a_value_is_neither_read_nor_fetched(public: PublicPage, every: int, figures: Figures) -> None:
    """Of all posts, sends one in `every`."""
    faults, answers, ways = public.faults(), Counter[int](), itertools.cycle(WAYS)
    with Listener() as listener:
        posts = [
            Post(event, next(ways), [*usual_values(event)[:field], value, *usual_values(event)[field + 1 :]])
            for event in events(public)
            for field in range(len(event["inputs"]))
            for value in fetching_values(listener, public)
        ]
        for number, one in enumerate(posts[::every]):
            status, text = sent(public, one, f"file-{number}")
            answers[status] += 1
            assert status < 500 and not any(secret in text for secret in TEXTS[:2]), (one, status, text[:300])
        assert listener.num_connections == 0
    figures(posts=answers.total(), statuses=dict(answers), connections=0)
    assert public.faults() == faults
