"""Where code comes from: `installed`, `files:PATH` or `hub:REPO`, all as batches of the same six columns."""

from __future__ import annotations

from pipeline.core.errors import InputError
from pipeline.data.sources.base import COLUMNS, BadRow, Batch
from pipeline.data.sources.shard import Piece, Shard, Source

__all__ = ["COLUMNS", "BadRow", "Batch", "Piece", "Shard", "Source", "open_source"]


def open_source(spec: str, *, builders: bool = True) -> Source:
    """The source that `spec` names. Reads nothing yet; raises InputError when it names none or its path is missing.

    `builders`: whether a dataset's files may be read by `datasets` where we have no reader of our own. That takes memory
    without a limit: only for the page's owner.
    """
    kind, _, rest = spec.partition(":")
    if spec == "installed":
        from pipeline.data.sources.installed import InstalledSource

        return InstalledSource()
    if kind == "files":
        from pipeline.data.sources.local_files import FilesSource

        return FilesSource(rest)
    if kind == "hub":
        from pipeline.data.sources.hub import HubSource

        return HubSource(rest, builders=builders)
    raise InputError(f"There is no source {spec!r}; use installed, files:PATH or hub:REPO.")
