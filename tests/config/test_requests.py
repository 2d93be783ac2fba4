"""What a job is asked for survives the way through request.json, also from a newer version."""

from __future__ import annotations

import dataclasses
import json

import pytest

from pipeline.config.quality import QualityConfig
from pipeline.config.requests import JobRequest, PrepareRequest, PushRequest, RunRequest
from pipeline.config.schema import DataConfig, ExecutionConfig
from pipeline.core.errors import InputError

REQUESTS: list[JobRequest] = [
    RunRequest(corpus="mine", preset="tiny", recipe="fast", changes={"max_steps": 5}, processes=2, held=True),
    PrepareRequest(
        config=DataConfig(keywords=("os",), quality=QualityConfig(drop_exact_duplicates=True)),
        workforce=ExecutionConfig(workers=3),
        only_scan=True,
        request_id="a",
    ),
    PushRequest(repo="me/files", private=True, earlier_ids=("b",)),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_a_request_is_read_as_it_was_written(request_: JobRequest) -> None:
    written = json.loads(json.dumps(dataclasses.asdict(request_)))
    read = type(request_).of({**written, "kind": "a kind", "of_a_newer_version": 1})
    assert dataclasses.asdict(read) == {**dataclasses.asdict(request_), "earlier_ids": read.earlier_ids}
    assert list(read.earlier_ids) == list(request_.earlier_ids)


@pytest.mark.parametrize(
    ("kind", "missing"), [(RunRequest, "corpus, preset, recipe"), (PrepareRequest, "config"), (PushRequest, "repo")]
)
def test_a_request_that_lacks_something_names_it(kind: type[JobRequest], missing: str) -> None:
    with pytest.raises(InputError, match=f"request.json is .*it also needs {missing}"):
        kind.of({"request_id": "a"})


def test_a_preparation_with_a_bad_value_is_refused() -> None:
    with pytest.raises(InputError, match="workers is 0"):
        PrepareRequest.of({"config": {}, "workforce": {"workers": 0}})
