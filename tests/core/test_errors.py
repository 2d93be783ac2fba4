from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pipeline.core.errors import InputError, home_errors


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_file_of_another_user_in_the_home_is_one_sentence(tmp_path: Path, number: int) -> None:
    sentence = r"PIPELINE_HOME \(.*\) holds files of another user: .*requests\.lock"
    with pytest.raises(InputError, match=sentence), home_errors(tmp_path):
        raise OSError(number, "no", str(tmp_path / "requests.lock"))


@pytest.mark.parametrize(
    "error", [PermissionError(errno.EACCES, "no", "/elsewhere"), OSError(errno.ENOSPC, "full", "x"), OSError("bare")]
)
def test_other_errors_are_not_translated(tmp_path: Path, error: OSError) -> None:
    with pytest.raises(OSError) as caught, home_errors(tmp_path):
        raise error
    assert caught.value is error
