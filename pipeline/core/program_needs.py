"""What running the programs that a model writes needs of this machine: a kernel that can confine them, and the libraries of
the tasks.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.machinery import PathFinder

from pipeline.core.confinement import can_confine_programs
from pipeline.core.errors import InputError

NEEDED = ("numpy", "pandas", "matplotlib.pyplot", "seaborn", "sklearn.linear_model")
"""Modules that a program finds imported."""


def check_possible() -> None:
    """Raises InputError where an evaluation would. Loads none of the libraries."""
    check_kernel()
    # Not importlib.util.find_spec, which asks sys.modules first: the page blocks one of these there.
    check_libraries(name for name in NEEDED if PathFinder.find_spec(name.partition(".")[0]) is not None)


def check_kernel() -> None:
    """Raises InputError where this system cannot confine a program."""
    if not can_confine_programs():
        raise InputError(
            "This system cannot confine a program (Linux 6.2 or newer on x86-64 or ARM64 can); evaluate on another one."
        )


def check_libraries(found: Iterable[str]) -> None:
    """Raises InputError when one of NEEDED is not among `found`."""
    there = set(found)
    missing = [name.partition(".")[0] for name in NEEDED if name not in there]
    if missing:
        raise InputError(
            f"The tasks need {', '.join(missing)}; install them: pip install -c constraints.txt -r requirements-evaluate.txt."
        )
