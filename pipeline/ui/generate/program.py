"""Decides whether a completion is a program that draws, and what a browser needs to run it. Only parses: nothing of it
is run here. Does not depend on Gradio.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
import warnings
from dataclasses import dataclass
from functools import lru_cache

MAX_CHARACTERS = 20_000
"""A longer program is not parsed: a prompt has 8,000 characters at most, a completion 512 tokens."""
MAX_PARSES = 40
"""How often the end of a text is cut off to find the part that parses."""

CONVENTIONS = {
    "np": "import numpy as np",
    "pd": "import pandas as pd",
    "plt": "import matplotlib.pyplot as plt",
}
"""Names that data science code uses without a word, as the course's prompts do, and the imports that bind them."""

PACKAGES = {
    "numpy": ("numpy", 3),
    "matplotlib": ("matplotlib", 12),
    "mpl_toolkits": ("matplotlib", 12),
    "pandas": ("pandas", 8),
    "scipy": ("scipy", 16),
    "sklearn": ("scikit-learn", 24),
}
"""Imported name -> the package of Pyodide, and about how many MB it is with what it needs besides numpy."""
CORE_MB = 14
"""The interpreter and its standard library."""

DRAWS = frozenset(
    "acorr area axhline axhspan axline axvline axvspan bar barbs barh boxplot broken_barh cohere contour contour3D contourf "
    "csd density errorbar eventplot figimage fill fill_between fill_betweenx hexbin hist hist2d hlines imshow kde line "
    "loglog magnitude_spectrum matshow pcolor pcolormesh phase_spectrum pie plot plot3D plot_date plot_surface "
    "plot_trisurf plot_wireframe psd quiver scatter scatter3D scatter_matrix semilogx semilogy specgram spy stackplot "
    "stairs stem step streamplot tricontour tricontourf tripcolor triplot violinplot vlines xcorr".split()
)
"""Names of functions and methods of matplotlib and pandas that put something into a figure."""
AMBIGUOUS = frozenset("area density fill hist kde line pie plot psd quiver scatter spy stairs stem step bar".split())
"""Those that other objects have as well: they draw as methods only where a library that draws is used."""
LIBRARIES = frozenset({"matplotlib", "pandas", "seaborn", "mpl_toolkits"})
MAY_DRAW = re.compile(rf"\b(?:{'|'.join(sorted(DRAWS))}|sns|seaborn)\b")
NAME = "<program>"
warnings.filterwarnings("ignore", module=NAME)  # of an escape that Python does not know: the program's own matter


@dataclass(frozen=True)
class DrawingProgram:
    """A completion with its prompt, as a browser can run it."""

    code: str
    """What is run: the longest beginning that parses, with the imports that it lacks."""
    num_lines_cut: int
    """Lines at the end that do not parse, and are left out."""
    added_imports: tuple[str, ...]
    """Names that it uses without importing them, whose usual imports stand before it."""
    packages: tuple[str, ...]
    """Packages of Pyodide that it imports, matplotlib among them."""
    missing: tuple[str, ...]
    """What it imports and Pyodide does not have. With any, it cannot be run."""
    megabytes: int
    """About how much a browser fetches for it, the interpreter included."""


@lru_cache(maxsize=256)
def drawing_program(text: str, prompt: str = "") -> DrawingProgram | None:
    """The program in `text`, a prompt with its completion; None when nothing that was written after `prompt` parses or it
    draws nothing.
    """
    text, prompt = (each.replace("\r\n", "\n").replace("\r", "\n") for each in (text, prompt))
    if len(text) > MAX_CHARACTERS or not MAY_DRAW.search(text):
        return None
    tree, num_lines = _longest_part(text)
    if tree is None or not _draws(tree):
        return None
    lines = text.split("\n")
    code, cut = "\n".join(lines[:num_lines]), "\n".join(lines[num_lines:])
    if len(code.rstrip()) <= len(prompt.rstrip()):
        return None
    added = tuple(sorted(_unbound(tree) & CONVENTIONS.keys()))
    imported = _imported(tree) | {CONVENTIONS[name].split()[1].partition(".")[0] for name in added} | {"matplotlib"}
    own = {name for name in imported if name in sys.stdlib_module_names}
    known = {PACKAGES[name] for name in imported if name in PACKAGES} | {PACKAGES["numpy"]}
    return DrawingProgram(
        code="".join(f"{CONVENTIONS[name]}\n" for name in added) + code + "\n",
        num_lines_cut=len(cut.strip("\n").split("\n")) if cut.strip() else 0,
        added_imports=added,
        packages=tuple(sorted(name for name, _ in known)),
        missing=tuple(sorted((imported | _named_libraries(tree)) - own - PACKAGES.keys())),
        megabytes=CORE_MB + sum(size for _, size in known),
    )


# ---- parse what is there ----


def _longest_part(text: str) -> tuple[ast.Module | None, int]:
    """The tree of the longest beginning of whole lines that parses, and its number of lines."""
    lines = text.split("\n")
    num_lines = len(lines)
    for _ in range(MAX_PARSES):
        part = "\n".join(lines[:num_lines])
        if not part.strip():
            break
        try:
            return ast.parse(part, filename=NAME), num_lines
        except SyntaxError as error:
            # What begins at the line of the error is what does not parse; an end without it may.
            num_lines = min(num_lines - 1, max((error.lineno or num_lines) - 1, 0))
        except (ValueError, RecursionError, MemoryError):  # a zero byte; nested more deeply than Python's parser goes
            break
    return None, 0


# ---- what the program does ----


def _draws(tree: ast.Module) -> bool:
    """Whether it calls something that puts something into a figure."""
    libraries = _imported(tree) | _named_libraries(tree)
    has_library = bool(libraries & LIBRARIES) or bool({"plt", "pd"} & _unbound(tree))
    return any(_is_drawing(call, has_library) for call in ast.walk(tree) if isinstance(call, ast.Call))


def _is_drawing(call: ast.Call, has_library: bool) -> bool:
    called = call.func
    if isinstance(called, ast.Name):  # from matplotlib.pyplot import scatter
        return called.id in DRAWS and has_library
    if not isinstance(called, ast.Attribute):
        return False
    root = _root(called)
    if root in ("sns", "seaborn"):
        return not called.attr.startswith(("set", "load_", "color_", "despine"))
    return called.attr in DRAWS and (has_library or called.attr not in AMBIGUOUS)


def _root(node: ast.expr) -> str:
    """The name that an expression like `plt.gca().plot` begins with, or ""."""
    while isinstance(node, (ast.Attribute, ast.Call, ast.Subscript)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _imported(tree: ast.Module) -> set[str]:
    """Top-level names of what it imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0] if not node.level else ".")
    return found - {""}


def _named_libraries(tree: ast.Module) -> set[str]:
    """Libraries that it uses by their usual name without importing them, and that have no import to add."""
    return {"seaborn"} if "sns" in _unbound(tree) else set()


def _unbound(tree: ast.Module) -> set[str]:
    """Names that are read and bound nowhere in it."""
    read: set[str] = set()
    bound = set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.alias):
            bound.add(node.asname or node.name.partition(".")[0])
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound.add(node.name)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
    return read - bound
