"""Where the demo reads from: the package index where it answers, else the installed packages, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.cli import demo
from pipeline.cli.console import Console
from pipeline.config.schema import DataConfig
from pipeline.core.settings import Settings
from tests.package_index import PackageIndex, sdist


class Asked(Exception):
    """Ends a demo where it asks for its corpus."""


def asked(monkeypatch: pytest.MonkeyPatch, folder: Path) -> tuple[DataConfig, str]:
    """What corpus a demo asks for, and its id."""
    found: list[tuple[DataConfig, str]] = []

    def start_preparing(settings: Settings, *, config: DataConfig, corpus_id: str) -> None:
        found.append((config, corpus_id))
        raise Asked

    monkeypatch.setattr(demo, "start_preparing", start_preparing)
    with pytest.raises(Asked):
        demo.run_demo(Settings(home=folder), Console(as_json=False))
    return found[0]


def test_without_an_index_it_reads_the_installed_packages_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, corpus = asked(monkeypatch, tmp_path)
    assert (config.source, corpus) == ("installed", "installed")
    reason = "pip is told to use no package index (no-index); change that, or use source installed.\n"
    assert capsys.readouterr().out.startswith(reason)


def test_with_an_index_it_reads_its_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with PackageIndex({"matplotlib": [sdist("matplotlib", "1.0", {})]}) as index:
        for name, value in index.environment().items():
            monkeypatch.setenv(name, value)
        config, corpus = asked(monkeypatch, tmp_path)
    assert (config.source, corpus) == ("pypi", "pypi-examples")
    assert capsys.readouterr().out == "Reading the examples of data-science projects from the package index ...\n"
