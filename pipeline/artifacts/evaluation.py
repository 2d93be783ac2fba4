"""The figures that evaluations have left on this disk, for whoever shows them: evaluations/<revision>.json, or for the
held-out files of another corpus than the revision's own evaluations/<revision>.<corpus>.json.

Does not depend on torch. What is not a result is left out: the files can be edited by hand.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.artifacts.revision import NAME as REVISION
from pipeline.artifacts.revision import Revision
from pipeline.core.atomic_io import readable_json
from pipeline.core.paths import ID, Home
from pipeline.core.untrusted import is_usable

LIBRARIES = ("numpy", "pandas", "matplotlib", "seaborn", "sklearn")
"""Of which there are tasks, and whose files are told apart."""
OF_A_LIBRARY = ("right", "loss", "bits_per_byte")
NAME = re.compile(rf"{REVISION.pattern}(\.{ID.pattern})?")
"""Stem of a file."""
NAMES = ("run", "run_uid", "repo", "commit")
ID_DIGITS = 12
MAX_KEPT_RESULTS = 2_048
"""Files of which the figures are read and kept in memory, about 2 kB each."""


@dataclass(frozen=True)
class _Result:
    """What is read of one file. `row` is shared: change only a copy."""

    stamp: tuple[int, int, int]
    run: object
    run_uid: object
    repo: object
    commit: object
    row: dict[str, Any]


_results_lock = threading.Lock()
_results_kept: OrderedDict[Path, _Result] = OrderedDict()


def files_of_run(home: Home, run: str, run_uid: str | None) -> list[Path]:
    """The files with the results of a run's revisions, without what was written by hand and cannot be sent on."""
    return [path for path, result in _results(home) if (result.run, result.run_uid) == (run, run_uid)]


def is_result(content: dict[str, Any]) -> bool:
    """Whether the content of a file, which somebody else may have written, has figures that can be shown, and nothing that
    cannot.
    """
    return is_usable(content) and _is_named(content) and _row(content) is not None


def of_run(home: Home, run: str, run_uid: str | None) -> list[dict[str, Any]]:
    """A row for each evaluated revision of a run, first step first: its step, the shares of completions that parse, run
    and are right, `libraries`, the figures of each, and `by_heart`, the shares of training and held-out files that it
    continues word for word, or None. Losses are in nats per token.
    """
    found: dict[str, dict[str, Any]] = {}
    for path, result in _results(home):
        if (result.run, result.run_uid) == (run, run_uid):
            found.setdefault(path.name.partition(".")[0], dict(result.row))
    return sorted(found.values(), key=lambda row: row["step"])


def reference_of(home: Home, row: dict[str, Any]) -> dict[str, Any] | None:
    """The row of the model of another repo that was evaluated last with the same tasks and samples as `row`, and its
    `name`. It has bits per byte only if they are of the same files. None when there is none.
    """
    found = []
    for _, result in _results(home):
        repo, commit, other = result.repo, result.commit, result.row
        if result.run or not (isinstance(repo, str) and "/" in repo and isinstance(commit, str)):
            continue
        if all(other[name] == row[name] for name in ("suite", "samples")):
            is_same = row["files"] is not None and other["files"] == row["files"]
            found.append((is_same, result.stamp[0], {**other, "name": f"{repo}@{commit[:ID_DIGITS]}"}))
    if not found:
        return None
    is_same, _, reference = max(found, key=lambda entry: entry[:2])
    if not is_same:  # the loss of other files says nothing beside these
        reference["libraries"] = {
            name: {**figures, "loss": None, "bits_per_byte": None} for name, figures in reference["libraries"].items()
        }
    return reference


def of_revision(home: Home, revision: Revision) -> dict[str, Any] | None:
    """The row of one revision, with `right_10` and its bounds, which is pass@10, and `bits_per_byte`; what was not measured
    is None. None when it was not evaluated.
    """
    result = readable_json(home.evaluation(revision.revision))
    row = _row(result)
    if row is None or (result.get("run"), result.get("run_uid")) != (revision.run, revision.run_uid):
        return None
    of_ten, held_out = result["tasks"].get("pass@10"), result.get("held_out")
    bounds = {"right_10": "value", "right_10_low": "low", "right_10_high": "high"}
    found = {name: _figure(of_ten, key) for name, key in bounds.items()}
    if any(value is None for value in found.values()):
        found = dict.fromkeys(bounds)
    return {**row, **found, "bits_per_byte": _figure(held_out, "bits_per_byte")}


