"""A split's files as one flat file of token ids: uint16 up to 65,536 ids, else uint32, little-endian, nothing else in it.

`join` writes every file and an end-of-text token after it. `drop` writes the course's windows: each file's whole windows
and no end-of-text, its shorter tail dropped and counted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.data.encoding import Encoder


@dataclass(frozen=True)
class TokenFile:
    """What was written."""

    num_tokens: int
    num_dropped: int
    sha256: str


def dtype_for(vocab_size: int) -> str:
    """The name of the smallest type that holds every id below `vocab_size`."""
    return "uint16" if vocab_size <= 2**16 else "uint32"


def write_tokens(
    path: Path,
    groups: Iterable[list[str]],
    encoder: Encoder,
    *,
    dtype: str,
    window: int | None,
    on_group: Callable[[int, int], None],
) -> TokenFile:
    """Replace `path` by the tokens of all texts in `groups`; `window` cuts each text to whole windows, None joins them.

    Calls `on_group` with the characters and tokens of each group once it is written; what that raises ends the writing
    and leaves `path` as it was.
    """
    import numpy as np

    kind = np.dtype(dtype).newbyteorder("<")
    digest = hashlib.sha256()
    num_tokens = num_dropped = 0
    staged = path.with_name(f".{path.name}.tmp")
    with staged.open("wb") as file:
        for texts in groups:
            if window is None:
                parts = encoder.encode_with_end(texts)
            else:
                whole = encoder.encode(texts)
                parts = [ids[: len(ids) // window * window] for ids in whole]
                num_dropped += sum(map(len, whole)) - sum(map(len, parts))
            ids = np.concatenate(parts) if parts else np.empty(0)
            data = ids.astype(kind, copy=False).tobytes()
            digest.update(data)
            file.write(data)
            num_tokens += len(ids)
            on_group(sum(map(len, texts)), len(ids))
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)
    return TokenFile(num_tokens, num_dropped, digest.hexdigest())
