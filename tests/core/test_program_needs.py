from __future__ import annotations

import pytest

from pipeline.core import program_needs
from pipeline.core.errors import InputError


def test_where_programs_cannot_be_confined_or_a_library_is_missing_nothing_is_possible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(program_needs, "can_confine_programs", lambda: False)
    with pytest.raises(InputError, match="cannot confine a program"):
        program_needs.check_possible()
    monkeypatch.setattr(program_needs, "can_confine_programs", lambda: True)
    monkeypatch.setattr(program_needs, "NEEDED", ("numpy", "not_there.at_all"))
    with pytest.raises(
        InputError, match=r"need not_there; install them: pip install -c constraints.txt -r requirements-evaluate.txt"
    ):
        program_needs.check_possible()
