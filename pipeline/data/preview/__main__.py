"""The scan process: `python -m pipeline.data.preview`, started by `pipeline.data.preview.process`.

Reads one source, which the first line on its stdin names, and answers requests about it, each in its own thread. Rows
are cached, so that a scan for other keywords need not read the source again. The process ends when its stdin does.
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
from pipeline.data.preview.process import ARCHIVES
from pipeline.data.preview.scan import scan
from pipeline.data.report.samples import Samples
from pipeline.data.sources import Source, open_source
from pipeline.data.sources.cache import CachedSource, Memory
from pipeline.data.sources.index_settings import IndexSettings
from pipeline.data.sources.package_index import client_of
from pipeline.data.sources.pypi import IndexAccess
from pipeline.data.sources.sdist_store import SdistStore

FILE_BYTES = 64 * 2**20
"""Maximum size of a file that it may write: an archive, or the Hub client's cache."""
MAX_ARCHIVES_BYTES = 220 * 2**20
"""Maximum size of the archives in its own folder; the page ends it when the whole folder exceeds DISK_BYTES."""
SAMPLES_OF_ALL_KEYWORDS = 100
MAX_SAMPLES_OF_EACH = 10
TRACEBACK_CHARACTERS = 4_000


def main() -> None:
    responses = _ResponseWriter()
    setup = json.loads(sys.stdin.buffer.readline())
    index = _index(setup)
    _import_heavy(setup["source"])
    if index is not None:
        client_of(index.settings)  # it reads certificates
    layers = confine(_confinement(setup, index))
    responses.send({"ready": layers})
    server = _Server(setup, index, responses)
    for line in sys.stdin.buffer:
        server.take(json.loads(line))
    os._exit(0)  # the page has ended: nothing here is worth waiting for


def _index(setup: dict[str, Any]) -> IndexAccess | None:
    """The package index, with a store in the process's own folder; it may read the home's store, not write to it."""
    if setup.get("index") is None:
        return None
    also = setup.get("archives")
    store = SdistStore(Path(setup["folder"], ARCHIVES), MAX_ARCHIVES_BYTES, Path(also) if also else None)
    return IndexAccess(IndexSettings.from_dict(setup["index"]), store)


def _import_heavy(source: str) -> None:
    """Runs before the process is confined: afterwards it may open fewer files, and some imports read other files."""
    import polars
    import pyarrow.parquet

    assert polars and pyarrow.parquet
    if source.startswith("hub:"):
        import datasets
        import huggingface_hub.hf_file_system

        from pipeline.data.sources import hub

        assert datasets and huggingface_hub.hf_file_system and hub


def _confinement(setup: dict[str, Any], index: IndexAccess | None) -> Confinement:
    from_hub = setup["source"].startswith("hub:")
    servers = [] if index is None else [address.url for address in index.settings.addresses]
    file_hosts = [] if index is None else [f"https://{host}" for host in index.settings.file_hosts]
    return Confinement(
        memory_bytes=setup["memory_bytes"],
        file_bytes=FILE_BYTES,
        folder=Path(setup["folder"]),
        reads_all_files=setup["source"].startswith("files:"),
        hub_endpoint=os.environ.get("HF_ENDPOINT", "https://huggingface.co") if from_hub else None,
        servers=(*servers, *file_hosts),
        readable=(index.store.also,) if index is not None and index.store.also is not None else (),
    )


class _ResponseWriter:
    """Writes responses to the process's stdout. Whatever else is printed goes to stderr."""

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
    """Answers requests about one source."""

    def __init__(self, setup: dict[str, Any], index: IndexAccess | None, responses: _ResponseWriter) -> None:
        self._spec, self._builders, self._index = setup["source"], setup["builders"], index
        self._responses = responses
        self._memory = Memory()
        self._stopped: set[int] = set()

    def take(self, message: dict[str, Any]) -> None:
        if "stop" in message:
            self._stopped.add(message["stop"])
        else:
            threading.Thread(target=self._answer, args=(message,), daemon=True).start()

    def _answer(self, request: dict[str, Any]) -> None:
        number = request["id"]
        try:
            self._scan(number, request)
            self._responses.send({"id": number, "done": True})
        except PipelineError as error:
            self._responses.send({"id": number, "error": str(error), "exit_status": error.exit_status})
        except MemoryError:
            self._responses.send({"id": number, "memory": True})
        except BaseException:  # a panic in a Rust library is not an Exception; the page logs and reports it
            self._responses.send({"id": number, "crash": traceback.format_exc()[-TRACEBACK_CHARACTERS:]})

    def _scan(self, number: int, request: dict[str, Any]) -> None:
        source = self._source()
        keywords = request["keywords"]
        of_each = max(1, min(MAX_SAMPLES_OF_EACH, SAMPLES_OF_ALL_KEYWORDS // max(1, len(keywords))))
        has_sample = False
        for state in scan(
            source,
            keywords,
            match=request["match"],
            limit=request["limit"],
            should_stop=lambda: number in self._stopped,
            max_seconds=request["seconds"],
            max_bytes=request["bytes"],
            samples=Samples(max_of_each=of_each),
        ):
            # Samples are most of a message, so only the first ones and the last ones are sent.
            is_over = state.done or state.ended is not None
            with_samples = is_over or (not has_sample and bool(state.samples))
            has_sample = has_sample or with_samples
            self._responses.send({"id": number, "scan": scan_message(state, with_samples=with_samples)})

    def _source(self) -> Source:
        return CachedSource(open_source(self._spec, builders=self._builders, index=self._index), self._memory)


if __name__ == "__main__":
    main()
