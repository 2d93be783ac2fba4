"""Imports Gradio without the work that it does for editors: type stubs and docstrings of its components.

At each import Gradio parses the source of every component, renews the `.pyi` file beside it and renders a docstring for
each event: a third of the time until the page answers (1.6 s instead of 2.3), and a write into the installation. The page
needs neither. A version of Gradio that does this elsewhere is imported as it is.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

MODULE = "gradio.component_meta"
STUB_WRITER = "create_or_modify_pyi"


class NoStubs(importlib.abc.MetaPathFinder):
    """Loads MODULE as it is, then replaces its STUB_WRITER."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = _without_stubs(spec.loader)  # type: ignore[method-assign]
        return spec


def skip_stubs() -> None:
    """Call it before the first import of Gradio; later it does nothing."""
    if MODULE not in sys.modules and not any(isinstance(finder, NoStubs) for finder in sys.meta_path):
        sys.meta_path.insert(0, NoStubs())


def _without_stubs(loader: importlib.abc.Loader):  # type: ignore[no-untyped-def]
    execute = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        if hasattr(module, STUB_WRITER):
            setattr(module, STUB_WRITER, lambda *_: None)
        if hasattr(listener := getattr(module, "EventListener", None), "set_doc"):
            listener.set_doc = lambda *_, **__: None  # type: ignore[union-attr]

    return exec_module
