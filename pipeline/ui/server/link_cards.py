"""What other sites show for a link to an example or a run: title, text and image in the page's head.

GET /studio/card/page.png       the image for any other link, and for what is hidden or gone
GET /studio/card/ID.png         that of an example
GET /studio/card/run/NAME.png   the losses of a run
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from pipeline.core.atomic_io import cached_lines
from pipeline.core.errors import PipelineError
from pipeline.gallery.example import Example
from pipeline.hub.curve_image import curve_image
from pipeline.jobs.view_types import RunView
from pipeline.ui.server.card_image import draw
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.formats import loss, whole
from pipeline.ui.shared.markup import render
from pipeline.ui.shared.texts import t
from pipeline.ui.shared.threads import wait_for

PATH = "/studio/card/{name:path}"
MAX_IMAGES = 64
MAX_AGE_SECONDS = 300
MAX_DESCRIPTION = 200


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
        self._lock = threading.Lock()
        self._images: OrderedDict[tuple[object, ...], bytes] = OrderedDict()

    def head(self, query: Mapping[str, str], origin: str) -> str:
        """The tags for the page's head."""
        return render("link_card", card=self._card(query), origin=origin)

    async def image(self, request: Request) -> Response:
        content = await wait_for(self._image, request.path_params["name"].removesuffix(".png"))
        headers = {"cache-control": f"public, max-age={MAX_AGE_SECONDS}"}
        return Response(content, media_type="image/png", headers=headers)

    def _card(self, query: Mapping[str, str]) -> LinkCard:
        if example := self._example(query.get("example") or ""):
            code = " ".join((example.texts[0] if example.texts else "").split())[:MAX_DESCRIPTION]
            text = f"{_facts(example)}: {code}"
            return LinkCard(example.title, text, f"{example.id}.png", f"example={example.id}")
        if run := self._run(query.get("run") or ""):
            name = quote(run.run, safe="")
            text = t("card.run", step=whole(run.step), loss=loss(run.eval_loss), corpus=run.corpus)
            return LinkCard(run.run, text, f"run/{name}.png", f"run={name}")
        return LinkCard(t("brand"), t("card.page"), "page.png")

    def _image(self, name: str) -> bytes:
        """At most MAX_IMAGES are kept, and one is drawn at a time: each takes a tenth of a second."""
        kind, _, run_name = name.partition("/")
        if kind == "run" and (run := self._run(run_name)):
            metrics = self._engine.home.run(run.run).metrics
            return self._kept(("run", run.run, _stamp(metrics)), lambda: self._curve(run, metrics))
        if example := self._example(name):
            return self._kept(("example", example.id), lambda: _of_example(example))
        return self._kept(("page",), lambda: draw(t("brand"), new=t("card.page")))

    def _kept(self, key: tuple[object, ...], make: Callable[[], bytes]) -> bytes:
        with self._lock:
            if key not in self._images:
                self._images[key] = make()
            self._images.move_to_end(key)
            while len(self._images) > MAX_IMAGES:
                self._images.popitem(last=False)
            return self._images[key]

    def _curve(self, run: RunView, metrics: Path) -> bytes:
        return curve_image(list(cached_lines(metrics))) or draw(run.run, footer=t("brand"))

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


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError:
        return 0, 0
    return stat.st_mtime_ns, stat.st_size
