"""The secrets of a process: removed from its environment at start and kept in memory for child processes that need one.

A process's environment is inherited, and readable through /proc by the process itself and by others of the same user.
So page, worker and publisher call `protect_secrets` first: then neither their environment nor its copy in /proc has a secret.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping

from pipeline.core.environment import is_credential, is_harmless

TOKEN = "HF_TOKEN"
PR_SET_DUMPABLE = 4

_kept: dict[str, str] = {}


def protect_secrets() -> None:
    """Remove every variable that is not known to be harmless from this process's environment. The Hub token and
    credentials for buckets are kept for `credential` and `full_environment`; all others are dropped. On Linux, no other
    process of this user can read this one's memory or environment from now on.
    """
    secret = [name for name in os.environ if not is_harmless(name)]
    _kept.update({name: os.environ[name] for name in secret if name == TOKEN or is_credential(name)})
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        _overwrite(library, secret)
        library.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    for name in secret:
        del os.environ[name]


def credential(name: str) -> str | None:
    """The value of the variable `name`, kept or still in the environment; None when it has none."""
    return _kept.get(name) or os.environ.get(name)


def full_environment() -> Mapping[str, str]:
    """The environment and the kept secrets together, to select a child process's variables from."""
    return {**os.environ, **_kept}


def _overwrite(library: ctypes.CDLL, names: list[str]) -> None:
    """Overwrite the variables' values with zeros in the memory where the kernel put them: deleting a variable only
    removes the pointer to it, and /proc/PID/environ still shows the text.
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
