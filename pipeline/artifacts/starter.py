"""The starter revision: a small model that comes with the program. It answers until the first push, without a network.

`python -m pipeline.training.starter` makes it from a run (`make starter`).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pipeline.artifacts.checkpoint import PROVENANCE
from pipeline.artifacts.revision import Revision
from pipeline.core.atomic_io import readable_json
from pipeline.core.paths import ASSETS

STARTER = "starter"
"""The name of its repo; it also names the revision, as a prefix of its id does."""
FOLDER = ASSETS / STARTER


@cache
def starter(folder: Path = FOLDER) -> Revision | None:
    """None when it is not part of this installation."""
    facts = readable_json(folder / PROVENANCE)
    return Revision.from_facts(facts, commit=None, path=folder) if facts else None
