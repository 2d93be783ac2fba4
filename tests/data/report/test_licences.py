"""Names of one licence are counted together where it is certain."""

from __future__ import annotations

import pytest

from pipeline.data.report.licences import IDS, OTHER_NAMES, licence_id


@pytest.mark.parametrize(
    ("licence", "names"),
    [
        ("MIT", ["MIT", "mit", "MIT License", "The  MIT License (MIT)"]),
        ("Apache-2.0", ["Apache-2.0", "apache 2.0", "Apache 2.0 License", "Apache License, Version 2.0"]),
        ("BSD-3-Clause", ["bsd-3-clause", "3-Clause BSD License", "New BSD"]),
        ("MPL-2.0", ["Mozilla Public License 2.0 (MPL 2.0)"]),
    ],
)
def test_every_name_of_a_licence_is_its_id(licence: str, names: list[str]) -> None:
    assert {licence_id(name) for name in names} == {licence}


@pytest.mark.parametrize(
    "name", ["", "BSD", "Apache Software License", "GPL", "MIT AND PSF-2.0", "MIT-ish", "Proprietary"]
)
def test_a_name_that_is_not_certain_stays(name: str) -> None:
    assert licence_id(name) == name


def test_each_other_name_belongs_to_one_id() -> None:
    names = [name.lower() for names in OTHER_NAMES.values() for name in names]
    assert len(names) == len(set(names))
    assert set(OTHER_NAMES) <= set(IDS)
    assert not {name.lower() for name in IDS} & set(names)
