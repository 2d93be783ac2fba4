"""Which pushed revision writes. Knows nothing of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.core.errors import InputError
from pipeline.core.settings import Settings

if TYPE_CHECKING:
    from pipeline.artifacts.revision import Revision


def choose(settings: Settings, text: str = "newest") -> Revision:
    """The revision that `text` names: an id, the beginning of one, or `newest`.

    While this disk has none, the model repo on the Hub is asked. Raises InputError when nothing was pushed yet, or when
    no revision or several are meant.
    """
    from pipeline.hub.hub_registry import open_registry

    registry = open_registry(settings)
    if registry.newest() is None:
        raise InputError(
            "No checkpoint has been pushed yet; train a model first, or wait for the first checkpoint of the run that trains."
        )
    return registry.fetch(registry.get(text))
