"""Hostile dataset repositories, scanned through the page by a permitted visitor and by the owner."""

from __future__ import annotations

import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil
import pytest

from tests.data.dataset_hub import DatasetHub
from tests.data.sources.hostile_repos import Files, Targets, bombs, escapes
from tests.faults.shares import shares
from tests.posts import get, log_of, post
from tests.security.conftest import Figures, Weaken
from tests.security.listener import Listener
from tests.security.public import CANARY, OWNER_KEY, PublicPage, address, is_root, weakened
from tests.waiting import eventually

pytestmark = pytest.mark.slow

OWNER, PRIVATE = "bad", "me/private"
QUICK = ("bad/chain-simplecache-file", "bad/path-absolute-environ", "bad/other-symlink")
QUICK_BOMB = "bomb/line-of-1500-mb-txt-zst"
MAX_MEGABYTES = 300
OUTAGE_SECONDS = 5
CLIENT = "/api/agent-harnesses"
"""Path of a request that the Hub's client sends by itself, for no repository."""


@dataclass(frozen=True)
class Attack:
    page: PublicPage
    hub: DatasetHub
    listener: Listener
    names: list[str]


StartPage = Callable[..., PublicPage]


@pytest.fixture
def attack(tmp_path_factory: pytest.TempPathFactory, weaken: Weaken) -> Iterator[Callable[..., Attack]]:
    """Starts a page, without `guard` if one is named, that may read every repository of a Hub on loopback."""
    pages: list[PublicPage] = []
    with Listener() as listener, DatasetHub({PRIVATE: {"secret.txt": f"{CANARY}-private\n".encode()}}) as hub:
        hub.private.add(PRIVATE)

        def start(guard: str = "", more: dict[str, Files] | None = None) -> Attack:
            kind = weakened(guard) if guard else PublicPage
            folder = tmp_path_factory.mktemp("hostile")
            targets = Targets(folder / "canary.txt", folder / "hf" / "token", hub.endpoint, PRIVATE, listener.address)
            repos = {name: repo.files for name, repo in escapes(OWNER, targets).items()} | (more or {})
            hub.repos.update(repos)
            pages.append(kind(folder, HF_ENDPOINT=hub.endpoint, PIPELINE_PUBLIC_DATASETS=",".join(repos)))
            pages[-1].start()
            return Attack(pages[-1], hub, listener, list(repos))

        yield start
        for page in pages:
            page.kill()


def previewed(page: PublicPage, name: str, **headers: str) -> str:
    """The whole response to a program that scans a repository."""
    own = {"x_forwarded_for": address(), **headers}
    body = {"data": [f"hub:{name}", ["e", "a", "x"], 100, "substring"]}
    status, text = post(page, "/gradio_api/call/preview", body, **own)
    assert status == 200, text
    return get(page, f"/gradio_api/call/preview/{json.loads(text)['event_id']}", **own)[1]


class Watch:
    """Sends cheap requests to the page from other addresses while a repository is read, and inspects its processes."""

    def __init__(self, page: PublicPage) -> None:
        self._page = page
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.slowest = 0.0
        self.secrets: set[str] = set()

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(0.1):
            began = time.monotonic()
            status, _ = get(self._page, "/config", x_forwarded_for=address())
            assert status == 200
            self.slowest = max(self.slowest, time.monotonic() - began)
            for child in psutil.Process(self._page.pid).children(recursive=True):
                self._inspect(child)

    def _inspect(self, child: psutil.Process) -> None:
        try:
            command, variables = child.cmdline(), child.environ()
        except (psutil.Error, OSError):
            return
        # The worker pushes, so it is given the token; each page starts it once, and it reads no repository.
        if command[-1:] != ["pipeline.jobs"] and CANARY in f"{command} {variables}":
            self.secrets.add(" ".join(command))


def assert_only_asked(hub: DatasetHub, names: list[str]) -> None:
    for request in set(hub.requests):
        match = re.match(r"\w+ /(?:api/)?datasets/([^/]+/[^/]+)", request)
        assert request.endswith(CLIENT) or (match and match[1] in names), request
    assert hub.tokens == []


@shares("is_full", False, True, pytest.mark.security)
def test_a_hostile_repository_gives_nothing_away(
    attack: Callable[..., Attack], is_full: bool, figures: Figures
) -> None:
    more = {f"bomb/{name}": files for name, files in bombs().items()} if is_full else _one_bomb()
    one = attack(more=more)
    page, chosen = one.page, one.names if is_full else [*QUICK, *more]
    before, faults, ends = page.megabytes(), page.faults(), Counter[str]()
    with Watch(page) as watch:
        for name in chosen:
            for headers in ({}, {"x_owner_key": OWNER_KEY}):
                text = previewed(page, name, **headers)
                assert CANARY not in text and "root:x:" not in text, (name, text[:500])
                assert "for the owner" not in text
                ends["read" if "event: complete" in text else "refused"] += 1
    grown = page.megabytes() - before
    figures(repos=len(chosen), ends=dict(ends), slowest_answer_s=round(watch.slowest, 2), grown_mb=round(grown))
    assert_only_asked(one.hub, one.names)
    assert one.listener.num_connections == 0
    assert (page.faults(), watch.secrets) == (faults, set())
    assert grown < MAX_MEGABYTES
    assert watch.slowest < OUTAGE_SECONDS
    assert not list(page.home.parent.rglob("opened-by*"))
    assert CANARY not in log_of(page)
    assert ends["read"] >= 2 and ends["refused"] >= 2, ends
    if is_root():
        assert page.secrets_found() == []
    eventually(lambda: page.modules() <= {"pipeline.jobs"}, "nothing but idle scans is left")


def _one_bomb() -> dict[str, Files]:
    from tests.data.sources.hostile import zst_bomb

    return {QUICK_BOMB: {"a.txt.zst": zst_bomb(b"x")}}


def test_a_visitor_may_not_scan_other_repositories(public: PublicPage) -> None:
    assert "for the owner" in previewed(public, f"{OWNER}/unlisted")


def test_control_plain_datasets_gives_a_file_away_unless_it_is_confined(attack: Callable[..., Attack]) -> None:
    """Without our checks of a repository, confinement alone protects the file. Without both, it is in the response."""
    [name, *_] = QUICK
    confined = attack("repos")
    assert CANARY not in previewed(confined.page, name)
    unconfined = attack("confinement")
    assert CANARY in previewed(unconfined.page, name)