def _results(home: Home) -> list[tuple[Path, _Result]]:
    """Those of revisions' own corpora first, as many as are kept. A file is read again only when it has changed."""
    paths = sorted(home.evaluations.glob("*.json"), key=lambda path: (path.name.count("."), path.name))
    del paths[MAX_KEPT_RESULTS:]
    return [(path, result) for path in paths if (result := _result(path)) is not None]


def _result(path: Path) -> _Result | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    stamp = stat.st_mtime_ns, stat.st_size, stat.st_ino
    with _results_lock:
        kept = _results_kept.get(path)
    if kept is None or kept.stamp != stamp:
        kept = _read(path, stamp)
        with _results_lock:
            _results_kept[path] = kept
            while len(_results_kept) > MAX_KEPT_RESULTS:
                _results_kept.popitem(last=False)
    return kept if kept.row else None


def _read(path: Path, stamp: tuple[int, int, int]) -> _Result:
    """Its row is empty when it is no result."""
    result = readable_json(path)
    names = {name: result.get(name) for name in NAMES}
    return _Result(stamp=stamp, row=(_row(result) if _is_named(result) else None) or {}, **names)


def _is_named(result: dict[str, Any]) -> bool:
    """Whether its names are text that can be shown, or missing."""
    values = [result.get(name) for name in (*NAMES, "suite")]
    return all(value is None or isinstance(value, str) for value in values) and is_usable(values)


def _row(result: dict[str, Any]) -> dict[str, Any] | None:
    try:
        tasks = result["tasks"]
        numbers = {
            "step": result["step"],
            "num_tasks": tasks["count"],
            "samples": result["samples"],
            "parses": tasks["parses"]["value"],
            "runs": tasks["runs"]["value"],
            "right": tasks["pass@1"]["value"],
            "right_low": tasks["pass@1"]["low"],
            "right_high": tasks["pass@1"]["high"],
        }
    except (KeyError, TypeError):
        return None
    if not all(_is_number(value) for value in numbers.values()) or not is_usable(numbers):
        return None
    held_out = result.get("held_out")
    files = held_out.get("digest") if isinstance(held_out, dict) else None
    files = files if isinstance(files, str) and is_usable(files) else None
    more = {"libraries": _libraries(result), "by_heart": _by_heart(held_out)}
    return {**numbers, "suite": result.get("suite"), "files": files, **more}


def _by_heart(held_out: object) -> dict[str, dict[str, float]] | None:
    """For `train` and `validation` the number of `files` and the `share` of their characters that is continued as it is."""
    splits = held_out.get("by_heart") if isinstance(held_out, dict) else None
    if not isinstance(splits, dict):
        return None
    found = {
        split: {name: value for name in ("files", "share") if (value := _figure(splits.get(split), name)) is not None}
        for split in ("train", "validation")
    }
    return found if all(len(figures) == 2 for figures in found.values()) else None


def _libraries(result: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """The figures of each library that there are any of."""
    tasks, held_out = result["tasks"], result.get("held_out")
    held_out = held_out if isinstance(held_out, dict) else {}
    columns = [tasks.get("pass@1_by_library"), *(held_out.get(f"{name}_by_library") for name in OF_A_LIBRARY[1:])]
    found = {
        library: {name: _figure(column, library) for name, column in zip(OF_A_LIBRARY, columns, strict=True)}
        for library in LIBRARIES
    }
    return {name: figures for name, figures in found.items() if any(value is not None for value in figures.values())}


def _figure(column: object, library: str) -> float | None:
    value = column.get(library) if isinstance(column, dict) else None
    return value if _is_number(value) and is_usable(value) else None


def _is_number(value: object) -> bool:
    return type(value) in (int, float)
