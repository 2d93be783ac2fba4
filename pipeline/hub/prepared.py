"""Reads and checks a prepared corpus before it is pushed. Knows its files, not how they were made."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core import atomic_io
from pipeline.core.errors import BusyError, DamagedError, InputError
from pipeline.core.paths import CorpusFolder
from pipeline.hub.token import VARIABLE, read_token

if TYPE_CHECKING:
    import polars as pl

FORMAT = 1
"""Format version of the corpus's manifest.json."""
SPLITS = ("train", "validation")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A complete, verified corpus. Create it with Prepared.open."""

    folder: CorpusFolder
    manifest: dict[str, Any]
    report: dict[str, Any]
    shards: dict[str, list[Path]]
    """The parquet files of each split, in order."""
    tokenizer: list[Path]
    num_rows: dict[str, int] = field(default_factory=dict)
    num_bytes: dict[str, int] = field(default_factory=dict)
    """Bytes of text per split, in UTF-8."""
    licenses: Counter[str] = field(default_factory=Counter)
    """Number of kept files per licence, as their source names it."""

    @classmethod
    def open(cls, folder: CorpusFolder) -> Prepared:
        """Read every file of the corpus once. Raises BusyError while it is being prepared, InputError when it is not
        prepared or contains this process's token, DamagedError when a file is not what was written.
        """
        if atomic_io.is_locked(folder.lock):
            raise BusyError(f"Corpus {folder.id} is being prepared; push it when it is ready.")
        manifest = atomic_io.read_json(folder.manifest)
        if manifest is None:
            raise InputError(
                f"Corpus {folder.id} is not prepared; prepare it with `python -m pipeline prepare --corpus {folder.id}`."
            )
        if manifest.get("format") != FORMAT:
            raise _damaged(folder, "its manifest is of another format")
        stages = _stages(folder)
        _check_sizes(folder, stages)
        _check_hashes(folder, manifest, stages)
        prepared = cls(
            folder=folder,
            manifest=manifest,
            report=atomic_io.read_json(folder.report) or {},
            shards={split: _shards(folder, stages["filter"]["files"], split) for split in SPLITS},
            tokenizer=[folder.path / name for name in sorted(stages["tokenizer"]["files"])],
        )
        prepared._read_rows(stages["filter"]["found"])
        return prepared

    def _read_rows(self, found: dict[str, Any]) -> None:
        for split, paths in self.shards.items():
            tables = [self._count(path) for path in paths]
            self.num_rows[split] = sum(rows for rows, _ in tables)
            self.num_bytes[split] = sum(size for _, size in tables)
            for what, number, key in (
                ("files", self.num_rows[split], f"files_{split}"),
                ("bytes of text", self.num_bytes[split], f"{split}_bytes"),
            ):
                if number != found[key]:
                    raise _damaged(self.folder, f"its {split} split holds {number:,} {what}, {found[key]:,} were kept")

    def _count(self, path: Path) -> tuple[int, int]:
        """Rows and bytes of text in one shard; also adds its licences to `licenses`."""
        import polars as pl

        try:
            rows = pl.read_parquet(path, glob=False)
            self.licenses.update(rows["license"].to_list())
            size = int(rows["content"].str.len_bytes().sum())
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise _damaged(self.folder, f"{path.name} cannot be read") from error
        self._refuse_token(rows)
        return len(rows), size

    def _refuse_token(self, rows: pl.DataFrame) -> None:
        """Raises InputError when a kept file contains the user's own token, which the push would publish."""
        import polars as pl

        token = read_token()
        if token is None:
            return
        holds = pl.any_horizontal(pl.col(pl.String).str.contains(token, literal=True))
        for repo_name, path in rows.filter(holds).select("repo_name", "path").head(1).rows():
            raise InputError(
                f"{VARIABLE} stands in the kept file {path} of {repo_name}; take it out there (and make a new token), then "
                f"prepare corpus {self.folder.id} again."
            )


def _stages(folder: CorpusFolder) -> dict[str, Any]:
    done = (atomic_io.read_json(folder.path / "stages.json") or {}).get("done", {})
    try:
        for name in ("filter", "tokenizer", "tokens"):
            _ = done[name]["files"], done[name]["found"]
    except (KeyError, TypeError) as error:
        raise _damaged(folder, f"stages.json does not tell {error}") from error
    return done


def _check_sizes(folder: CorpusFolder, stages: dict[str, Any]) -> None:
    for name, size in {
        **stages["filter"]["files"],
        **stages["tokenizer"]["files"],
        **stages["tokens"]["files"],
    }.items():
        path = folder.path / name
        if not path.is_file():
            raise _damaged(folder, f"{name} is missing")
        if path.stat().st_size != size:
            raise _damaged(folder, f"{name} has {path.stat().st_size:,} bytes, {size:,} were written")


def _check_hashes(folder: CorpusFolder, manifest: dict[str, Any], stages: dict[str, Any]) -> None:
    tokenizer = {f"{folder.tokenizer.name}/tokenizer.json": manifest["tokenizer_sha256"]}
    shards = stages["filter"]["found"].get("sha256", {})  # none in older corpora: only sizes and counts are checked
    for name, digest in {**manifest["sha256"], **tokenizer, **shards}.items():
        if atomic_io.sha256(folder.path / name) != digest:
            raise _damaged(folder, f"{name} does not have the SHA-256 that was written down")


def _shards(folder: CorpusFolder, names: dict[str, int], split: str) -> list[Path]:
    return [folder.path / name for name in sorted(names) if name.startswith(f"files-{split}-")]


def _damaged(folder: CorpusFolder, reason: str) -> DamagedError:
    return DamagedError(f"Corpus {folder.id} is damaged: {reason}; delete it and prepare it again.")
