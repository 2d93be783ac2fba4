"""Makes the starter revision (`artifacts.starter`) from a finished run: `python -m pipeline.training.starter RUN_FOLDER`.

It takes the checkpoint with the lowest validation loss and writes its weights in bfloat16, half their size, with the
licences of the files that it was trained on.
"""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import torch
from safetensors.torch import load_file, save_file

from pipeline.artifacts import manifest
from pipeline.artifacts.checkpoint import PROVENANCE, Checkpoint, best_of, verify
from pipeline.artifacts.corpus import Corpus
from pipeline.artifacts.starter import FOLDER, STARTER
from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.errors import InputError, PipelineError
from pipeline.core.paths import Home, RunFolder
from pipeline.data.report.licences import licence_id

MAX_BYTES = 12_000_000
LICENCES = "LICENCES.md"
OF_CORPUS = ("files_train", "files_validation", "tokens_train", "tokens_validation", "vocab_size")


def main(arguments: list[str]) -> int:
    try:
        if len(arguments) != 1:
            raise InputError("It takes one run folder; `make starter` trains the run too.")
        make(RunFolder(Path(arguments[0]).absolute()), FOLDER)
    except PipelineError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    return 0


def make(run: RunFolder, folder: Path) -> None:
    """Replace `folder` by the starter revision. Raises InputError for a run without a measured checkpoint, or weights of
    more than MAX_BYTES.
    """
    checkpoint = best_of(run)
    if checkpoint is None:
        raise InputError(f"Run {run.id} has no checkpoint with a validation loss; train it first.")
    verify(checkpoint)
    staged = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    weights = load_file(checkpoint / "model.safetensors")
    halved = {name: tensor.to(torch.bfloat16) for name, tensor in weights.items()}
    save_file(halved, staged / "model.safetensors", metadata={"format": "pt"})
    if (size := (staged / "model.safetensors").stat().st_size) > MAX_BYTES:
        raise InputError(f"The weights take {size:,} bytes, and {MAX_BYTES:,} are the most; train preset tiny.")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(checkpoint / name, staged / name)
    write_json(staged / "config.json", {**(read_json(checkpoint / "config.json") or {}), "dtype": "bfloat16"})
    corpus = Corpus.open(Home(run.path.parent.parent).corpus((read_json(run.config) or {})["corpus"]))
    _describe(checkpoint, corpus, staged)
    for path in staged.iterdir():
        path.chmod(0o644)  # the page may run as another user than the one who made it
    shutil.rmtree(folder, ignore_errors=True)
    staged.rename(folder)
    print(f"{folder}: step {(read_json(folder / PROVENANCE) or {})['step']:,}, {size / 1e6:.1f} MB of weights")


def _describe(checkpoint: Path, corpus: Corpus, folder: Path) -> None:
    """Write licences, provenance and manifest. The revision's id is computed from the files, so the provenance is last."""
    licences, projects = _licences(corpus)
    (folder / LICENCES).write_text(_table(licences, projects), encoding="utf-8")
    facts = read_json(checkpoint / PROVENANCE) or {}
    config = corpus.manifest["config"]
    trained_on = {
        "source": config["source"],
        "keywords": config["keywords"],
        **{name: corpus.manifest[name] for name in OF_CORPUS},
        "licenses": dict(licences.most_common()),
    }
    provenance = {**facts, "repo": STARTER, "run": STARTER, "pushed_at": facts["created_at"], "trained_on": trained_on}
    write_json(folder / PROVENANCE, provenance)
    manifest.seal(folder, facts["step"])
    write_json(folder / PROVENANCE, {**provenance, "revision": Checkpoint.open(folder).revision})
    (folder / manifest.NAME).unlink()
    manifest.seal(folder, facts["step"])


def _licences(corpus: Corpus) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Files per licence, and per project and licence, of both splits."""
    licences: Counter[str] = Counter()
    projects: Counter[tuple[str, str]] = Counter()
    for path in sorted(corpus.folder.path.glob("files-*.parquet")):
        rows = pl.read_parquet(path, columns=["repo_name", "license"], glob=False)
        names = [licence_id(name or "") for name in rows["license"].to_list()]
        licences.update(names)
        projects.update(zip(rows["repo_name"].to_list(), names, strict=True))
    return licences, projects


def _table(licences: Counter[str], projects: Counter[Any]) -> str:
    lines = ["# What the starter model was trained on", "", "| licence | files |", "|---|---|"]
    lines += [f"| {name or 'not stated'} | {count:,} |" for name, count in licences.most_common()]
    lines += ["", "| project | licence | files |", "|---|---|---|"]
    lines += [
        f"| {name} | {licence or 'not stated'} | {count:,} |" for (name, licence), count in projects.most_common()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
