"""Finds the files of a dataset's splits from its file names and its card, with the same result as `datasets`.

The rules are those of datasets/data_files.py; tests/data/sources/test_splits.py compares the two.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable

from pipeline.data.readers.formats import CSV, JSON, JSON_LINES, PARQUET, TEXT, TSV, format_of
from pipeline.data.sources.dataset_card import Config
from pipeline.data.sources.names import GLOB, Names, UnfitPattern, shown

KEYWORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
END = r"[-._ 0-9]"
"""Separates a keyword from the rest of a name; not needed at the name's start and end."""
SHARD = re.compile(r"data/(?P<split>[^/]+)-\d{5}-of-\d{5}[^/]*\.[^/]*")
METADATA = frozenset(
    "README.md config.json dataset_info.json dataset_infos.json dummy_data.zip dataset_dict.json".split()
)
"""Names of files without rows, unless a card names them."""
BUILDERS = {".arrow": "arrow"}
"""File extension -> the builder of `datasets` for it; formats with a reader of our own need none. No builder listed
here unpickles data or follows references from its files to others.
"""
FAMILIES = {JSON: "json", JSON_LINES: "json", PARQUET: "parquet", CSV: "csv", TSV: "tsv", TEXT: "text"}
"""Formats of one family are read alike. In a repository without a card, only one family holds its rows."""
FAVOURITES = ("parquet", ".arrow", "jsonl", "json", "csv")


Has = Callable[[str, re.Pattern[str]], bool]


def splits_of(names: Iterable[str], config: Config) -> dict[str, list[str]]:
    """Split -> its files, in order; splits without files are omitted. `names` are those of all files of the repository,
    each a plain path.

    Raises UnfitPattern when a pattern of `config` cannot be compared, or names a missing file.
    """
    folder = f"{config.data_dir}/" if config.data_dir else ""
    found = Names(name.removeprefix(folder) for name in names if name.startswith(folder) and is_data(name))
    splits = _by_name(list(found)) if config.data_files is None else _by_pattern(found, config.data_files)
    if config.data_files is None:
        splits = {split: _of_one_family(paths) for split, paths in splits.items()}
    return {split: [folder + path for path in paths] for split, paths in splits.items() if paths}


def is_data(name: str) -> bool:
    found = format_of(name)
    return found.kind in FAMILIES if found else builder_of(name) is not None


def builder_of(name: str) -> str | None:
    """The builder of `datasets` that a file needs; None for a file that has a reader of our own, or none at all."""
    return next((builder for ending, builder in BUILDERS.items() if name.lower().endswith(ending)), None)


def _by_pattern(names: Names, data_files: dict[str, list[str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for split, patterns in data_files.items():
        paths: list[str] = []
        for pattern in patterns:
            own = names.matching(pattern)
            if not own and not GLOB.search(pattern):
                raise UnfitPattern(f"{shown(pattern)}, which is not among its files")
            last = pattern.rpartition("/")[2]
            paths += [path for path in own if _base(path) not in METADATA - {last}]
        found[split] = list(dict.fromkeys(paths))
    return found


def _by_name(names: list[str]) -> dict[str, list[str]]:
    """The splits by `data/SPLIT-00000-of-00001.parquet`, else by keywords in folder names, else by keywords in file
    names; otherwise all files are `train`.
    """
    names = [name for name in names if _base(name) not in METADATA and not _is_hidden(name)]
    shards = {name: match["split"] for name in names if (match := SHARD.fullmatch(name))}
    if shards:
        others = sorted(set(shards.values()) - set(KEYWORDS))
        return {split: [n for n, own in shards.items() if own == split] for split in [*KEYWORDS, *others]}
    for has in (_folder_has, _file_has):
        splits = {split: _having(names, patterns, has) for split, patterns in PATTERNS[has].items()}
        if any(splits.values()):
            return splits
    return {"train": names}


def _folder_has(name: str, pattern: re.Pattern[str]) -> bool:
    return any(pattern.fullmatch(part) for part in name.split("/")[:-1])


def _file_has(name: str, pattern: re.Pattern[str]) -> bool:
    return pattern.fullmatch(_base(name)) is not None


def _having(names: list[str], patterns: list[re.Pattern[str]], has: Has) -> list[str]:
    """The names that contain a keyword, ordered by pattern as in `datasets`."""
    return list(dict.fromkeys(name for pattern in patterns for name in names if has(name, pattern)))


def _patterns(*forms: str) -> dict[str, list[re.Pattern[str]]]:
    return {
        split: [re.compile(form.format(word), re.DOTALL) for word in words for form in forms]
        for split, words in KEYWORDS.items()
    }


PATTERNS: dict[Has, dict[str, list[re.Pattern[str]]]] = {
    _folder_has: _patterns("{0}", f"{{0}}{END}.*", f".*{END}{{0}}", f".*{END}{{0}}{END}.*"),
    _file_has: _patterns(f"{{0}}{END}.*", f".*{END}{{0}}{END}.*"),
}


def _is_hidden(name: str) -> bool:
    *folders, base = name.split("/")
    return any(part.startswith(".") for part in [*folders, base]) or any(part.startswith("__") for part in folders)


def _of_one_family(names: list[str]) -> list[str]:
    """The files of the family whose extension is most common."""
    counts = Counter(_ending(name) for name in names)
    best = max(counts, key=lambda ending: (counts[ending], *(ending == one for one in FAVOURITES), ending), default="")
    return [name for name in names if _family(name) == _family(f"a.{best}")]


def _ending(name: str) -> str:
    """The extension without that of the compression."""
    found = format_of(name)
    stem = name.lower().removesuffix(found.packing if found else "")
    return stem.rpartition(".")[2]


def _family(name: str) -> str:
    found = format_of(name)
    return FAMILIES[found.kind] if found else builder_of(name) or ""


def _base(name: str) -> str:
    return name.rpartition("/")[2]
