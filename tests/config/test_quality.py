from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest

from pipeline.config.quality import NO_RULES, QualityConfig
from pipeline.core.errors import InputError


def test_every_rule_is_off_unless_asked_for() -> None:
    assert not any(dataclasses.asdict(QualityConfig()).values())
    assert QualityConfig() == NO_RULES


def test_codeparrots_rules_are_all_of_them() -> None:
    assert all(dataclasses.asdict(QualityConfig.as_codeparrot()).values())


@pytest.mark.parametrize("config", [NO_RULES, QualityConfig.as_codeparrot()], ids=["none", "codeparrot"])
def test_the_rules_come_back_from_json(config: QualityConfig) -> None:
    assert QualityConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_line_length", 0),
        ("max_mean_line_length", 0.5),
        ("max_mean_line_length", float("nan")),
        ("min_alphanumeric_share", 0),
        ("min_alphanumeric_share", 1.01),
        ("min_characters_per_token", -1),
        ("test_drop_share", 1.5),
        ("no_keyword_drop_share", -0.1),
        ("min_assignments", 0),
        ("near_duplicate_jaccard", 0.4),
        ("near_duplicate_jaccard", 1.1),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"^{name} is "):
        QualityConfig(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("test_drop_share", None, "a number"),
        ("no_keyword_drop_share", "most", "a number"),
        ("min_alphanumeric_share", [0.25], "a number"),
        ("min_assignments", "some", "a whole number"),
        ("drop_generated", None, "true or false"),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(name: str, value: Any, wanted: str) -> None:
    """As it stands in a request or a report that somebody edited."""
    with pytest.raises(InputError, match=rf"^{name} is {re.escape(repr(value))}; give {wanted}\."):
        QualityConfig(**{name: value})


def test_a_number_written_as_text_is_a_number() -> None:
    assert QualityConfig(test_drop_share="0.5") == QualityConfig(test_drop_share=0.5)  # type: ignore[arg-type]
