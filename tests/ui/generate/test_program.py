"""Which completions are programs that draw, and what a browser needs for them."""

from __future__ import annotations

import ast
import io
import runpy
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.prompts import course_prompts
from pipeline.core.paths import ASSETS
from pipeline.ui.generate import program
from pipeline.ui.generate.browser_run import browser_run
from pipeline.ui.generate.program import drawing_program

SCATTER = course_prompts()[0]


def test_a_program_of_which_only_the_prompt_parses_is_not_offered() -> None:
    prompt = "import matplotlib.pyplot as plt\nplt.plot([1])\n"
    assert drawing_program(prompt + "plt.bar(x,\n  (", prompt) is None
    assert drawing_program(prompt + "\n\n", prompt) is None
    assert drawing_program(prompt + "x = 1\nplt.bar(x,", prompt) is not None
    assert drawing_program(prompt + "plt.bar(x, 1)", prompt.rstrip() + "\r\n") is not None


def test_the_courses_first_prompt_with_its_answer_draws_and_gets_the_imports_it_lacks() -> None:
    found = drawing_program(SCATTER.text + SCATTER.answer)
    assert found is not None
    assert found.code.startswith("import numpy as np\nimport matplotlib.pyplot as plt\n# create some data")
    assert found.added_imports == ("np", "plt")
    assert (found.packages, found.missing, found.num_lines_cut) == (("matplotlib", "numpy"), (), 0)
    assert found.megabytes == program.CORE_MB + 3 + 12


@pytest.mark.parametrize("prompt", course_prompts()[1:], ids=lambda prompt: prompt.name)
def test_the_courses_other_prompts_draw_nothing(prompt: object) -> None:
    assert drawing_program(prompt.text + prompt.answer) is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "code",
    [
        "plt.plot(x)",
        "import matplotlib.pyplot as p\np.hist(x)",
        "from matplotlib.pyplot import scatter\nscatter(x, y)",
        "import pandas as pd\ndf = pd.DataFrame()\ndf.plot.bar()",
        "df = pd.DataFrame()\ndf['a'].hist()",
        "fig, ax = plt.subplots()\nax.imshow(x)",
        "ax.errorbar(x, y)",
        "def f():\n    import pylab\n    plt.gca().bar(x, y)",
    ],
)
def test_it_draws(code: str) -> None:
    assert drawing_program(code) is not None


@pytest.mark.parametrize(
    "code",
    [
        "",
        "x = 1",
        "plt.plot",
        "plt.show()\nplt.close()",
        "# plt.plot(x)",
        "'plt.plot(x)'",
        "class Plot:\n    def plot(self):\n        pass\nPlot().plot()",
        "gun.fill(water)\nqueue.line(3)",
        "hist = [1]\nprint(hist)",
        "sns.set_theme()\nx = sns.load_dataset('iris')",
    ],
)
def test_it_draws_nothing(code: str) -> None:
    assert drawing_program(code) is None


def test_a_torn_end_is_cut_to_what_parses() -> None:
    found = drawing_program("import matplotlib.pyplot as plt\nplt.plot([1])\nfor x in y:\n    plt.bar(x,\n")
    assert found is not None
    assert found.code == "import matplotlib.pyplot as plt\nplt.plot([1])\n"
    assert found.num_lines_cut == 2
    assert drawing_program("plt.plot([1])\n'''torn").num_lines_cut == 1  # type: ignore[union-attr]
    assert drawing_program("x = 1\nplt.plot(") is None, "what draws is cut off"
    assert drawing_program("plt.plot(1)\n\n\n").num_lines_cut == 0  # type: ignore[union-attr]


def longest_by_trying(text: str) -> int:
    """The number of lines of the longest beginning that parses, by trying each; 0 if there is none but the empty one."""
    lines = text.split("\n")
    for number in range(len(lines), 0, -1):
        part = "\n".join(lines[:number])
        try:
            ast.parse(part)
        except (SyntaxError, ValueError):
            continue
        return number if part.strip() else 0
    return 0


