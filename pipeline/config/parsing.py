"""Fields of configuration as people write them: names checked, texts turned into values of the field's type."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from typing import Any

from pipeline.core.errors import InputError, require

WANTED: dict[Any, str] = {int: "a whole number", bool: "true or false"}


def parsed(changes: dict[str, Any], *kinds: type) -> dict[str, Any]:
    """`changes`, fields of the dataclasses `kinds` as values or as text, as values.

    Raises InputError for a name that none of them has, and for what cannot be read as the field's type.
    """
    hints = {name: hint for kind in kinds for name, hint in typing.get_type_hints(kind).items()}
    for name in changes:
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(hints))}."
            raise InputError(f"There is no setting {name!r}; {hint}")
    return {name: parse_value(name, value, hints[name]) for name, value in changes.items()}


def known(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """Those of `values` that are fields of the dataclass `kind`: what a newer version has added is left out."""
    names = {item.name for item in dataclasses.fields(kind)}
    return {name: value for name, value in values.items() if name in names}


def parse_value(name: str, value: Any, kind: Any) -> Any:
    """`value` as the type of the field `name`. Raises InputError when it cannot be read as one."""
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if type(None) in options and value in (None, "", "none", "None"):
        return None
    kind = next(option for option in options if option is not type(None))
    try:
        if kind is bool:
            return _as_bool(value)
        if kind is int:
            return _as_int(value)
        if kind is float:
            number = float(value)
            require(math.isfinite(number), name, value, "give a finite number")
            return number
        if typing.get_origin(kind) is tuple:
            return tuple(word for word in value.split(",") if word) if isinstance(value, str) else tuple(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name} is {value!r}; give {WANTED.get(kind, 'a number')}.") from error
    return value.strip() if isinstance(value, str) else value


def _as_int(value: Any) -> int:
    if isinstance(value, str):
        return int(value.replace("_", "").replace(",", ""))
    if isinstance(value, bool) or int(value) != value:
        raise ValueError("not a whole number")
    return int(value)


def _as_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if str(value).strip().lower() not in words:
        raise ValueError("neither true nor false")
    return words[str(value).strip().lower()]
