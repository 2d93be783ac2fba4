"""An nvidia-smi and an installed torch of other machines: a shell script on PATH, and the files that pip writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.core.gpu import Gpu

T4 = Gpu("Tesla T4", (7, 5))
V100 = Gpu("Tesla V100-SXM2-16GB", (7, 0))
A100 = Gpu("NVIDIA A100-SXM4-80GB", (8, 0))
H100 = Gpu("NVIDIA H100 80GB HBM3", (9, 0))
BLACKWELL = Gpu("NVIDIA GeForce RTX 5090", (12, 0))


def fake_smi(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    card: Gpu,
    *,
    driver: str = "580.65.06",
    used_mib: int = 0,
    fails: str | None = None,
) -> Path:
    """Put an nvidia-smi on PATH. Returns the file that counts its calls."""
    assert card.capability is not None
    answer = f"{card.name}, {driver}, {card.capability[0]}.{card.capability[1]}, 15360, {used_mib}"
    smi = folder / "nvidia-smi-folder" / "nvidia-smi"
    smi.parent.mkdir(parents=True, exist_ok=True)
    calls = folder / "calls"
    lines = ["#!/bin/sh", f"echo called >> '{calls}'", f"echo '{fails or answer}'", f"exit {9 if fails else 0}"]
    smi.write_text("\n".join(lines) + "\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{smi.parent}{os.pathsep}{os.environ['PATH']}")
    return calls


def fake_torch(folder: Path, version: str, *, cuda: str | None, local: str = "") -> Path:
    """A folder for PYTHONPATH with what pip leaves of torch `version`; `local`: what only torch itself adds to it."""
    (folder / f"torch-{version}.dist-info").mkdir(parents=True)
    (folder / f"torch-{version}.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n"
    )
    (folder / "torch").mkdir()
    (folder / "torch" / "__init__.py").write_text("raise ImportError('only its files are read')\n")
    (folder / "torch" / "version.py").write_text(
        f"from typing import Optional\n__version__ = '{version}{local}'\ncuda: Optional[str] = {cuda!r}\n"
    )
    return folder