LINES = st.sampled_from(
    ["plt.plot(x)", "for x in y:", "    z = 1", "f(", "1)", "'''", "x = [1,", "]", "", "# note", "if a:", "else:", "try:", "@f",
     "def f():", "    return {", "}", "x = 'torn", "\tz", "lambda: (", "print 'x'", "a b", "\\", "  y", "\x00", "return"]
)  # fmt: skip


@given(st.lists(LINES, max_size=9))
def test_the_cut_is_that_of_trying_every_length(lines: list[str]) -> None:
    text = "\n".join(lines)
    tree, number = program._longest_part(text)
    assert (number if tree else 0) == longest_by_trying(text)


@given(st.text(max_size=200), st.sampled_from(["", "plt.plot(1)\n", "\nplt.scatter("]))
def test_no_text_raises(text: str, draws: str) -> None:
    drawing_program(draws + text)
    drawing_program(text + draws)


DEEP = {
    "signs": "-" * 8_000 + "1",
    "brackets": "(" * 4_000,
    "attributes": "a" + ".b" * 4_000,
    "calls": "f" + "()" * 4_000,
    "sums": "1+" * 4_000 + "1",
    "powers": "1**" * 2_600 + "1",
    "conditions": "1 if 1 else " * 700 + "1",
    "functions": "lambda:" * 1_100 + "1",
    "branches": "if 1:\n pass\n" + "elif 1:\n pass\n" * 500,
    "zero bytes": "\0" * 8_000,
    "open lines": "(\n" * 4_000,
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_deep_nesting_ends_neither_the_process_nor_the_handler(text: str) -> None:
    """In a thread, whose stack is smaller than the main one's."""
    done: list[object] = []
    thread = threading.Thread(target=lambda: done.append(drawing_program(f"plt.plot(1)\n{text}")))
    thread.start()
    thread.join()
    assert len(done) == 1


def test_a_program_too_long_to_be_one_is_not_parsed() -> None:
    assert drawing_program("plt.plot(1)\n" + "x = 1\n" * 4_000) is None


def test_what_pyodide_does_not_have_is_named() -> None:
    found = drawing_program("import seaborn as sns\nimport torch\nimport os.path\nsns.histplot(x)")
    assert found is not None
    assert found.missing == ("seaborn", "torch")
    assert drawing_program("sns.histplot(x)").missing == ("seaborn",)  # type: ignore[union-attr]
    sklearn = drawing_program("from sklearn.svm import SVC\nfrom . import x\nplt.plot(1)")
    assert sklearn is not None
    assert (sklearn.packages, sklearn.missing) == (("matplotlib", "numpy", "scikit-learn"), (".",))


def test_nothing_is_offered_where_the_instance_has_turned_it_off() -> None:
    assert browser_run(None, SCATTER.text, SCATTER.answer) is None
    offered = browser_run("https://mirror.example/py/", SCATTER.text, SCATTER.answer)
    assert offered is not None
    assert offered.host == "mirror.example"
    assert "mirror.example" in offered.texts["fetch"] and "{done}" in offered.texts["loading"]


def test_the_harness_saves_the_figures_of_the_real_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one of requirements-evaluate.txt, in this process: the browser tests have a stand-in."""
    from matplotlib import pyplot

    monkeypatch.setattr(pyplot, "show", pyplot.show)
    pyplot.switch_backend("agg")
    start = runpy.run_path(str(ASSETS / "see" / "harness.py"))["start"]
    code = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nplt.figure()\nplt.hist([1])\nplt.bar(missing, 1)\n"
    printed = io.StringIO()
    monkeypatch.setattr("sys.stderr", printed)
    plots, failed = start(code, 4, 4_000_000)
    assert failed and len(plots) == 2
    assert all(plot.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR") for plot in plots)
    assert 'File "program.py", line 6, in <module>' in printed.getvalue()
    assert "NameError: name 'missing' is not defined" in printed.getvalue()
    assert pyplot.get_fignums() == []
    assert len(start(code.replace("plt.bar(missing, 1)\n", "plt.figure()\n" * 9), 4, 4_000_000)[0]) == 4
    assert start("import matplotlib.pyplot as plt\nplt.plot([1])\n", 4, 10) == ([], False), "too large a plot"
