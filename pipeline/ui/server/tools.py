"""The endpoints for programs as tools of an MCP server at /mcp, when PIPELINE_MCP is 1 (requirements-mcp.txt).

Not Gradio's own MCP server, which calls the page again over HTTP from this machine: the visitor's address, and with it
every quota, would be whatever the visitor writes into a header. Here a tool is called with the request that asked for
it, so that access, quotas and limits are those of the endpoint, and only endpoints are tools. There are no sessions and
no streams: each POST has one answer. When its caller has left, the work for it is ended, as that of a closed page is.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator
from inspect import Parameter, signature
from typing import Any, get_type_hints

import gradio as gr
from fastapi import FastAPI
from pydantic import TypeAdapter
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from pipeline.core.errors import InputError
from pipeline.ui.server.api import ENDPOINTS, Api, for_people
from pipeline.ui.shared.failures import log_unexpected
from pipeline.ui.shared.texts import t
from pipeline.ui.shared.visitors import visitor_of

PATH = "/mcp"
NAME = "codeparrot-studio"
LOOK_SECONDS = 1.0
"""How often a call looks whether its caller is still there."""


class Tools:
    """The MCP server of one page. Raises InputError when the package is not installed."""

    def __init__(self, api: Api) -> None:
        try:
            from mcp.server.lowlevel import Server
            from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
        except ImportError as error:
            raise InputError(t("mcp.missing")) from error
        self._engine = api.engine
        self._calls = {name: for_people(getattr(api, name)) for name in ENDPOINTS}
        self._schemas = {name: input_schema(getattr(api, name)) for name in ENDPOINTS}
        self._descriptions = {name: _description(getattr(api, name)) for name in ENDPOINTS}
        server = Server(NAME, on_list_tools=self._list, on_call_tool=self._call)
        self._manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)

    def add_to(self, app: FastAPI) -> None:
        """Serve the tools at PATH, from the app's start to its end."""
        before = app.router.lifespan_context

        @contextlib.asynccontextmanager
        async def lifespan(of: FastAPI) -> AsyncIterator[Any]:
            async with self._manager.run(), before(of) as state:
                yield state

        app.router.lifespan_context = lifespan
        app.router.routes.append(Route(PATH, endpoint=self))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            await self._manager.handle_request(scope, receive, send)
        else:  # a stream that stays open, and the end of a session
            await PlainTextResponse(t("mcp.post"), 405, headers={"allow": "POST"})(scope, receive, send)

    async def _list(self, context: Any, params: Any) -> Any:
        from mcp import types

        tools = [
            types.Tool(name=name, description=self._descriptions[name], input_schema=schema)
            for name, schema in self._schemas.items()
        ]
        return types.ListToolsResult(tools=tools)

    async def _call(self, context: Any, params: Any) -> Any:
        from mcp import types

        try:
            result = await self._result(context.request, params.name, params.arguments or {})
            text = json.dumps(result, ensure_ascii=False, allow_nan=False)
        except gr.Error as error:
            return _failed(str(error.message))
        except Exception as error:  # the library would send its text to the caller
            return _failed(log_unexpected(error))
        structured = result if isinstance(result, dict) else {"result": result}
        return types.CallToolResult(content=[types.TextContent(text=text)], structured_content=structured)

    async def _result(self, request: Any, name: str, arguments: dict[str, Any]) -> Any:
        """Raises gr.Error with what to do."""
        schema = self._schemas.get(name)
        if schema is None:
            raise gr.Error(t("mcp.unknown", name=name[:80], names=", ".join(ENDPOINTS)))
        odd = [key for key in arguments if key not in schema["properties"]]
        missing = [key for key in schema.get("required", ()) if key not in arguments]
        if odd or missing:
            raise gr.Error(t("mcp.arguments", name=name, names=", ".join(schema["properties"]) or t("mcp.none")))
        asked = gr.Request(request=request, session_hash=f"program-{secrets.token_hex(16)}")
        own = {"request": asked} if "request" in signature(self._calls[name]).parameters else {}
        watch = asyncio.create_task(self._abandon_when_left(asked))
        try:
            return await self._calls[name](**own, **arguments)
        finally:
            watch.cancel()

    async def _abandon_when_left(self, asked: gr.Request) -> None:
        """Stop what the call waits for once its caller has left: the library goes on with it. More than once, because what
        is to be stopped may not have begun yet.
        """
        request: Any = asked.request
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if await request.is_disconnected():
                self._engine.abandon(asked.session_hash or "", visitor_of(request, self._engine.settings).cookie)


def _failed(text: str) -> Any:
    from mcp import types

    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)


def input_schema(call: Any) -> dict[str, Any]:
    """The arguments of an endpoint as a JSON schema."""
    described = gr.utils.get_function_description(call)[1]
    hints = get_type_hints(call)
    properties: dict[str, Any] = {}
    required = []
    for name, parameter in signature(call).parameters.items():
        if name == "request":
            continue
        properties[name] = {**TypeAdapter(hints[name]).json_schema(), "description": described.get(name, "")}
        if parameter.default is Parameter.empty:
            required.append(name)
        else:
            properties[name]["default"] = parameter.default
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _description(call: Any) -> str:
    return gr.utils.get_function_description(call)[0]
