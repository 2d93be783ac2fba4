"""GET /studio/example/ID.py and ID.ipynb: a kept example as a file."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from pipeline.core.errors import PipelineError
from pipeline.gallery.download import MEDIA_TYPES, KeptText, file_of
from pipeline.ui.shared.engine import Engine
from pipeline.ui.shared.links import permalink
from pipeline.ui.shared.threads import wait_for

PATH = "/studio/example/{name:str}"


def downloads(engine: Engine) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint. A hidden example is only for the owner."""

    def answer(request: Request) -> Response:
        example_id, _, kind = request.path_params["name"].partition(".")
        try:
            include_hidden = engine.access.of(request).allowed
            example = engine.examples.get(example_id, include_hidden=include_hidden)
        except PipelineError as error:
            return PlainTextResponse(str(error), 404)
        content = file_of(KeptText.of(example, permalink(engine.settings, request, example.id)), kind)
        headers = {
            "content-disposition": f'attachment; filename="codeparrot-{example.id}.{kind}"',
            "cache-control": "private, no-store",
            "x-content-type-options": "nosniff",
        }
        return Response(content, media_type=MEDIA_TYPES[kind], headers=headers)

    async def endpoint(request: Request) -> Response:
        return await wait_for(answer, request)

    return endpoint
