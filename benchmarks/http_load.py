"""HTTP clients of the page, many at once in one asyncio process. Used by benchmarks/load.py."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

LONGEST_LINE = 2**24


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Visitor:
    """One browser or program. It sends its address in X-Forwarded-For, as a proxy on loopback would."""

    port: int
    address: str
    headers: dict[str, str] = field(default_factory=dict)
    session: str = field(default_factory=lambda: secrets.token_hex(6))

    async def get(self, path: str) -> Answer:
        async with self.asked("GET", path) as (answer, reader):
            return await _whole(answer, reader)

    async def post(self, path: str, body: Any) -> Answer:
        async with self.asked("POST", path, json.dumps(body).encode()) as (answer, reader):
            return await _whole(answer, reader)

    async def run(self, event: dict[str, Any], **more: Any) -> Answer:
        """Call an event of the page that is answered at once, without the queue."""
        return await self.post("/gradio_api/run/predict", self._body(event, **more))

    async def stream(self, event: dict[str, Any], data: list[Any] | None = None) -> tuple[int, float | None]:
        """Call a queued event and read its stream to the end. Returns the status and seconds to the first output."""
        began, first = time.perf_counter(), None
        joined = await self.post("/gradio_api/queue/join", self._body(event, data=data))
        if joined.status != 200:
            return joined.status, None
        async with self.asked("GET", f"/gradio_api/queue/data?session_hash={self.session}") as (answer, reader):
            async for line in _lines(answer, reader):
                if line.startswith(b"data:"):
                    message = json.loads(line[5:])
                    if message["msg"] in ("process_generating", "process_completed"):
                        first = first or time.perf_counter() - began
                    if message["msg"] in ("process_completed", "close_stream"):
                        break
            return answer.status, first

    async def call(self, name: str, data: list[Any]) -> tuple[int, str]:
        """Call an API endpoint and wait for it. Returns the status and the name of the last event."""
        joined = await self.post(f"/gradio_api/call/{name}", {"data": data})
        if joined.status != 200:
            return joined.status, ""
        answer = await self.get(f"/gradio_api/call/{name}/{joined.json()['event_id']}")
        events = [line for line in answer.body.decode("utf-8", "replace").splitlines() if line.startswith("event:")]
        return answer.status, events[-1][7:] if events else ""

    def _body(self, event: dict[str, Any], data: list[Any] | None = None, **more: Any) -> dict[str, Any]:
        values = event["values"] if data is None else data
        return {"data": values, "fn_index": event["id"], "session_hash": self.session, "trigger_id": None, **more}

    @asynccontextmanager
    async def asked(
        self, method: str, path: str, body: bytes = b""
    ) -> AsyncIterator[tuple[Answer, asyncio.StreamReader]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=LONGEST_LINE)
        try:
            named = {"host": f"127.0.0.1:{self.port}", "x-forwarded-for": self.address, "connection": "close"}
            if method == "POST":
                named |= {"content-type": "application/json", "content-length": str(len(body))}
            head = "".join(f"{name}: {value}\r\n" for name, value in {**named, **self.headers}.items())
            writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
            await writer.drain()
            yield await _head(reader), reader
        finally:
            writer.close()


async def events_of(visitor: Visitor) -> list[dict[str, Any]]:
    """The page's events from /config, each with its targets and the initial values of its inputs."""
    config = (await visitor.get("/config")).json()
    values = {block["id"]: block["props"].get("value") for block in config["components"]}
    return [{**event, "values": [values[n] for n in event["inputs"]]} for event in config["dependencies"]]


async def _head(reader: asyncio.StreamReader) -> Answer:
    status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
    return Answer(int(status.split()[1]), headers)


async def _whole(answer: Answer, reader: asyncio.StreamReader) -> Answer:
    if "content-length" in answer.headers:
        answer.body = await reader.readexactly(int(answer.headers["content-length"]))
    else:
        answer.body = b"\n".join([line async for line in _lines(answer, reader)])
    return answer


async def _lines(answer: Answer, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The lines of an answer without a Content-Length, as they arrive."""
    is_chunked = answer.headers.get("transfer-encoding") == "chunked"
    pending = b""
    while True:
        if is_chunked:
            size = int(await reader.readline() or b"0", 16)
            data = (await reader.readexactly(size + 2))[:-2] if size else b""
        else:
            data = await reader.read(2**16)
        *whole, pending = (pending + data).split(b"\n")
        for line in whole:
            yield line.rstrip(b"\r")
        if not data:
            if pending:
                yield pending
            return
