"""The secrets of a process: taken out of its environment when it starts and kept here, for whatever it starts that needs one.

An environment can be read through /proc, by the process itself and by others of the same user, and it is inherited. So
page, worker and publisher call `hold` first: afterwards neither their environment nor its copy in /proc has a secret.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping

from pipeline.core.environment import is_credential, is_harmless

TOKEN = "HF_TOKEN"
PR_SET_DUMPABLE = 4

_held: dict[str, str] = {}


def hold() -> None:
    """Empty this process's environment of everything that is not known to be harmless. The Hub token and credentials for
    buckets are kept for `credential` and `full_environment`, anything else is dropped. Linux: from now on no other process
    of this user can read this one's memory or environment.
    """
    secret = [name for name in os.environ if not is_harmless(name)]
    _held.update({name: os.environ[name] for name in secret if name == TOKEN or is_credential(name)})
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        _overwrite(library, secret)
        library.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    for name in secret:
        del os.environ[name]


def credential(name: str) -> str | None:
    """The value of the variable `name`, held or still in the environment; None when it has none."""
    return _held.get(name) or os.environ.get(name)


def full_environment() -> Mapping[str, str]:
    """The environment with what is held: to choose from for a process that needs some of it."""
    return {**os.environ, **_held}


def _overwrite(library: ctypes.CDLL, names: list[str]) -> None:
    """Fill the values of the variables with zeros where the kernel put them: deleting one only removes the pointer to it, and
    /proc/PID/environ goes on showing the text.
    """
    prefixes = tuple(os.fsencode(name) + b"=" for name in names)
    entries = ctypes.POINTER(ctypes.c_void_p).in_dll(library, "environ")
    number = 0
    while prefixes and (address := entries[number]):
        text = ctypes.string_at(address)
        if text.startswith(prefixes):
            skipped = text.index(b"=") + 1
            ctypes.memset(address + skipped, 0, len(text) - skipped)
        number += 1
