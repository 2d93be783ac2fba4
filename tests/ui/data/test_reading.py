"""Visitors may scan only sources that strangers cannot write to; the owner may scan any source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.core.atomic_io import read_lines
from pipeline.core.errors import InputError
from pipeline.core.paths import Home
from pipeline.core.settings import Settings
from pipeline.ui.data.reading import Reading
from pipeline.ui.shared.access import Access, AccessError
from tests.ui.conftest import request_of

HERE: Any = request_of("127.0.0.1:7860")
AWAY: Any = request_of("example.org")


@pytest.fixture
def reading(tmp_path: Path) -> Reading:
    settings = Settings(home=tmp_path, public_datasets=("me/open",))
    return Reading(settings, Access(settings))


@pytest.mark.parametrize(
    "source",
    [
        "installed",
        "hub:huggingface-course/codeparrot-ds-train",
        "hub:transformersbook/codeparrot-train",
        "hub:transformersbook/codeparrot-train@main:train#content",
        "hub:me/open",
        "pypi",
        "pypi#all",
        "pypi:pandas,scikit-learn#examples",
    ],
)
def test_a_visitor_may_scan(reading: Reading, source: str) -> None:
    assert reading.check(AWAY, source) is False


@pytest.mark.parametrize(
    "source",
    [
        "files:/etc",
        "hub:me/other",
        "hub:me/open/x",
        "hub:home/corpora",
        "installed:x",
        "hub:huggingface-course/codeparrot-ds-train::file:///etc/passwd",
        "",
        "pypi:x",
        "pypi:pandas==0.1",
        "pypi:pandas,scikit-learn==1.5.0#examples",
        "pypi:pandas,x",
        "pypi:pandas,",
        "pypi:https://example.org/pandas",
        "pypix",
    ],
)
def test_a_visitor_may_not_scan_other_sources_and_the_owner_may(reading: Reading, source: str) -> None:
    with pytest.raises(AccessError, match="Any other source is for the owner"):
        reading.check(AWAY, source)
    assert reading.check(HERE, source) is True, "control: invalid sources are refused later"


@pytest.mark.parametrize(
    "source", ["hub:me/open@refs/pr/1", "hub:me/open@0123456789abcdef0123456789abcdef01234567:train"]
)
def test_another_revision_of_an_open_dataset_is_for_the_owner(reading: Reading, source: str) -> None:
    """A pull request is a revision too, and anybody can open one."""
    with pytest.raises(AccessError, match="me/open at its main revision only"):
        reading.check(AWAY, source)
    assert reading.check(HERE, source) is True


def test_an_owners_scan_is_recorded_unless_the_source_is_public(reading: Reading, tmp_path: Path) -> None:
    for source in ("installed", "files:/etc", "hub:me/open"):
        reading.check(HERE, source)
    assert [(row["action"], row["target"]) for row in read_lines(Home(tmp_path).audit)] == [("read", "files:/etc")]


@pytest.mark.parametrize("name", ["noslash", "a/b/c", "../x", "a b/c,", "hub:me/x"])
def test_an_invalid_dataset_name_is_refused_at_the_start(name: str) -> None:
    with pytest.raises(InputError, match="PIPELINE_PUBLIC_DATASETS"):
        Settings.from_environment({"PIPELINE_PUBLIC_DATASETS": name})


def test_dataset_names_are_separated_by_commas() -> None:
    settings = Settings.from_environment({"PIPELINE_PUBLIC_DATASETS": "me/open, you/too"})
    assert settings.public_datasets == ("me/open", "you/too")
