"""Parsing of configuration fields typed by people: checks names and converts text to the field's type."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import types
import typing
from typing import Any

from pipeline.core.errors import FieldError, InputError, require

THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+")
"""A whole number with commas, as the page shows it. `1,5` is none: some would read it as one and a half."""
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
WANTED: dict[Any, str] = {int: "a whole number", bool: "true or false", str: "a text"}


def parsed(changes: dict[str, Any], *kinds: type) -> dict[str, Any]:
    """Convert `changes`, fields of the dataclasses `kinds` given as values or as text, to the fields' types.

    Raises InputError for a name that none of them has, and for a value that cannot be converted.
    """
    hints = {name: hint for kind in kinds for name, hint in typing.get_type_hints(kind).items()}
    for name in changes:
        if name not in hints:
            near = difflib.get_close_matches(name, hints, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(hints))}."
            raise InputError(f"There is no setting {name!r}; {hint}")
    return {name: parse_value(name, value, hints[name]) for name, value in changes.items()}


def known(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """The entries of `values` that are fields of the dataclass `kind`; keys added by a newer version are dropped."""
    names = {item.name for item in dataclasses.fields(kind)}
    return {name: value for name, value in values.items() if name in names}


def convert_fields(config: Any) -> None:
    """Convert the fields of a new frozen dataclass to their types, all but text: values decoded from JSON that somebody
    edited may have another one. Raises InputError for a value that cannot be converted.
    """
    for name, hint in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        if not isinstance(value, str) or str not in (hint, *typing.get_args(hint)):
            object.__setattr__(config, name, parse_value(name, value, hint))


def parse_value(name: str, value: Any, kind: Any) -> Any:
    """Convert `value` to `kind`, the type of the field `name`. Raises InputError when it cannot be converted."""
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
            number = _as_float(value)
            require(math.isfinite(number), name, value, "give a finite number")
            return number
        if typing.get_origin(kind) is tuple:
            return _as_words(value)
        if kind is str and not isinstance(value, str):
            raise ValueError("not a text")
    except (TypeError, ValueError, OverflowError) as error:
        wanted = WANTED.get(kind, "a list of words" if typing.get_origin(kind) is tuple else "a number")
        example = f", with a point as in {value.strip().replace(',', '.')}" if _has_decimal_comma(kind, value) else ""
        raise FieldError(name, value, f"give {wanted}{example}") from error
    return value.strip() if isinstance(value, str) else value


def _has_decimal_comma(kind: type, value: Any) -> bool:
    return kind is float and isinstance(value, str) and DECIMAL_COMMA.fullmatch(value.strip()) is not None


def _as_int(value: Any) -> int:
    if isinstance(value, str):
        text = value.strip()
        return int(text.replace(",", "") if THOUSANDS.fullmatch(text) else text)
    if isinstance(value, bool) or int(value) != value:
        raise ValueError("not a whole number")
    return int(value)


def _as_float(value: Any) -> float:
    if isinstance(value, bool):  # float(True) is 1.0
        raise ValueError("not a number")
    return float(value)


def _as_words(value: Any) -> tuple[str, ...]:
    words = value.split(",") if isinstance(value, str) else list(value)
    if isinstance(value, dict) or not all(isinstance(word, str) for word in words):
        raise ValueError("not a list of words")
    return tuple(word for word in words if word) if isinstance(value, str) else tuple(words)


def _as_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if str(value).strip().lower() not in words:
        raise ValueError("neither true nor false")
    return words[str(value).strip().lower()]
