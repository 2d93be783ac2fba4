"""Opens sources of code: `installed`, `pypi`, `files:PATH` or `hub:REPO`. All yield batches with the same six columns.

base         batches of rows, and the reasons why a row cannot be read
shard        a source divided into shards (for processes) and blocks (for threads)
installed    the Python files of the installed packages
pypi         source distributions of the package index
index_settings
             which index pip's settings name
package_index requests to it
index_page   its pages
sdist_store  downloaded archives
sdist        reading one of them
first_source pypi if the package index can be reached, else installed
local_files  a file, folder or glob of this machine
walk         which files that is: each once, also with links
hub          a dataset on the Hub; hub_errors: its errors as sentences
dataset_card which files of a dataset belong to it, as its card says
splits       which of them are a split
names        which of them may be opened
datasets_builders
             formats without a reader of our own, read by `datasets`
cache        rows in memory for a scan with other keywords
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.config.source_spec import FORMS, reads_index
from pipeline.core.errors import InputError
from pipeline.data.sources.base import COLUMNS, BadRow, Batch
from pipeline.data.sources.shard import Block, Shard, Source

if TYPE_CHECKING:
    from pipeline.data.sources.pypi import IndexAccess

__all__ = ["COLUMNS", "BadRow", "Batch", "Block", "Shard", "Source", "open_source"]


def open_source(spec: str, *, builders: bool = True, index: IndexAccess | None = None) -> Source:
    """Returns the source that `spec` names, without reading it. Raises InputError when `spec` is invalid or its path is
    missing.

    `builders`: whether `datasets` may read a dataset's files in formats without a reader of our own. Its memory use
    is unbounded, so this is only for the page's owner.
    `index`: the package index of a `pypi` source; by default that of pip's settings.
    """
    kind, _, rest = spec.partition(":")
    if spec == "installed":
        from pipeline.data.sources.installed import InstalledSource

        return InstalledSource()
    if reads_index(spec):
        from pipeline.data.sources.pypi import PypiSource

        return PypiSource(spec, index)
    if kind == "files":
        from pipeline.data.sources.local_files import FilesSource

        return FilesSource(rest)
    if kind == "hub":
        from pipeline.data.sources.hub import HubSource

        return HubSource(rest, builders=builders)
    raise InputError(f"There is no source {spec!r}; use {FORMS}.")
