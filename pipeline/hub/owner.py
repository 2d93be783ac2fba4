"""The owner of a model repo that is named without one: the account of the token."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

from pipeline.core.errors import InputError, require
from pipeline.core.repo_names import HOW, is_owned
from pipeline.hub.client import PUSH, PassingFault, connect, hub_errors
from pipeline.hub.repo_check import ANSWER_SECONDS, identity

VARIABLE = "PIPELINE_HUB_REPO"


def complete_repo(environ: MutableMapping[str, str] = os.environ) -> None:
    """Make `PIPELINE_HUB_REPO=NAME` `OWNER/NAME`, for this process and those that it starts. Call it before Settings are
    read. Raises InputError for a malformed name and when the Hub cannot be asked, Refusal without a valid token.
    """
    name = environ.get(VARIABLE) or ""
    if not name or "/" in name:
        return
    require(is_owned(f"owner/{name}"), VARIABLE, name, HOW)
    try:
        with hub_errors(name, PUSH):
            _, names = identity(connect(PUSH, answer_seconds=ANSWER_SECONDS).whoami(), name)
    except PassingFault as fault:
        raise InputError(
            f"{VARIABLE} is {name!r}, and whose it is cannot be asked ({fault}); write OWNER/{name}."
        ) from fault
    environ[VARIABLE] = f"{names[0]}/{name}"
