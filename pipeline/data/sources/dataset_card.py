"""Reads from a dataset's card (README.md) which files belong to it: the `configs` in its front matter.

A card is untrusted text. It is parsed as plain YAML under limits, and nothing that it names is opened: its paths are
only compared with the file names that the Hub lists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.core.errors import InputError
from pipeline.data.sources.names import is_inside, shown

LARGEST_CARD = 2**20
"""Bytes of a card that are read; its front matter must end within them."""
MAX_VALUES = 200_000
"""Maximum values in a front matter. Aliased values count at each use: a kilobyte of YAML can describe billions."""
DEEPEST = 40
LONG_NUMBER = re.compile(r"[-+.]?[0-9][-+.:_xob0-9a-fA-F]{100,}")
"""Numbers that take long to parse, such as YAML's numbers in base 60."""
MAX_NAMES = 12
"""Maximum number of config names in a message."""
MAX_PATTERNS = 20_000
FRONT_MATTER = re.compile(
    r"\A\ufeff?\s*---[ \t]*(?:\r\n|\r|\n)(.*?)(?:\r\n|\r|\n)---[ \t]*(?:\r\n|\r|\n|\Z)", re.DOTALL
)
PLAIN_NAME = re.compile(r"\w[\w.+-]{,60}", re.ASCII)
SPLIT = re.compile(r"\w+(?:\.\w+)*")


@dataclass(frozen=True)
class Config:
    """One config of a dataset: a set of files."""

    data_files: dict[str, list[str]] | None = None
    """Split -> patterns of names below `data_dir`; None if the splits follow from the file names."""
    data_dir: str = ""
    """A folder of the repository; empty for its root."""


class _InvalidCard(Exception):
    """The front matter cannot be used; the text is the reason."""


def config_of(card: bytes, repo: str, name: str | None = None) -> Config:
    """The config `name` of a card; without a name its only or default one, or an empty Config if the card has none.

    Raises InputError, in one sentence, when the card cannot be read, when it lacks the config, when it has several and
    none is named or the default, or when the config names anything but paths inside the repository.
    """
    try:
        configs = _configs(_front_matter(card))
        return _config(_default(configs, repo) if name is None else _named(configs, name, repo), repo)
    except _InvalidCard as fault:
        raise InputError(f"The card (README.md) of dataset {repo!r} {fault}; choose another dataset.") from None


def _front_matter(card: bytes) -> Any:
    text = card[:LARGEST_CARD].decode("utf-8", "replace")
    match = FRONT_MATTER.match(text)
    if match is None:
        if len(card) >= LARGEST_CARD and text.lstrip("\ufeff").lstrip().startswith("---"):
            raise _InvalidCard("begins with more than 1 MB of YAML")
        return None
    return _loaded(match[1])


def _loaded(text: str) -> Any:
    import yaml

    try:
        _check_size(text)
        return yaml.load(text, Loader=_loader())
    # Besides YAML's own errors: an invalid date, an invalid number, a list as a key, characters that YAML forbids.
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        raise _InvalidCard("holds YAML that cannot be read") from None


