"""What a page or a command shows of each kind of job. `views` reads them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from pipeline.jobs.run_pushes import PushFault
from pipeline.jobs.state import ACTIVE


@dataclass(frozen=True, kw_only=True)
class JobView:
    """What is shown of every job, at one moment. Values not known yet are None."""

    state: str
    """As JobState.state; `scanned` for the finished scan of a corpus's source."""
    error: str | None = None
    is_callers_mistake: bool = False
    """Whether the caller can fix the cause of `error`."""
    message: str | None = None
    """The job's own progress message."""
    place: int | None = None
    """Position in the queue, from 1; None when the job is not queued."""
    requested_at: float = 0.0
    """Unix seconds."""
    updated_at: float | None = None
    """Unix seconds of the job's last status."""

    not_printed: ClassVar[frozenset[str]] = frozenset()
    """Fields that `to_dict` leaves out."""

    def to_dict(self) -> dict[str, Any]:
        """What commands print under `--json`."""
        return {name: value for name, value in asdict(self).items() if name not in self.not_printed}


@dataclass(frozen=True, kw_only=True)
class RunView(JobView):
    """One run."""

    run: str
    corpus: str
    preset: str
    recipe: str
    step: int
    """Optimizer steps done."""
    max_steps: int | None
    train_loss: float | None
    eval_loss: float | None
    perplexity: float | None
    """exp(eval_loss)."""
    tokens_per_second: float | None
    eta_seconds: float | None
    config: dict[str, Any] | None
    """config.json: everything needed to run it again."""
    is_pushing: bool = False
    """Whether a checkpoint is being pushed, or waits for its next try."""
    pushed_step: int | None = None
    """The newest step whose commit is on the Hub."""
    push_fault: PushFault | None = None
    """Why a newer checkpoint does not arrive; None when nothing is known to be wrong."""
    can_resume: bool = True
    """False for a run that a wipe of the disk has ended and whose training state was not pushed."""
    gpu_problem: str | None = None
    """Why the trainer did not use a GPU that is there."""

    not_printed = frozenset({"config", "message", "is_callers_mistake", "is_pushing"})

    def to_dict(self) -> dict[str, Any]:
        return {"run": self.run, "name": self.run, **super().to_dict()}  # scripts rely on both names


@dataclass(frozen=True, kw_only=True)
class CorpusView(JobView):
    """One corpus, ready or in preparation."""

    corpus: str
    stage: str | None
    progress: float | None
    """Fraction of the current stage that is done, 0 to 1."""
    source: str | None
    match: str
    """How keywords are matched (`DataConfig.match`)."""
    files: int | None
    """Kept files, training and validation."""
    tokens_train: int | None
    tokens_validation: int | None
    tokens_dropped: int | None
    vocab_size: int | None
    bytes_on_disk: int
    seconds: float | None
    seconds_left: float | None
    """Remaining seconds of the current stage at its average speed so far."""
    warnings: list[str]
    """What makes its losses say less than they seem to (`artifacts.corpus.corpus_warnings`)."""
    status: dict[str, Any]

    not_printed = frozenset({"status", "message", "updated_at", "is_callers_mistake"})


@dataclass(frozen=True, kw_only=True)
class PushView(JobView):
    """The newest push of one corpus to the Hub."""

    corpus: str
    repo: str
    private: bool
    url: str | None
    """URL of the dataset; None until the push has finished."""
    pushed: dict[str, Any] | None = None
    """The result, as a dict of `hub.dataset.Pushed`."""


@dataclass(frozen=True, kw_only=True)
class DryRunView(JobView):
    """The newest dry run."""

    measured: dict[str, Any] | None
    """Seconds of a step, an evaluation and a checkpoint; checkpoint bytes; memory; precision, device, micro-batch."""


@dataclass(frozen=True, kw_only=True)
class EvaluationView(JobView):
    """The newest evaluation."""

    run: str | None
    """Whose revisions are evaluated, if they were chosen by it."""
    count: int
    """Revisions."""
    number: int | None
    """Of the present one, from 1."""
    revision: str | None
    step: int | None
    stage: str | None
    """`write`, `run` or `read`."""
    done: int | None
    """Tasks that are completed, or programs that were run."""
    total: int | None


@dataclass(frozen=True, kw_only=True)
class HomeView:
    """Every job of a home folder at one moment, the dry run excepted. Runs and corpora are newest first."""

    runs: list[RunView]
    corpora: list[CorpusView]
    pushes: dict[str, PushView]
    """Corpus id -> its newest push."""
    evaluation: EvaluationView | None = None
    """The newest one; None when none was requested."""
    restoring: str | None = None
    """What is being brought back from the Hub after this disk was wiped, or why it cannot be."""
    is_restore_fault: bool = False

    @property
    def is_busy(self) -> bool:
        """Whether a job is queued or running, or a checkpoint is being pushed."""
        jobs: list[JobView] = [*self.runs, *self.corpora, *self.pushes.values()]
        jobs += [self.evaluation] if self.evaluation else []
        return any(job.state in ACTIVE for job in jobs) or any(run.is_pushing for run in self.runs)
