"""What other sites show for a link to an example or a run: title, text and image in the page's head.

GET /studio/card/page.png       the image for any other link, and for what is hidden or gone
GET /studio/card/ID.png         that of an example
GET /studio/card/run/NAME.png   the losses of a run

Images are drawn one at a time in a thread of their own, so that many requests for them keep no other page waiting. When
too many wait to be drawn, of one address or of all, the answer is 503: another site that was sent some other image might
show it for days.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from pipeline.core.atomic_io import cached_lines
from pipeline.core.errors import PipelineError
from pipeline.core.text import with_unseen_shown
from pipeline.gallery.example import Example
from pipeline.hub.curve_image import curve_image
from pipeline.jobs.state import ACTIVE
from pipeline.jobs.view_types import RunView
from pipeline.ui.server.card_image import draw
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.formats import loss, whole
from pipeline.ui.shared.markup import render
from pipeline.ui.shared.texts import t
from pipeline.ui.shared.threads import wait_for
from pipeline.ui.shared.visitors import visitor_of

PATH = "/studio/card/{name:path}"
MAX_IMAGES = 512
MAX_IMAGE_BYTES = 64 * 10**6
"""Limits of the images that are kept: how many, and their bytes together."""
MAX_WAITING_OF_EACH = 2
MAX_WAITING = 32
"""Limits of images that are drawn or wait for it, per address that asked first, and in all; each takes a tenth of a second."""
RETRY_AFTER_SECONDS = 2
SAME_CURVE_SECONDS = 60
"""The curve of a run that trains is drawn again this often at most."""
MAX_AGE_SECONDS = 300
MAX_DESCRIPTION = 200

Key = tuple[object, ...]
Make = Callable[[], bytes]


@dataclass(frozen=True)
class LinkCard:
    """One card. `image`: the path of its image."""

    title: str
    description: str
    image: str
    address: str = ""
    """The query of the page's URL that opens it."""


class LinkCards:
    """Only what every visitor may see is on a card, whoever asks: the answer is shown to others."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="link-card")
        self._images: OrderedDict[Key, bytes] = OrderedDict()
        self._num_bytes = 0
        self._waiting: dict[Key, asyncio.Task[bytes]] = {}
        self._asked: Counter[str] = Counter()
        """Of those that wait, how many each address has asked for first."""

    def head(self, query: Mapping[str, str], origin: str) -> str:
        """The tags for the page's head."""
        return render("link_card", card=self._card(query), origin=origin)

    async def image(self, request: Request) -> Response:
        key, make = await wait_for(self._drawing, request.path_params["name"].removesuffix(".png"))
        content = await self._kept(key, make, visitor_of(request, self._engine.settings).address)
        if content is None:
            headers = {"retry-after": str(RETRY_AFTER_SECONDS), "cache-control": "no-store"}
            return PlainTextResponse(t("card.busy"), 503, headers=headers)
        headers = {"cache-control": f"public, max-age={MAX_AGE_SECONDS}"}
        return Response(content, media_type="image/png", headers=headers)

    def _card(self, query: Mapping[str, str]) -> LinkCard:
        if example := self._example(query.get("example") or ""):
            code = " ".join((example.texts[0] if example.texts else "").split())[:MAX_DESCRIPTION]
            text = f"{_facts(example)}: {code}"
            return LinkCard(
                with_unseen_shown(example.title), with_unseen_shown(text), f"{example.id}.png", f"example={example.id}"
            )
        if run := self._run(query.get("run") or ""):
            name = quote(run.run, safe="")
            text = t("card.run", step=whole(run.step), loss=loss(run.eval_loss), corpus=run.corpus)
            return LinkCard(run.run, text, f"run/{name}.png", f"run={name}")
        return LinkCard(t("brand"), t("card.page"), "page.png")

    def _drawing(self, name: str) -> tuple[Key, Make]:
        """How the image of that name is drawn, and a key that changes when it would look different."""
        kind, _, run_name = name.partition("/")
        if kind == "run" and (run := self._run(run_name)):
            metrics = self._engine.home.run(run.run).metrics
            return ("run", run.run, run.requested_at, _stamp(run, metrics)), lambda: _curve(run, metrics)
        if example := self._example(name):
            return ("example", example.id), lambda: _of_example(example)
        return ("page",), lambda: draw(t("brand"), new=t("card.page"))

    async def _kept(self, key: Key, make: Make, address: str) -> bytes | None:
        """None when too many others wait to be drawn."""
        if key in self._images:
            self._images.move_to_end(key)
            return self._images[key]
        if key not in self._waiting:
            if self._asked[address] >= MAX_WAITING_OF_EACH or len(self._waiting) >= MAX_WAITING:
                return None
            self._asked[address] += 1
            self._waiting[key] = asyncio.create_task(self._draw(key, make, address))
        return await asyncio.shield(self._waiting[key])  # whoever leaves ends it for no other

    async def _draw(self, key: Key, make: Make, address: str) -> bytes:
        try:
            content = await asyncio.get_running_loop().run_in_executor(self._thread, make)
        finally:
            del self._waiting[key]
            self._asked[address] -= 1
            if not self._asked[address]:
                del self._asked[address]
        self._images[key] = content
        self._num_bytes += len(content)
        while len(self._images) > MAX_IMAGES or self._num_bytes > MAX_IMAGE_BYTES:
            self._num_bytes -= len(self._images.popitem(last=False)[1])
        return content

    def _example(self, example_id: str) -> Example | None:
        try:
            return self._engine.examples.get(example_id)
        except PipelineError:
            return None

    def _run(self, name: str) -> RunView | None:
        return next((run for run in self._engine.live.reading().view.runs if run.run == name), None)


def route(cards: LinkCards) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint; a function, as Starlette takes a method's owner for an application."""

    async def answer(request: Request) -> Response:
        return await cards.image(request)

    return answer


def _facts(example: Example) -> str:
    if not example.run:
        return example.repo
    return t("card.example", run=example.run, step=whole(example.step), loss=loss(example.eval_loss))


def _of_example(example: Example) -> bytes:
    new = example.texts[0] if example.texts else ""
    return draw(example.title, example.prompt, new, f"{t('brand')} · {_facts(example)}")


def _curve(run: RunView, metrics: Path) -> bytes:
    return curve_image(list(cached_lines(metrics))) or draw(run.run, footer=t("brand"))


def _stamp(run: RunView, metrics: Path) -> tuple[int, int]:
    """Changes with the file; while the run goes on, which adds lines all the time, once in SAME_CURVE_SECONDS."""
    try:
        stat = metrics.stat()
    except OSError:
        return 0, 0
    if run.state in ACTIVE:
        return int(stat.st_mtime // SAME_CURVE_SECONDS), 0
    return stat.st_mtime_ns, stat.st_size
