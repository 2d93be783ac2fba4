"""A full disk: recognised whatever library wrote, and told in one sentence by every kind of job."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.core.errors import PipelineError, ResourceError

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The disk is full, the quota is used up, the file size limit is reached."""
TEXTS = tuple(os.strerror(number) for number in NO_SPACE)
MIN_FREE_BYTES = 2**16
"""With less free space than this, any error while writing is attributed to a full disk."""


def is_disk_full(error: BaseException, folder: Path) -> bool:
    """Whether a full disk under `folder` caused `error`, an error of a library that was writing."""
    return says_disk_full(error) or shutil.disk_usage(folder).free < MIN_FREE_BYTES


def says_disk_full(error: BaseException) -> bool:
    """Whether `error` itself names a full disk. safetensors, torch, polars and pyarrow have errors of their own for it."""
    is_named = isinstance(error, OSError) and error.errno in NO_SPACE
    return is_named or any(text in str(error) for text in TEXTS)


def disk_full(folder: Path, what: str, then: str) -> ResourceError:
    """The error of a job that wrote under `folder`. Its message includes the space that is free now.

    `what`: what could not be done, a sentence's beginning. `then`: what to do once there is space.
    """
    free = shutil.disk_usage(folder).free
    return ResourceError(f"{what}: the disk is full ({free / 1e6:.0f} MB free); free some of it, then {then}.")


@contextlib.contextmanager
def disk_full_in_words(folder: Path, what: str, then: str) -> Iterator[None]:
    """Raises `disk_full` in place of an error that a full disk caused; a PipelineError has its own message."""
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        if says_disk_full(error):
            raise disk_full(folder, what, then) from error
        raise
