"""A generator process without torch, for tests: `python -m tests.generation.fake_generator`.

It is on a GPU when CUDA_VISIBLE_DEVICES names one. To each request it answers the name of its device. It never ends a
request whose prompt is `endless`, and writes what follows `raw:` in a prompt as it is, then no more.
"""

from __future__ import annotations

import json
import os
import sys
import threading


def send(message: object) -> None:
    print(json.dumps(message), flush=True)


def main() -> None:
    device = "cuda" if os.environ.get("CUDA_VISIBLE_DEVICES") else "cpu"
    send({"device": device})
    for line in sys.stdin:
        message = json.loads(line)
        if "stop" in message or "threads" in message:
            continue
        if message["prompt"].startswith("raw:"):
            print(message["prompt"].removeprefix("raw:"), flush=True)
            threading.Event().wait()
        is_endless = message["prompt"] == "endless"
        end = {} if is_endless else {"done": True, "finish": "length"}
        send({"id": message["id"], "chunk": {"sample": 0, "text": device, "tokens": 1, **end}})
        if not is_endless:
            send({"id": message["id"], "done": True})


if __name__ == "__main__":
    main()
