"""Drives a headless Chromium through its DevTools protocol over two pipes: needs no package, only the browser."""

from __future__ import annotations

import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ANSWER_SECONDS = 60.0
"""How long the browser may take to answer one command; it answers late while the page's main thread is blocked."""


def find() -> str | None:
    """Path of an installed browser, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """A browser of its own with one page, 1280 x 800."""

    def __init__(self, executable: str) -> None:
        self._profile = tempfile.mkdtemp(prefix="devtools-")
        browser_reads, self._out = os.pipe()
        self._in, browser_writes = os.pipe()
        options = ["--headless=new", "--no-sandbox", "--remote-debugging-pipe", "--window-size=1280,800"]
        command = [executable, *options, f"--user-data-dir={self._profile}", "about:blank"]
        # The browser reads commands from descriptor 3 and writes answers to 4. Shells take one digit before `<&`.
        script = f'exec "$0" "$@" 3<&{browser_reads} 4>&{browser_writes}'
        self._process = subprocess.Popen(
            ["bash", "-c", script, *command],
            pass_fds=(browser_reads, browser_writes),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(browser_reads)
        os.close(browser_writes)
        self._unread = b""
        self._numbers = itertools.count(1)
        self._session: str | None = None
        pages = self.send("Target.getTargets")["targetInfos"]
        target = next(page["targetId"] for page in pages if page["type"] == "page")
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def __enter__(self) -> Tab:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._out)
        os.close(self._in)
        shutil.rmtree(self._profile, ignore_errors=True)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of one command. Raises RuntimeError when the browser refuses it or does not answer."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        ends = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < ends:
            answer = self._next(ends - time.monotonic())
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
        raise RuntimeError(f"{method}: no answer within {ANSWER_SECONDS:.0f} s")

    def _next(self, seconds: float) -> dict[str, Any]:
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._in], [], [], max(0.0, seconds))
            if not ready:
                return {}
            data = os.read(self._in, 1 << 20)
            if not data:
                raise RuntimeError("The browser ended.")
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\0")
        return json.loads(line)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{script[:60]}: {answer['exceptionDetails'].get('exception', {}).get('description')}")
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = 60.0) -> None:
        """Wait until the expression is true. Raises RuntimeError after `seconds`."""
        ends = time.monotonic() + seconds
        while not self.run(f"Boolean({script})"):
            if time.monotonic() > ends:
                raise RuntimeError(f"not within {seconds:.0f} s: {script}")
            time.sleep(0.05)

    def click(self, selector: str) -> None:
        """Press the left mouse button in the middle of an element, as a person does. Waits for nothing."""
        found = f"document.querySelector({json.dumps(selector)})"
        self.wait(f"{found} && {found}.getClientRects().length")
        box = self.run(f"(e => (e.scrollIntoView({{block: 'center'}}), e.getBoundingClientRect().toJSON()))({found})")
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)

    def fill(self, selector: str, value: str) -> None:
        """Set the value of a field and send the events of typing."""
        self.run(
            f"(e => {{ Object.getOwnPropertyDescriptor(Object.getPrototypeOf(e), 'value').set.call(e, {json.dumps(value)});"
            " for (const kind of ['input', 'change', 'blur']) e.dispatchEvent(new Event(kind, {bubbles: true})); })"
            f"(document.querySelector({json.dumps(selector)}))"
        )

    def metrics(self) -> dict[str, float]:
        """The page's counters, durations in seconds."""
        return {metric["name"]: metric["value"] for metric in self.send("Performance.getMetrics")["metrics"]}
