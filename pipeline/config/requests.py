"""The request.json of each kind of job, written by the requester and read by the job."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pipeline.config.parsing import known
from pipeline.config.schema import DataConfig, ExecutionConfig
from pipeline.core.errors import require


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """Fields of every kind of request."""

    request_id: str = ""
    """Id of this attempt; status.json, stop.json and process.json contain the id of the attempt that they belong to."""
    requested_at: float = 0.0
    """Unix seconds."""
    earlier_ids: tuple[str, ...] = ()
    """Ids of the previous attempts."""
    resume: bool = False
    """Whether to continue from the files that an earlier attempt saved."""
    held: bool = False
    """Whether a person starts the job by hand, instead of the worker."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """From request.json; keys of a newer version are dropped. Raises InputError when a required key is missing."""
        needed = [item.name for item in dataclasses.fields(cls) if _has_no_default(item)]
        missing = [name for name in needed if name not in values]
        require(not missing, "request.json", sorted(values), f"it also needs {', '.join(missing)}")
        return cls(**known(cls, dict(values)))

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class RunRequest(JobRequest):
    """A training run, or a dry run of one."""

    corpus: str
    preset: str
    recipe: str
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of ModelConfig or TrainingConfig that override the preset and the recipe."""
    processes: int = 1
    """Number of processes that share each batch."""


@dataclass(frozen=True, kw_only=True)
class PrepareRequest(JobRequest):
    """Preparation of a corpus, or with `only_scan` the report of its whole source."""

    config: DataConfig
    workforce: ExecutionConfig = field(default_factory=ExecutionConfig)
    only_scan: bool = False

    def __post_init__(self) -> None:
        for name, kind in (("config", DataConfig), ("workforce", ExecutionConfig)):
            if isinstance(value := getattr(self, name), dict):  # as decoded from JSON
                object.__setattr__(self, name, kind(**known(kind, value)))


@dataclass(frozen=True, kw_only=True)
class PushRequest(JobRequest):
    """Push of a corpus to the Hub as a dataset."""

    repo: str
    private: bool = False


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest(JobRequest):
    """Evaluation of revisions, whose files are on this disk."""

    revisions: tuple[dict[str, Any], ...]
    """Facts of each, with its `path`."""
    run: str | None = None
    """Whose revisions they are, if they were chosen by it."""
    corpus: str | None = None
    """Whose held-out files are read, if not those of each revision's own corpus."""
    samples: int = 10
    """Completions of each task."""
    exact: bool = False
    """Whether to write in float32 always."""
    again: bool = False
    """Whether to evaluate also what was evaluated before."""


def _has_no_default(item: dataclasses.Field[Any]) -> bool:
    return item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
