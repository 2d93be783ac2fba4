from __future__ import annotations

import doctest
import sysconfig
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.readers.docstrings import examples_in

MODULE = '''
"""The module.

>>> import pandas as pd
"""

def mean(df):
    """Mean of each group.

    Parameters
    ----------
    df : DataFrame

    Examples
    --------
    >>> df = pd.DataFrame({"a": [1, 2],
    ...                    "b": [3, 4]})
    >>> mean(df)
       a    b
    0  1.0  3.0

    The groups may have
    names:

    >>> for name, group in df.groupby("a"):
    ...     print(name)
    ...
    1
    2
    >>> print("...")
    ...
    """
    return df[...]

def other():
    """>>> other()
    Traceback (most recent call last):
    ...
    ValueError
    """
'''
EXAMPLES = """\
import pandas as pd

df = pd.DataFrame({"a": [1, 2],
                   "b": [3, 4]})
mean(df)

# The groups may have
# names:
for name, group in df.groupby("a"):
    print(name)

print("...")
"""


def test_the_code_stands_below_the_sentence_that_explains_it() -> None:
    assert examples_in(MODULE) == EXAMPLES


def test_a_file_without_examples_has_none() -> None:
    for text in ("", "x = 1\n", "...\n", "a >> b\n", "'''\n... x\n'''\n", ">>>\n", "    >>>>>> x\n", ">>>x = 1\n"):
        assert examples_in(text) == ""


def test_long_paragraphs_and_quotes_are_no_comments() -> None:
    assert examples_in("One\ntwo\nthree\nfour\n\n>>> x\n") == "x\n"
    assert examples_in('def f():\n    """Do it.\n    >>> f()\n    """\n') == "f()\n"
    assert examples_in(">>> df\n     a\n...\n... 9\n>>> x\n") == "df\nx\n", "output that was left out"
    assert examples_in("Do it.\n\n.. code-block:: python\n\n>>> f()\n") == "f()\n"


def test_of_a_real_library_the_code_is_that_of_doctest() -> None:
    files = sorted((Path(sysconfig.get_paths()["purelib"]) / "pandas/core").glob("*.py"))
    checked = 0
    for path in files:
        text = path.read_text(encoding="utf-8")
        try:
            expected = [
                line for test in doctest.DocTestParser().get_examples(text) for line in test.source.splitlines()
            ]
        except ValueError:
            continue  # doctest wants a docstring, not a file, and stumbles over some
        found = [line for line in examples_in(text).splitlines() if line.strip() and not line.startswith("# ")]
        assert found == [line.rstrip() for line in expected if line.strip() and not line.startswith("# ")], path
        checked += len(expected)
    assert checked > 500


def test_a_paragraph_of_any_length_is_read_in_one_pass() -> None:
    """Each line copied the lines before it: a file of a megabyte took minutes."""
    assert examples_in("x\n" * 500_000 + "\n" * 500_000 + ">>> x\n") == "x\n"


@settings(deadline=None, max_examples=200)
@given(st.text(st.sampled_from(list(">>>...  \n\t\"'#abc\r\x0c\u2028")), max_size=200))
def test_any_text_is_read(text: str) -> None:
    assert isinstance(examples_in(text), str)