def _loader() -> Any:
    """The loader of safe_load, in its C version if there is one: ten times as fast."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _check_size(text: str) -> None:
    """Raises _InvalidCard when `text` has too many values or is nested too deep. Builds no objects for that."""
    import yaml

    sizes: dict[str, int] = {}
    """Anchor -> number of values behind it."""
    open_values: list[list[Any]] = [["", 0]]
    """The open collections from the outermost to the innermost: an anchor, and the number of values so far."""

    def add(num_values: int) -> None:
        open_values[-1][1] += num_values
        if open_values[-1][1] > MAX_VALUES:
            raise _InvalidCard("holds too much YAML")

    for event in yaml.parse(text, Loader=_loader()):
        if isinstance(event, yaml.events.CollectionStartEvent):
            if len(open_values) > DEEPEST:
                raise _InvalidCard("holds YAML that is nested too deep")
            open_values.append([event.anchor, 1])
        elif isinstance(event, yaml.events.CollectionEndEvent):
            anchor, size = open_values.pop()
            sizes[anchor] = size
            add(size)
        elif isinstance(event, yaml.events.AliasEvent):
            if event.anchor not in sizes:  # an undefined anchor, or an alias inside its own value
                raise _InvalidCard("holds YAML that refers to itself")
            add(sizes[event.anchor])
        elif isinstance(event, yaml.events.ScalarEvent):
            if event.implicit[0] and LONG_NUMBER.fullmatch(event.value):
                raise _InvalidCard("holds a number of too many digits")
            sizes[event.anchor] = 1
            add(1)


def _configs(front_matter: Any) -> dict[str, dict[str, Any]]:
    """Config name -> config, as written in the card."""
    found = front_matter.get("configs") if isinstance(front_matter, dict) else None
    if not found:
        return {}
    if not isinstance(found, list) or not all(isinstance(one, dict) and "config_name" in one for one in found):
        raise _InvalidCard("has `configs` that are no list of configs with names")
    return {str(one["config_name"]): one for one in found}


def _default(configs: dict[str, dict[str, Any]], repo: str) -> dict[str, Any]:
    defaults = [name for name, one in configs.items() if len(configs) == 1 or name == "default" or one.get("default")]
    if len(defaults) > 1:
        raise _InvalidCard(f"has several default configs: {_listed(defaults)}")
    if configs and not defaults:
        raise InputError(
            f"Dataset {repo!r} has several configs and no default: {_listed(list(configs))}; "
            f"name one, as in hub:{repo}/{_example(configs)}."
        )
    return configs[defaults[0]] if defaults else {}


def _named(configs: dict[str, dict[str, Any]], name: str, repo: str) -> dict[str, Any]:
    if name in configs:
        return configs[name]
    if name == "default" and not configs:
        return {}
    known = f"it has {_listed(list(configs))}" if configs else "it has none; leave the name out"
    raise InputError(f"Dataset {repo!r} has no config {name!r}: {known}.")


def _example(configs: dict[str, dict[str, Any]]) -> str:
    return next((name for name in configs if PLAIN_NAME.fullmatch(name)), "config")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return ", ".join(map(shown, names[:MAX_NAMES])) + more


def _config(found: dict[str, Any], repo: str) -> Config:
    folder = found.get("data_dir")
    if isinstance(folder, str) and folder != "/":
        folder = folder.removesuffix("/")
    data_files = found.get("data_files")
    splits = None if data_files is None else dict(_splits(data_files))
    if sum(map(len, (splits or {}).values())) > MAX_PATTERNS:
        raise _InvalidCard("names too many files")
    return Config(
        None if splits is None else {split: [_path(one, repo) for one in paths] for split, paths in splits.items()},
        "" if folder in (None, "", ".") else _path(folder, repo),
    )


def _splits(data_files: Any) -> Iterator[tuple[str, list[Any]]]:
    """Each split with its patterns, given as one pattern, a list of patterns, a mapping, or a list of {split, path}."""
    if isinstance(data_files, list) and any(isinstance(one, dict) for one in data_files):
        if not all(isinstance(one, dict) and set(one) == {"split", "path"} for one in data_files):
            raise _InvalidCard("has `data_files` that are no list of `split` and `path`")
        pairs = [(one["split"], one["path"]) for one in data_files]
    else:
        pairs = list(data_files.items()) if isinstance(data_files, dict) else [("train", data_files)]
    names = [str(split) for split, _ in pairs]
    if len(set(names)) < len(names) or not all(map(SPLIT.fullmatch, names)):
        raise _InvalidCard("has names of splits that are invalid or repeated")
    for name, (_, paths) in zip(names, pairs, strict=True):
        yield name, paths if isinstance(paths, list) else [paths]


def _path(pattern: Any, repo: str) -> str:
    """`pattern` without a leading `./`. Raises InputError when it is not a path inside the repository."""
    path = pattern.removeprefix("./") if isinstance(pattern, str) else ""
    if not is_inside(path):
        raise InputError(
            f"The card (README.md) of dataset {repo!r} names {shown(pattern)}, which is no path inside its repository; "
            "choose another dataset."
        )
    return path
