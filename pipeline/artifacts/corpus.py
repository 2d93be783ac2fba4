"""A prepared corpus, opened: its manifest, its tokenizer's folder, the sizes of its token files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.atomic_io import read_json
from pipeline.core.errors import DamagedError, InputError
from pipeline.core.paths import CorpusFolder

FORMAT = 1
"""Of manifest.json and of the files it describes."""


@dataclass(frozen=True)
class Corpus:
    """Open it with Corpus.open."""

    folder: CorpusFolder
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: CorpusFolder) -> Corpus:
        """Raises InputError when there is no such corpus or it is not ready, DamagedError when a file has another size
        than its manifest says.
        """
        manifest = read_json(folder.manifest)
        if manifest is None:
            raise InputError(
                f"Corpus {folder.id} is not prepared; prepare it with `python -m pipeline prepare --corpus {folder.id}`."
            )
        if manifest.get("format") != FORMAT:
            raise DamagedError(f"Corpus {folder.id} has a manifest of another format; {_again(folder)}.")
        corpus = cls(folder, manifest)
        for split in ("train", "validation"):
            corpus._check_size(split)
        return corpus

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

    def _check_size(self, split: str) -> None:
        path = self.folder.tokens(split)
        expected = self.num_tokens(split) * {"uint16": 2, "uint32": 4}[self.manifest["dtype"]]
        size = path.stat().st_size if path.exists() else None
        if size != expected:
            found = "is missing" if size is None else f"has {size} bytes instead of {expected}"
            raise DamagedError(f"{path} {found}; {_again(self.folder)}.")


def _again(folder: CorpusFolder) -> str:
    return f"delete {folder.path} and prepare the corpus again"
