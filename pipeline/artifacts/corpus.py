"""Access to a prepared corpus: its manifest, its tokenizer folder, the sizes of its token files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.atomic_io import read_json, sha256
from pipeline.core.errors import DamagedError, InputError
from pipeline.core.paths import CorpusFolder

if TYPE_CHECKING:
    import numpy as np

FORMAT = 1
"""Format version of manifest.json and of the files it describes."""


TOKEN_BYTES = {"uint16": 2, "uint32": 4}
"""Bytes per token in a token file, by the `dtype` in the manifest."""
NEEDED = {
    "vocab_size": int,
    "eos_id": int,
    "tokens_train": int,
    "tokens_validation": int,
    "sha256": dict,
    "tokenizer_sha256": str,
}
"""Type of each field of a manifest that training reads, besides `dtype`."""

STAGE_FIELDS = {
    "filter": (
        "source",
        "validation_source",
        "keywords",
        "match",
        "max_files",
        "max_validation_files",
        "validation_share",
        "quality",
    ),
    "tokenizer": ("tokenizer", "vocab_size"),
    "tokens": ("windows", "window"),
    "index": (),
}
"""The stages of a preparation in order. Each is determined by these fields of DataConfig and by those of all stages
before it.
"""


def stages_until(name: str) -> list[str]:
    """The stages up to `name`."""
    names = list(STAGE_FIELDS)
    return names[: names.index(name) + 1]


def stage_settings(config: dict[str, Any], name: str) -> dict[str, Any]:
    """What determines the stage `name`, of a DataConfig in JSON form."""
    return {field: config[field] for stage in stages_until(name) for field in STAGE_FIELDS[stage]}


def dtype_for(vocab_size: int) -> str:
    """The `dtype` of the token files: the smallest that can represent every id below `vocab_size`."""
    return "uint16" if vocab_size <= 2**16 else "uint32"


def open_tokens(path: Path, dtype: str) -> np.ndarray:
    """The ids of a token file, which is not empty: a memory map, so that only what is used is read."""
    import numpy as np

    return np.memmap(path, dtype=np.dtype(dtype).newbyteorder("<"), mode="r")


def corpus_warnings(manifest: dict[str, Any]) -> list[str]:
    """Sentences about what makes the losses of this corpus say less than they seem to."""
    found = []
    num_train, num_held_out = manifest.get("files_train") or 0, manifest.get("files_validation") or 0
    num_files, config = num_train + num_held_out, manifest.get("config") or {}
    asked = None if config.get("validation_source") else config.get("validation_share")
    if asked and num_files and _is_far(num_held_out, num_files, asked):
        found.append(
            f"{num_held_out:,} of {num_files:,} files are held out for validation, {num_held_out / num_files:.0%} instead "
            f"of {asked:.0%}, as many files are the same; the validation loss says little about other code."
        )
    share = manifest.get("round_trip")
    if share is not None and share < 1:
        found.append(
            f"The tokenizer writes back {share:.1%} of the text; the model never sees the rest as it stands there."
        )
    return found


def _is_far(num_held_out: int, num_files: int, share: float) -> bool:
    """Whether the count is further from its expectation than five standard deviations: not by chance."""
    spread = math.sqrt(num_files * share * (1 - share))
    return abs(num_held_out - num_files * share) > 5 * max(1.0, spread)


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus. Open it with `Corpus.open`."""

    folder: CorpusFolder
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: CorpusFolder) -> Corpus:
        """Raises InputError when the corpus does not exist or is not ready, DamagedError when the manifest has another
        format or lacks a field, or the size of a token file does not match it.
        """
        manifest = read_json(folder.manifest)
        if manifest is None:
            raise InputError(
                f"Corpus {folder.id} is not prepared; prepare it with `python -m pipeline prepare --corpus {folder.id}`."
            )
        if manifest.get("format") != FORMAT:
            raise DamagedError(f"Corpus {folder.id} has a manifest of another format; {_remedy(folder)}.")
        corpus = cls(folder, manifest)
        corpus._check_fields()
        for split in ("train", "validation"):
            corpus._check_size(split)
        return corpus

    def verify(self) -> None:
        """Raises DamagedError, naming the file, unless the token files and the tokenizer have the SHA-256 of the manifest.

        Reads them whole, at about 1 GB per second: for the start of a run, not for a page.
        """
        sums = self.manifest["sha256"]
        expected = {path: sums.get(path.name) for path in map(self.folder.tokens, ("train", "validation"))}
        expected[self.tokenizer_path / "tokenizer.json"] = self.manifest["tokenizer_sha256"]
        for path, digest in expected.items():
            if not path.is_file():
                raise DamagedError(f"{path} is missing; {_remedy(self.folder)}.")
            if sha256(path) != digest:
                raise DamagedError(f"{path} does not have the SHA-256 of its manifest; {_remedy(self.folder)}.")

    @property
    def id(self) -> str:
        return self.folder.id

    @property
    def vocab_size(self) -> int:
        return self.manifest["vocab_size"]

    @property
    def eos_id(self) -> int:
        """Id of the end-of-text token."""
        return self.manifest["eos_id"]

    @property
    def tokenizer_path(self) -> Path:
        return self.folder.tokenizer

    def num_tokens(self, split: str) -> int:
        """`split` is train or validation."""
        return self.manifest[f"tokens_{split}"]

    def open_tokens(self, split: str) -> np.ndarray:
        """The ids of a split, which is not empty, as a memory map. Raises OSError when the file is not there."""
        return open_tokens(self.folder.tokens(split), self.manifest["dtype"])

    def _check_fields(self) -> None:
        wrong = [name for name, kind in NEEDED.items() if not isinstance(self.manifest.get(name), kind)]
        if str(self.manifest.get("dtype")) not in TOKEN_BYTES:
            wrong.append("dtype")
        if wrong:
            name = wrong[0]
            raise DamagedError(
                f"{self.folder.manifest} has {name} {self.manifest.get(name)!r}; {_remedy(self.folder)}."
            )

    def _check_size(self, split: str) -> None:
        path = self.folder.tokens(split)
        expected = self.num_tokens(split) * TOKEN_BYTES[self.manifest["dtype"]]
        size = path.stat().st_size if path.exists() else None
        if size != expected:
            found = "is missing" if size is None else f"has {size} bytes instead of {expected}"
            raise DamagedError(f"{path} {found}; {_remedy(self.folder)}.")


def _remedy(folder: CorpusFolder) -> str:
    return f"delete {folder.path} and prepare the corpus again"
