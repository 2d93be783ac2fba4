"""What a dataset's card (README.md) says about its files: the `configs` in its front matter.

A card is somebody else's text. It is read as plain YAML under limits, and nothing of it is opened: what it names is only
ever compared with the names that the Hub has listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.core.errors import InputError
from pipeline.data.sources.names import is_inside, shown

LARGEST_CARD = 2**20
"""Bytes of a card that are read; its front matter has to end in them."""
MOST_VALUES = 200_000
"""Values of a front matter, those behind an alias counted each time: YAML can spell billions of them in a kilobyte."""
DEEPEST = 40
LONG_NUMBER = re.compile(r"[-+.]?[0-9][-+.:_xob0-9a-fA-F]{100,}")
"""YAML has numbers to the base of 60, which take long to read."""
MOST_NAMES = 12
"""Names of configs that a message shows."""
MOST_PATTERNS = 20_000
FRONT_MATTER = re.compile(
    r"\A\ufeff?\s*---[ \t]*(?:\r\n|\r|\n)(.*?)(?:\r\n|\r|\n)---[ \t]*(?:\r\n|\r|\n|\Z)", re.DOTALL
)
SPLIT = re.compile(r"\w+(?:\.\w+)*")


@dataclass(frozen=True)
class Config:
    """One of a dataset's sets of files."""

    data_files: dict[str, list[str]] | None = None
    """Split -> patterns of names below `data_dir`; None: by the rules for names."""
    data_dir: str = ""
    """A folder of the repository; empty: its root."""


class _Unfit(Exception):
    """Why the front matter cannot be read."""


def config_of(card: bytes, repo: str) -> Config:
    """The only config of a card, or its default one; an empty one if it has none.

    Raises InputError, in one sentence, when the card cannot be read, when it has several configs and no default, or when
    the config names anything but paths inside the repository.
    """
    try:
        configs = _configs(_front_matter(card))
        return _config(_default(configs, repo), repo)
    except _Unfit as fault:
        raise InputError(f"The card (README.md) of dataset {repo!r} {fault}; choose another dataset.") from None


def _front_matter(card: bytes) -> Any:
    text = card[:LARGEST_CARD].decode("utf-8", "replace")
    match = FRONT_MATTER.match(text)
    if match is None:
        if len(card) >= LARGEST_CARD and text.lstrip("\ufeff").lstrip().startswith("---"):
            raise _Unfit("begins with more than 1 MB of YAML")
        return None
    return _loaded(match[1])


def _loaded(text: str) -> Any:
    import yaml

    try:
        _check_size(text)
        return yaml.load(text, Loader=_loader())
    # Beside YAML's own: a date that is none, a number that is none, a list as a key, letters that YAML forbids.
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        raise _Unfit("holds YAML that cannot be read") from None


def _loader() -> Any:
    """What safe_load loads with, in C where there is one: ten times as fast."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _check_size(text: str) -> None:
    """Raises _Unfit when what `text` spells is too large or too deep. Nothing is built for that."""
    import yaml

    sizes: dict[str, int] = {}
    """Of the values behind the names of anchors."""
    open_values: list[list[Any]] = [["", 0]]
    """From the outermost to the innermost: an anchor, and the number of values so far."""

    def add(num_values: int) -> None:
        open_values[-1][1] += num_values
        if open_values[-1][1] > MOST_VALUES:
            raise _Unfit("holds too much YAML")

    for event in yaml.parse(text, Loader=_loader()):
        if isinstance(event, yaml.events.CollectionStartEvent):
            if len(open_values) > DEEPEST:
                raise _Unfit("holds YAML that is nested too deep")
            open_values.append([event.anchor, 1])
        elif isinstance(event, yaml.events.CollectionEndEvent):
            anchor, size = open_values.pop()
            sizes[anchor] = size
            add(size)
        elif isinstance(event, yaml.events.AliasEvent):
            if event.anchor not in sizes:  # of nothing, or of a value inside itself
                raise _Unfit("holds YAML that refers to itself")
            add(sizes[event.anchor])
        elif isinstance(event, yaml.events.ScalarEvent):
            if event.implicit[0] and LONG_NUMBER.fullmatch(event.value):
                raise _Unfit("holds a number of too many digits")
            sizes[event.anchor] = 1
            add(1)


def _configs(front_matter: Any) -> dict[str, dict[str, Any]]:
    """The configs by name, as they stand in the card."""
    found = front_matter.get("configs") if isinstance(front_matter, dict) else None
    if not found:
        return {}
    if not isinstance(found, list) or not all(isinstance(one, dict) and "config_name" in one for one in found):
        raise _Unfit("has `configs` that are no list of configs with names")
    return {str(one["config_name"]): one for one in found}


def _default(configs: dict[str, dict[str, Any]], repo: str) -> dict[str, Any]:
    defaults = [name for name, one in configs.items() if len(configs) == 1 or name == "default" or one.get("default")]
    if len(defaults) > 1:
        raise _Unfit(f"has several default configs: {_listed(defaults)}")
    if configs and not defaults:
        raise InputError(
            f"Dataset {repo!r} has several configs and no default: {_listed(list(configs))}; choose another dataset."
        )
    return configs[defaults[0]] if defaults else {}


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return ", ".join(map(shown, names[:MOST_NAMES])) + more


def _config(found: dict[str, Any], repo: str) -> Config:
    folder = found.get("data_dir")
    if isinstance(folder, str) and folder != "/":
        folder = folder.removesuffix("/")
    data_files = found.get("data_files")
    splits = None if data_files is None else dict(_splits(data_files))
    if sum(map(len, (splits or {}).values())) > MOST_PATTERNS:
        raise _Unfit("names too many files")
    return Config(
        None if splits is None else {split: [_path(one, repo) for one in paths] for split, paths in splits.items()},
        "" if folder in (None, "", ".") else _path(folder, repo),
    )


def _splits(data_files: Any) -> Iterator[tuple[str, list[Any]]]:
    """Split and what stands there as its patterns: of a pattern, a list of them, a mapping, or a list of {split, path}."""
    if isinstance(data_files, list) and any(isinstance(one, dict) for one in data_files):
        if not all(isinstance(one, dict) and set(one) == {"split", "path"} for one in data_files):
            raise _Unfit("has `data_files` that are no list of `split` and `path`")
        pairs = [(one["split"], one["path"]) for one in data_files]
    else:
        pairs = list(data_files.items()) if isinstance(data_files, dict) else [("train", data_files)]
    names = [str(split) for split, _ in pairs]
    if len(set(names)) < len(names) or not all(map(SPLIT.fullmatch, names)):
        raise _Unfit("has names of splits that are none, or come twice")
    for name, (_, paths) in zip(names, pairs, strict=True):
        yield name, paths if isinstance(paths, list) else [paths]


def _path(pattern: Any, repo: str) -> str:
    """`pattern` without `./` before it. Raises InputError when it is no path inside the repository."""
    path = pattern.removeprefix("./") if isinstance(pattern, str) else ""
    if not is_inside(path):
        raise InputError(
            f"The card (README.md) of dataset {repo!r} names {shown(pattern)}, which is no path inside its repository; "
            "choose another dataset."
        )
    return path
