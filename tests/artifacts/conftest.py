"""A corpus is prepared as it is for the tests of the data."""

from tests.data.conftest import folder, handlers, prepared

__all__ = ["folder", "handlers", "prepared"]
