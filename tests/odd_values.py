"""Invalid and hostile values that no input of the page sends."""

from __future__ import annotations

from typing import Any

FILE = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}, "orig_name": "x"}
REMOTE = {"url": "http://127.0.0.1:1/x", "path": "http://127.0.0.1:1/x", "meta": {"_type": "gradio.FileData"}}

ODD: tuple[Any, ...] = (
    "", " ", "\0", "\ud800", "\ufeff", "\u202e", "x" * 20_000, "<img src=x onerror=alert(1)>", "{{7*7}}", "${7*7}", "%00", "%s%n",
    "../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:1/", "hub:../../x", "hub:a::file:///etc/passwd",
    "files:/etc", "files:", "files:/proc/self/environ", "installed\n", "newest", "stop x", "delete ../..", "ask installed",
    "offer x", "open aaaaaaaa", "remix aaaaaaaa", "show ../../x", "' OR 1=1 --", "$(id)", "`id`", "; id",
    0, -1, 1, 10**30, -(10**30), 10**400, 1e308, 0.1, True, False, None,
    [], [[]], [None], ["pandas"] * 1_000, [1, "a", None], {}, {"a": {"b": {"c": 1}}}, {"__type__": "update", "value": 1},
    {"value": "x"}, FILE, REMOTE, [FILE], {"x": FILE},
)  # fmt: skip
