"""Keeps results in a gallery and logs the id of each one that was acknowledged: `python -m tests.gallery.writer ...`.

Does what a client does whose last answer was lost: a writer that is started again repeats its last logged result.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.core import atomic_io
from pipeline.gallery.examples import Examples
from tests.gallery.test_examples import try_to_keep

SEEDS_OF_WRITER = 10_000
BUGS = ("", "acknowledges_first", "keeps_again", "writes_in_place")


def seed_of(writer: int, number: int) -> int:
    return SEEDS_OF_WRITER * writer + number


def logged(log: Path) -> list[tuple[int, str]]:
    """Seed and id of each acknowledged result, in order."""
    return [(row["seed"], row["id"]) for row in atomic_io.read_lines(log)]


def write(folder: Path, log: Path, writer: int, num_results: int, bug: str = "") -> None:
    gallery = Examples(folder)
    for number in range(max(0, len({seed for seed, _ in logged(log)}) - 1), num_results):
        seed = seed_of(writer, number)
        if bug == "acknowledges_first":
            atomic_io.append_line(log, {"seed": seed, "id": ""})
        # The first writer is a new visitor each time, the others are the owner, who has no quota.
        kept = try_to_keep(gallery, seed=seed, kept_by="" if writer else f"visitor {number}")
        if bug != "acknowledges_first":
            atomic_io.append_line(log, {"seed": seed, "id": kept.example.id})


def _break(bug: str) -> None:
    """Plant a bug, for the negative controls."""
    if bug == "keeps_again":
        Examples._find_duplicate = lambda self, result: None  # type: ignore[method-assign]
    if bug == "writes_in_place":

        def write_slowly(path: Path, value: object) -> None:
            with path.open("w") as file:
                for letter in atomic_io._json(value):
                    file.write(letter)
                    file.flush()

        atomic_io.write_json = write_slowly


if __name__ == "__main__":
    folder, log, writer, num_results, bug = sys.argv[1:]
    assert bug in BUGS
    _break(bug)
    write(Path(folder), Path(log), int(writer), int(num_results), bug)
