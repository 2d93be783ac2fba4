from __future__ import annotations

import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.filter.matching import Matcher, import_pattern, kept, places
from tests.data.examples import batch, row


@given(
    st.lists(st.text(max_size=30), max_size=8),
    st.lists(st.text(alphabet=r"ab.*+?^$()[]{}|\ é", min_size=1, max_size=3), min_size=1, max_size=4, unique=True),
)
def test_a_hit_is_pythons_own_substring_whatever_the_characters(texts: list[str], keywords: list[str]) -> None:
    hits = Matcher(keywords).hits(pl.Series(texts, dtype=pl.String))
    assert hits.columns == keywords
    for keyword in keywords:
        assert hits[keyword].to_list() == [keyword in text for text in texts]
    assert kept(hits).to_list() == [any(keyword in text for keyword in keywords) for text in texts]


def test_the_courses_example_is_kept_and_its_counterexample_is_not() -> None:
    hits = Matcher(["pandas", "sklearn"]).hits(pl.Series(["import pandas as pd", "import numpy as np"]))
    assert kept(hits).to_list() == [True, False]


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("import pandas as pd\n", True),
        ("x = 1\n    from pandas.core import frame\n", True),
        ("import os, pandas\n", True),
        ("import pandas", True),
        ("\ufeffimport pandas\n", True),
        ("x = 1\n\fimport pandas\n", True),
        ("x = 1\n \f\tfrom pandas import read_csv\n", True),
        ("import pandas_gbq\n", False),
        ("import pandasé\n", False),
        ("# import pandas\n", False),
        ("say('pandas')\n", False),
        ("import geopandas\n", False),
    ],
)
def test_an_import_is_distinguished_from_a_mention(text: str, is_one: bool) -> None:
    assert found(text, "pandas", "import") is is_one
    assert found(text, "pandas", "substring")
    assert bool(list(places(text, "pandas", "import"))) is is_one


def test_a_byte_order_mark_is_not_part_of_a_kept_text() -> None:
    texts = ["\ufeffimport pandas\n", "import pandas  # \ufeff\n"]
    rows = batch([row(number, content=text) for number, text in enumerate(texts)])
    assert Matcher(["pandas"]).matched(rows).rows["content"].to_list() == ["import pandas\n", texts[1]]


@pytest.mark.parametrize("keyword", ["plt.plot(", "data frame", "3d", ""])
def test_a_keyword_that_names_no_module_has_no_import(keyword: str) -> None:
    assert import_pattern(keyword) is None


def test_a_module_inside_a_package_can_be_asked_for() -> None:
    assert found("from matplotlib.pyplot import plot", "matplotlib.pyplot", "import")
    assert not found("import matplotlib  # .pyplot", "matplotlib.pyplot", "import")


def found(text: str, keyword: str, match: str) -> bool:
    return Matcher([keyword], match).hits(pl.Series([text, "other"]))[keyword].to_list()[0]


@pytest.mark.parametrize(
    ("text", "keyword", "is_one"),
    [
        ("pd", "pd", True),
        ("import pandas as pd\n", "pd", True),
        ("pd.DataFrame", "pd", True),
        ("pdf", "pd", False),
        ("_pd pd2 épd", "pd", False),
        ("pdf pd", "pd", True),
        ("x = plt.plot(y)", "plt.plot", True),
        ("xplt.plot", "plt.plot", False),
    ],
)
def test_a_whole_identifier_is_distinguished_from_a_part_of_one(text: str, keyword: str, is_one: bool) -> None:
    assert found(text, keyword, "identifier") is is_one
    assert found(text, keyword, "substring")


@pytest.mark.parametrize(
    ("text", "is_one"), [("import pandas\n", True), ("# import pandas\n", False), ("pandas", False)]
)
def test_only_imports_can_be_asked_for(text: str, is_one: bool) -> None:
    assert found(text, "pandas", "import") is is_one


def test_a_keyword_that_names_no_module_matches_no_import() -> None:
    assert not found("import plt.plot(", "plt.plot(", "import")


@given(st.lists(st.text(alphabet="pd _.\n", max_size=8), max_size=6))
def test_an_identifier_is_matched_as_by_pythons_pattern(texts: list[str]) -> None:
    hits = Matcher(["pd"], "identifier").hits(pl.Series(texts, dtype=pl.String))
    assert hits["pd"].to_list() == [bool(re.search(r"(?<!\w)pd(?!\w)", text)) for text in texts]
