"""The scan process: `python -m pipeline.data.preview`, started by `pipeline.data.preview.process`.

Reads one source, which the first line on its stdin names, and answers questions about it, each in a thread of its own; what
was read is remembered, so that other keywords are counted without reading it again. Ends when its stdin does.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from pipeline.core.confinement import Confinement, confine
from pipeline.core.errors import PipelineError
from pipeline.data.preview.messages import line_of, scan_message
from pipeline.data.preview.scan import scan
from pipeline.data.report.samples import Samples
from pipeline.data.sources import Source, open_source
from pipeline.data.sources.cache import Memory, Remembered

FILE_BYTES = 64 * 2**20
"""Of the largest file it may write: the Hub client's cache."""
SAMPLES_OF_ALL_KEYWORDS = 100
MOST_SAMPLES_OF_EACH = 10
TRACEBACK_CHARACTERS = 4_000


def main() -> None:
    answers = _Answers()
    asked = json.loads(sys.stdin.buffer.readline())
    _import_heavy(asked["source"])
    layers = confine(_confinement(asked))
    answers.send({"ready": layers})
    server = _Server(asked, answers)
    for line in sys.stdin.buffer:
        server.take(json.loads(line))
    os._exit(0)  # the page is gone: nothing here is worth waiting for


def _import_heavy(source: str) -> None:
    """Afterwards the process may open fewer files, and some libraries look around while they are imported."""
    import polars
    import pyarrow.parquet

    assert polars and pyarrow.parquet
    if source.startswith("hub:"):
        import datasets
        import huggingface_hub.hf_file_system

        from pipeline.data.sources import hub

        assert datasets and huggingface_hub.hf_file_system and hub


def _confinement(asked: dict[str, Any]) -> Confinement:
    from_hub = asked["source"].startswith("hub:")
    return Confinement(
        memory_bytes=asked["memory_bytes"],
        file_bytes=FILE_BYTES,
        folder=Path(asked["folder"]),
        reads_all_files=asked["source"].startswith("files:"),
        hub_endpoint=os.environ.get("HF_ENDPOINT", "https://huggingface.co") if from_hub else None,
    )


class _Answers:
    """The process's stdout, kept for answers alone: whatever else is printed goes to stderr."""

    def __init__(self) -> None:
        self._stream = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        self._lock = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        try:
            with self._lock:
                self._stream.write(line_of(message))
                self._stream.flush()
        except BrokenPipeError:
            os._exit(0)


class _Server:
    """Answers questions about one source."""

    def __init__(self, asked: dict[str, Any], answers: _Answers) -> None:
        self._spec, self._builders = asked["source"], asked["builders"]
        self._answers = answers
        self._memory = Memory()
        self._stopped: set[int] = set()

    def take(self, message: dict[str, Any]) -> None:
        if "stop" in message:
            self._stopped.add(message["stop"])
        else:
            threading.Thread(target=self._answer, args=(message,), daemon=True).start()

    def _answer(self, question: dict[str, Any]) -> None:
        number = question["id"]
        try:
            self._scan(number, question)
            self._answers.send({"id": number, "done": True})
        except PipelineError as error:
            self._answers.send({"id": number, "error": str(error), "exit_status": error.exit_status})
        except MemoryError:
            self._answers.send({"id": number, "memory": True})
        except BaseException:  # a panic of a library in Rust is no Exception; the page logs it and says so
            self._answers.send({"id": number, "crash": traceback.format_exc()[-TRACEBACK_CHARACTERS:]})

    def _scan(self, number: int, question: dict[str, Any]) -> None:
        source = self._source()
        keywords = question["keywords"]
        of_each = max(1, min(MOST_SAMPLES_OF_EACH, SAMPLES_OF_ALL_KEYWORDS // max(1, len(keywords))))
        has_sample = False
        for state in scan(
            source,
            keywords,
            match=question["match"],
            limit=question["limit"],
            should_stop=lambda: number in self._stopped,
            max_seconds=question["seconds"],
            max_bytes=question["bytes"],
            samples=Samples(most_of_each=of_each),
        ):
            # They are most of a message, and until the end only the first ones are looked at.
            is_over = state.done or state.ended is not None
            with_samples = is_over or (not has_sample and bool(state.samples))
            has_sample = has_sample or with_samples
            self._answers.send({"id": number, "scan": scan_message(state, with_samples=with_samples)})

    def _source(self) -> Source:
        return Remembered(open_source(self._spec, builders=self._builders), self._memory)


if __name__ == "__main__":
    main()
