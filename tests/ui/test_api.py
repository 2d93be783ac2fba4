"""What programs are answered; who may ask is in test_guards."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.settings import Limits, Settings
from pipeline.ui.api import Api
from pipeline.ui.engine import Engine


def preview(folder: Path, limits: Limits, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    engine = Engine(Settings(home=folder / "home", limits=limits))
    monkeypatch.setattr(engine.access, "require", lambda request: None)
    return Api(engine).preview(SimpleNamespace(), f"files:{folder}/code", ["pandas"])  # type: ignore[arg-type]


def test_a_preview_says_why_it_ended_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "code").mkdir()
    for number in range(600):
        (tmp_path / "code" / f"{number}.py").write_text("import pandas\n")
    early = preview(tmp_path, Limits(preview_bytes=1_000), monkeypatch)
    assert "may read 1.0 kB of text" in early["ended"]
    assert 0 < early["scanned"] < 600
    assert early["samples"]
    late = preview(tmp_path, Limits(preview_seconds=0), monkeypatch)
    assert "may take" in late["ended"]
    whole = preview(tmp_path, Limits(), monkeypatch)
    assert (whole["ended"], whole["scanned"]) == (None, 600)
