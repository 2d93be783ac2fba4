"""Checkpoints of one run: small ones at once, large ones beside training, so that it stands still for a copy only."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

from pipeline.config.memory_estimate import state_bytes
from pipeline.training import checkpoints
from pipeline.training.divergence import check_weights
from pipeline.training.run_logger import Record
from pipeline.training.session import Session

AT_ONCE_BYTES = 2**29
"""A model whose training takes no more memory than this is written while training waits: a kill then never costs more than
the steps since the last checkpoint.
"""


class Saver:
    """`with Saver(session, record) as saver: ... saver.save(step, row)`. Leaving waits for what is still being written."""

    def __init__(self, session: Session, record: Record) -> None:
        self._session = session
        self._record = record
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="saver")
        self._pending: Future[Path] | None = None
        self.saved_step = 0
        """Of the newest checkpoint."""
        self._is_small = state_bytes(session.run.config.model) <= AT_ONCE_BYTES

    def __enter__(self) -> Saver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)
        if error is None:
            self.wait()
        elif self._pending is not None and (fault := self._pending.exception()) is not None:
            self._record.say(f"the checkpoint that was being written is lost as well: {fault}")

    def save(self, step: int, row: dict[str, float]) -> None:
        """The state as it is now becomes the checkpoint of `step`, unless that is there; `row`: what was measured at it.

        All ranks must call it. Raises what writing this one, or the one before it, raised; DivergedError when the weights
        are no numbers.
        """
        self.wait()
        run = self._session.run
        if step == self.saved_step:
            return
        check_weights(self._session, step)
        self.saved_step = step
        write = self._session.writer(step, row)
        if not self._session.accelerator.is_main_process:
            return
        self._record.say(f"saving step {step}", message="saving")
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

    def wait(self) -> None:
        """Until nothing is being written. Raises what that raised."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def check(self) -> None:
        """Raise what writing raised, if it did already; training on without checkpoints would be for nothing."""
        if self._pending is not None and self._pending.done():
            self.wait()
