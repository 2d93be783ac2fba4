"""What the page offers to run in the visitor's own browser, and within which limits. Nothing of it is run here."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from pipeline.core.settings import PYODIDE_VERSION
from pipeline.ui.generate.program import DrawingProgram, drawing_program
from pipeline.ui.shared.texts import t

RUN_SECONDS = 60
"""How long the program may run, from when it starts."""
LOAD_SECONDS = 300
"""How long fetching and starting Pyodide may take: 50 MB at 2 Mbit/s."""
MAX_PIXELS = 16_000_000
"""Of one plot. A small file can hold an image that takes gigabytes of memory when it is shown."""
OUTPUT_CHARACTERS = 20_000
FRAME_LIMITS = {
    "plots": 4,
    "plot_bytes": 4_000_000,
    "output_characters": OUTPUT_CHARACTERS,
    "messages": OUTPUT_CHARACTERS + 10,  # one for each character, if a program prints them one by one
    "memory_bytes": 2**30,
}
"""What the frame lets out of its worker. The page checks the same again."""
TEXTS = (
    *("opening", "loading", "starting", "running", "again", "plot", "none", "one", "several"),
    *("failed", "cancelled", "timeout", "slow", "image", "fetch", "load", "worker", "python", "message"),
)
"""What the page's script says, by the end of its key in the catalogue."""
FILLED_BY_SCRIPT = ("done", "total", "size", "seconds", "plots", "number", "detail")
MAX_KEPT_BYTES = 150_000_000
"""Of fetched files that the page keeps in memory for the next run."""
PAGE_LIMITS = {
    **FRAME_LIMITS,
    "kept_bytes": MAX_KEPT_BYTES,
    "run_seconds": RUN_SECONDS,
    "load_seconds": LOAD_SECONDS,
    "pixels": MAX_PIXELS,
}


@dataclass(frozen=True)
class BrowserRun:
    """A program that can be run, and where its interpreter comes from."""

    program: DrawingProgram
    host: str
    version: str = PYODIDE_VERSION

    @property
    def limits(self) -> dict[str, int]:
        return PAGE_LIMITS

    @property
    def texts(self) -> dict[str, str]:
        """With {placeholders} that the script fills."""
        filled_later = {name: f"{{{name}}}" for name in FILLED_BY_SCRIPT}
        return {name: t(f"see.{name}", host=self.host, **filled_later) for name in TEXTS}


def browser_run(pyodide_url: str | None, prompt: str, text: str) -> BrowserRun | None:
    """What can be offered for a completion: None when it draws nothing, or the instance does not offer it."""
    if pyodide_url is None:
        return None
    program = drawing_program(prompt + text, prompt)
    return None if program is None else BrowserRun(program, urlsplit(pyodide_url).netloc)
