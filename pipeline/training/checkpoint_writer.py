"""Saves the checkpoints of one run: small ones synchronously, large ones in the background.

A background save stops training only while the state is copied.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from pipeline.artifacts.checkpoint import PROVENANCE
from pipeline.config.memory_estimate import state_bytes
from pipeline.core.atomic_io import readable_json
from pipeline.training import checkpoints
from pipeline.training.distributed import from_rank_0
from pipeline.training.divergence import diverged
from pipeline.training.run_logger import RunLogger
from pipeline.training.session import Session

AT_ONCE_BYTES = 2**29
"""A model with at most this much training state is saved synchronously: a kill then never costs more than
the steps since the last checkpoint.
"""


class CheckpointWriter:
    """`with CheckpointWriter(session, logger) as writer: ... writer.save(step, row)`. Exit waits for the last save."""

    def __init__(self, session: Session, logger: RunLogger) -> None:
        self._session = session
        self._logger = logger
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._pending: Future[Path] | None = None
        self.saved_step = 0
        """Step of the newest checkpoint."""
        self._is_small = state_bytes(session.run.config.model) <= AT_ONCE_BYTES

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)
        if error is None:
            self.wait()
        elif self._pending is not None and (fault := self._pending.exception()) is not None:
            self._logger.say(f"the checkpoint that was being written is lost as well: {fault}")

    def save(self, step: int, row: dict[str, float], *, evaluated_later: bool = False) -> None:
        """Save the current state as the checkpoint of `step`, unless it is saved. `row`: the metrics of that step;
        `evaluated_later`: whether the step was saved before without them.

        All ranks must call it. Raises the error of this write or of the previous one; DivergedError when weights are
        nan or infinite.
        """
        self.wait()
        run = self._session.run
        if step == self.saved_step:
            return
        # Their checkpoint would hide the last good one. All ranks take part.
        if not self._session.weights_are_finite():
            raise diverged(run.config, run.folder.id, step, "some weights are nan or infinite")
        self.saved_step = step
        write = self._session.writer(step, row, evaluated_later=evaluated_later)
        if not self._session.accelerator.is_main_process:
            return
        self._logger.say(f"saving step {step}", message="saving")
        training = run.config.training
        self._pending = self._pool.submit(
            checkpoints.save,
            run.folder,
            step,
            write,
            keep=training.keep_checkpoints,
            keep_every=training.keep_every_steps,
        )
        if self._is_small:
            self.wait()

    def add_evaluation(self, step: int, row: dict[str, float]) -> None:
        """Save `step` again with its validation loss, if it was saved without one because of a stop request. All ranks
        must call it, before the next step.
        """
        run = self._session.run
        path = run.folder.checkpoint(step) / PROVENANCE
        is_main = self._session.accelerator.is_main_process
        if from_rank_0(is_main and path.exists() and readable_json(path).get("eval_loss") is None):
            self.saved_step = -1
            self.save(step, row, evaluated_later=True)

    def wait(self) -> None:
        """Wait until no write is pending. Raises the error of the write."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def check(self) -> None:
        """Raise the error of a background write that has failed: training without checkpoints would be useless."""
        if self._pending is not None and self._pending.done():
            self.wait()
