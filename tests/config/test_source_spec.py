from __future__ import annotations

import pytest

from pipeline.config.source_spec import corpus_id_of, reads_index
from pipeline.core.paths import check_id


@pytest.mark.parametrize(
    ("source", "corpus"),
    [
        ("installed", "installed"),
        ("pypi", "pypi-examples"),
        ("pypi#all", "pypi-all"),
        ("pypi:Seaborn,tslearn==1.0#examples", "pypi-seaborn-tslearn-1-0-examples"),
        ("pypi:" + "a" * 90, "pypi-" + "a" * 35),
        ("files:/data/My Code/", "my-code"),
        ("files:~/code/**/*.py", "code"),
        ("files:/", "files"),
        ("hub:owner/Code_Train@main:train#text", "code-train"),
        ("hub:name", "name"),
    ],
)
def test_a_corpus_is_named_after_its_source(source: str, corpus: str) -> None:
    assert corpus_id_of(source) == check_id(corpus)


def test_which_sources_are_read_from_the_package_index() -> None:
    assert all(map(reads_index, ("pypi", "pypi#all", "pypi:a,b#examples", "pypi:")))
    assert not any(map(reads_index, ("installed", "pypix", "files:pypi", "hub:pypi/x", "", None)))
