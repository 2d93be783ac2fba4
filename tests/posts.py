"""Sends HTTP requests to the real page and its events without a browser, and returns the responses."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from tests.page import Page

ANSWER_CHARACTERS = 200_000


def log_of(page: Page) -> str:
    return Path(page.home, "page.log").read_text()


def post(page: Page, path: str, body: Any, **headers: str) -> tuple[int, str]:
    """Status and text of the response. `body`: bytes, or a value sent as JSON; `headers`: underscores for hyphens."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return _request(page, "POST", path, data, {"content_type": "application/json", **headers})


def status_of_chunked(port: int, path: str, *chunks: bytes) -> int:
    """Status of the response to a chunked body. The chunks are sent at once: the server may refuse and close early."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(head.encode() + body)
        return int(client.recv(65_536).split()[1])


def get(page: Page, path: str, **headers: str) -> tuple[int, str]:
    return _request(page, "GET", path, None, headers)


def _request(page: Page, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=60)
    try:
        connection.request(method, path, data, {name.replace("_", "-"): value for name, value in headers.items()})
        found = connection.getresponse()
        return found.status, found.read(ANSWER_CHARACTERS).decode("utf-8", "replace")
    finally:
        connection.close()


def config_of(page: Page) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=60)
    connection.request("GET", "/config")
    return json.loads(connection.getresponse().read())


def events(page: Page) -> list[dict[str, Any]]:
    """Every event of the page, with the types and the current values of its inputs."""
    config = config_of(page)
    kinds = {block["id"]: block["type"] for block in config["components"]}
    values = {block["id"]: block["props"].get("value") for block in config["components"]}
    return [
        {**event, "kinds": [kinds[n] for n in event["inputs"]], "values": [values[n] for n in event["inputs"]]}
        for event in config["dependencies"]
    ]
