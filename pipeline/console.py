"""What a command prints: one JSON document, or lines for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

from pipeline.jobs.views import CorpusView, RunView


class Console:
    """Prints for people as the work goes on, or, with `as_json`, nothing but one document at the end."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._last = ""

    def line(self, text: str = "") -> None:
        """A line for people."""
        if not self.as_json:
            print(text, flush=True)

    def progress(self, text: str) -> None:
        """A line for people, unless it says what the one before said."""
        if text != self._last:
            self._last = text
            self.line(text)

    def table(self, head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
        """Rows under a head, columns as wide as their widest cell."""
        lines = [head, *[tuple("-" if cell is None else str(cell) for cell in row) for row in rows]]
        widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
        for cells in lines:
            self.line("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())

    def document(self, value: Any) -> None:
        """The command's one JSON document."""
        if self.as_json:
            json.dump(value, sys.stdout, ensure_ascii=False, indent=1, allow_nan=False)
            sys.stdout.write("\n")

    def show_run(self, view: RunView) -> None:
        """One line per state, evaluation or logged step."""
        where = f"step {view.step:,}" + (f" of {view.max_steps:,}" if view.max_steps else "")
        figures = [
            f"loss {view.train_loss:.3f}" if view.train_loss is not None else "",
            f"validation {view.eval_loss:.3f}" if view.eval_loss is not None else "",
            f"{view.tokens_per_second:,.0f} tokens/s" if view.tokens_per_second else "",
            f"{view.eta_seconds:.0f} s left" if view.eta_seconds else "",
            f"place {view.place} in the queue" if view.place else "",
        ]
        self.progress("  ".join(filter(None, [view.run, view.state, where, *figures])))

    def show_corpus(self, view: CorpusView) -> None:
        figures = [
            view.stage or "",
            f"{view.files:,} files kept" if view.files else "",
            f"{view.progress:.0%}" if view.progress is not None and view.state == "running" else "",
            f"place {view.place} in the queue" if view.place else "",
        ]
        self.progress("  ".join(filter(None, [view.corpus, view.state, *figures])))
