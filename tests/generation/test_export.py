from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.artifacts.revision import Revision
from pipeline.cli.app import main
from pipeline.core.errors import DamagedError, InputError, PipelineError
from pipeline.generation import export
from pipeline.generation.export import export_onnx, largest_difference
from pipeline.generation.loading import load


def test_without_the_packages_the_command_says_what_to_do(
    revision: Revision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "NEEDED", ("onnx_that_is_not_there",))
    with pytest.raises(InputError, match=r"pip install -c constraints.txt -r requirements-export.txt"):
        export_onnx(revision, tmp_path / "out")


@pytest.mark.slow
def test_the_onnx_model_has_the_logits_of_the_model(
    revision: Revision, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    assert export_onnx(revision, folder) < 1e-4
    names = {path.name for path in folder.iterdir()}
    assert {"model.onnx", "config.json", "tokenizer.json", "provenance.json"} <= names
    model, _ = load(revision.path)
    with pytest.raises(InputError, match="out exists already"):
        export_onnx(revision, folder)
    # Controls: other weights are found, and nothing of a wrong or damaged model is left.
    model.transformer.ln_f.weight.data *= 1.1
    assert largest_difference(model, folder / "model.onnx") > 0.01
    monkeypatch.setattr(export, "MAX_DIFFERENCE", -1.0)
    with pytest.raises(PipelineError, match="nothing is kept"):
        export_onnx(revision, tmp_path / "other")
    (copy / "model.safetensors").write_bytes(b"")
    with pytest.raises(DamagedError):
        export_onnx(replace(revision, path=copy), tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir() if path != copy) == ["out"]


@pytest.mark.slow
def test_the_command_exports_the_starter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    assert main(["export", "newest", str(tmp_path / "out"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["bytes"] == (tmp_path / "out" / "model.onnx").stat().st_size
    assert found["largest_difference"] < 1e-3
    assert main(["export", "newest", str(tmp_path / "more"), "--format", "gguf"]) == 2
    assert "format is 'gguf'; choose one of onnx" in capsys.readouterr().err
