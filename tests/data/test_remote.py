from __future__ import annotations

import pytest

from pipeline.data.remote import hub_faults
from pipeline.errors import HubError, InputError


@pytest.mark.parametrize(
    "error", [ConnectionError("line one\nline two"), TimeoutError(), ValueError("bad"), EOFError()]
)
def test_what_the_client_raises_becomes_one_sentence(error: Exception) -> None:
    with pytest.raises(HubError) as caught, hub_faults("Dataset 'x'"):
        raise error
    assert str(caught.value).startswith("Dataset 'x' could not be read from the Hub (")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


def test_our_own_errors_and_our_own_mistakes_pass_unchanged() -> None:
    with pytest.raises(InputError, match="ours"), hub_faults("x"):
        raise InputError("ours")
    with pytest.raises(KeyError), hub_faults("x"):
        raise KeyError("mistake")
