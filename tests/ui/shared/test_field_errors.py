"""Messages in the page's words, tied to their fields."""

from __future__ import annotations

import re

import pytest

from pipeline.config.parsing import parse_value
from pipeline.config.schema import DataConfig
from pipeline.core.errors import BusyError, FieldError, HubError, InputError, PipelineError, require
from pipeline.ui.shared.access import AccessError
from pipeline.ui.shared.field_errors import Field, Fields, labelled, message_of, notice_of

FIELDS: Fields = {
    "max_steps": Field("Steps", "max-steps"),
    "warmup_steps": Field("Warm-up steps", "warmup-steps"),
    "source": Field("Dataset on the Hub", "source-repo", "write owner/name"),
    "keywords": Field("Keep files that mention", "keywords"),
}


def refusal(name: str, value: object, remedy: str) -> FieldError:
    with pytest.raises(FieldError) as caught:
        require(False, name, value, remedy)
    return caught.value


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (refusal("max_steps", "two", "give a whole number"), "“Steps” is “two”; give a whole number."),
        (refusal("max_steps", 0, "set it to 1 or more"), "“Steps” is 0; set it to 1 or more."),
        (refusal("warmup_steps", 9, "set 0 to max_steps (3)"), "“Warm-up steps” is 9; set 0 to “Steps” (3)."),
        (refusal("keywords", [], "give at least one"), "“Keep files that mention” is empty; give at least one."),
        (refusal("source", "hub:x", "write it as hub:..."), "“Dataset on the Hub” is “hub:x”; write owner/name."),
        (refusal("n_layer", 0, "set 1 to 200"), "n_layer is 0; set 1 to 200."),  # no field of the form
        (InputError("There is no run."), "There is no run."),
    ],
)
def test_a_message_has_the_labels_of_the_form(error: PipelineError, said: str) -> None:
    assert message_of(error, FIELDS) == said


def test_the_command_lines_own_words_stay() -> None:
    """The control."""
    assert str(refusal("max_steps", "two", "give a whole number")) == "max_steps is 'two'; give a whole number."
    with pytest.raises(FieldError, match=re.escape("max_steps is 'two'; give a whole number.")):
        parse_value("max_steps", "two", int)
    with pytest.raises(FieldError, match="keywords is \\[\\]; give at least one"):
        DataConfig(keywords=())


def test_a_notice_names_the_field_that_it_concerns() -> None:
    assert 'data-field="max-steps"' in notice_of(refusal("max_steps", 0, "set more"), FIELDS)
    assert 'data-field="max-steps"' in notice_of(InputError("It is empty.", name="max_steps"), FIELDS)
    assert 'data-field="source-repo"' in notice_of(InputError("There is no dataset."), FIELDS, default="source")
    for error in (
        BusyError("Wait."),
        AccessError("Not yours."),
        HubError("It is away."),
        refusal("n_layer", 0, "set 1"),
    ):
        assert "data-field" not in notice_of(error, FIELDS, default="source"), error


def test_the_same_message_twice_is_two_notices() -> None:
    """So that the browser sees that a button answered again."""
    error = refusal("max_steps", 0, "set more")
    assert notice_of(error, FIELDS) != notice_of(error, FIELDS)


def test_settings_inside_a_sentence_are_named_by_their_labels() -> None:
    assert (
        labelled("lower warmup_steps, not n_layer or source", FIELDS) == "lower “Warm-up steps”, not n_layer or source"
    )
