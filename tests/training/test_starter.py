"""The starter revision: how it is made, and the one that is shipped."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors import safe_open

from pipeline.artifacts import manifest
from pipeline.artifacts.checkpoint import Checkpoint, best_of
from pipeline.artifacts.starter import FOLDER, starter
from pipeline.core.atomic_io import read_json, write_json
from pipeline.core.errors import InputError
from pipeline.core.paths import Home
from pipeline.generation.loading import load
from pipeline.training.starter import LICENCES, MAX_BYTES, main, make
from tests.training.runs import new_run, train_here


@pytest.fixture
def licensed(home: Home) -> Home:
    """The corpus with a table of the files that it was made of."""
    folder = home.corpus("python")
    found = read_json(folder.manifest) or {}
    config = {"source": "pypi", "keywords": ["pandas"], **found["config"]}
    counts = {"files_train": 54, "files_validation": 6, "vocab_size": 320, "tokens_train": 1, "tokens_validation": 1}
    write_json(folder.manifest, {**counts, **found, "config": config})
    rows = {"repo_name": ["a", "a", "b"], "license": ["MIT", "MIT", ""], "content": ["x", "y", "z"]}
    pl.DataFrame(rows).write_parquet(folder.path / "files-train-00000.parquet")
    return home


def test_it_is_the_best_checkpoint_in_half_the_bytes(licensed: Home, tmp_path: Path) -> None:
    run = new_run(licensed)
    train_here(run)
    folder = tmp_path / "starter"
    make(run, folder)
    best = best_of(run)
    assert best is not None
    with safe_open(best / "model.safetensors", "pt") as own, safe_open(folder / "model.safetensors", "pt") as made:
        assert {made.get_tensor(name).dtype for name in made.keys()} == {torch.bfloat16}  # noqa: SIM118
        weights = own.get_tensor("transformer.wte.weight")
        assert torch.equal(made.get_tensor("transformer.wte.weight"), weights.to(torch.bfloat16))
    load(folder)  # checks every file against the manifest
    revision = starter(folder)
    assert revision is not None and revision.repo == revision.run == "starter"
    assert revision.revision == Checkpoint.open(folder).revision
    facts = read_json(folder / "provenance.json") or {}
    assert facts["trained_on"]["licenses"] == {"MIT": 2, "": 1} and facts["trained_on"]["source"] == "pypi"
    table = (folder / LICENCES).read_text()
    assert "| MIT | 2 |" in table and "| b | not stated | 1 |" in table
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o644}, "for any user"
    make(run, folder)  # again, in place of the first
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_run_without_a_measured_checkpoint_is_refused(licensed: Home, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Run run has no checkpoint with a validation loss"):
        make(new_run(licensed), tmp_path / "starter")
    assert main([]) == 2


def test_the_one_that_is_shipped_is_whole_small_and_says_what_it_is() -> None:
    own = starter()
    assert own is not None and own.revision == Checkpoint.open(FOLDER).revision
    assert (FOLDER / "model.safetensors").stat().st_size <= MAX_BYTES
    model, _ = load(FOLDER)
    assert model.config.n_layer == 4
    facts = read_json(FOLDER / "provenance.json") or {}
    assert facts["preset"] == "tiny" and facts["eval_loss"] > 0
    assert re.fullmatch(r"pypi:[\w,-]+#examples", facts["trained_on"]["source"])
    listed = manifest.entries_of(read_json(FOLDER / manifest.NAME) or {})
    assert listed is not None and listed.keys() == {p.name for p in FOLDER.iterdir()} - {manifest.NAME}
    assert f"| {max(facts['trained_on']['licenses'].values()):,} |" in (FOLDER / LICENCES).read_text()
