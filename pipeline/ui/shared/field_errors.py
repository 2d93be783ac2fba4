"""Messages about the value of a field, in the page's words: they name fields by their labels and values without Python's
quotes. form.js shows each at its field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from pipeline.core.errors import BusyError, FieldError, InputError, PipelineError
from pipeline.ui.shared.access import AccessError
from pipeline.ui.shared.markup import notice
from pipeline.ui.shared.texts import t

SETTING = re.compile(r"\b[a-z]+(?:_[a-z]+)+\b")
"""The name of a setting inside a sentence; names without an underscore are ordinary words too."""
MAX_SHOWN = 200
"""Characters of a value that are shown."""


class Field(NamedTuple):
    """One field of a form."""

    label: str
    elem_id: str
    """Id of the field's element on the page."""
    remedy: str = ""
    """What to do about any invalid value, where the setting's own remedy speaks of other words than the page's."""


Fields = Mapping[str, Field]
"""The fields of a form by the names of their settings."""


def message_of(error: PipelineError, fields: Fields) -> str:
    """The message of `error` in the words of a form with `fields`."""
    field = fields.get(error.name) if isinstance(error, FieldError) else None
    if not isinstance(error, FieldError) or field is None:
        return str(error)
    remedy = field.remedy or labelled(error.remedy, fields)
    if error.value in (None, "", [], ()):
        return t("field.empty", label=field.label, remedy=remedy)
    return t("field.wrong", label=field.label, value=_shown(error.value), remedy=remedy)


def notice_of(error: PipelineError, fields: Fields, *, default: str = "", more: str = "") -> str:
    """The notice of `error`, tied to the field that it concerns. `default`: the setting that any other refusal of a
    request concerns; `more`: a second sentence, not about the field.
    """
    is_refusal = isinstance(error, InputError) and not isinstance(error, (AccessError, BusyError))
    field = fields.get(error.name or default) if isinstance(error, InputError) and is_refusal else None
    return notice(message_of(error, fields), field=field.elem_id if field else "", more=more)


def _shown(value: object) -> str:
    if isinstance(value, (list, tuple)):
        value = ", ".join(map(str, value))
    return t("field.value", value=value[:MAX_SHOWN]) if isinstance(value, str) else str(value)


def labelled(text: str, fields: Fields) -> str:
    """`text`, of the engine, with the labels of the settings that it names."""
    return SETTING.sub(
        lambda name: t("field.value", value=fields[name[0]].label) if name[0] in fields else name[0], text
    )
