"""Reuses the data tests' fixtures that prepare a corpus."""

from tests.data.conftest import folder, handlers, prepared

__all__ = ["folder", "handlers", "prepared"]
