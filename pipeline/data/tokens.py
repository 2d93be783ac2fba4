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
    from tokenizers import Tokenizer


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
    tokenizer: Tokenizer,
    *,
    dtype: str,
    end_id: int,
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
            num_here = 0
            # Without special tokens: neither those a tokenizer adds by itself nor those a file happens to spell.
            for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
                ids = encoding.ids
                kept = len(ids) if window is None else len(ids) // window * window
                num_dropped += len(ids) - kept
                data = np.array([*ids, end_id] if window is None else ids[:kept], dtype=kind).tobytes()
                digest.update(data)
                file.write(data)
                num_here += len(data) // kind.itemsize
            num_tokens += num_here
            on_group(sum(map(len, texts)), num_here)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)
    return TokenFile(num_tokens, num_dropped, digest.hexdigest())
