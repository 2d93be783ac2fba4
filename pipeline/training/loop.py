"""A whole run, top to bottom: step after step, evaluate, log, save, train.

Steps are optimizer steps everywhere. Which windows a step sees is a pure function of the seed and the step, so a run
that goes on after a kill or a stop is the same to the bit as one that was never disturbed.
"""

from __future__ import annotations

import math
import time
from contextlib import closing
from typing import Any

from pipeline.artifacts.checkpoint import newest_valid
from pipeline.core.errors import DivergedError
from pipeline.core.job_process import Job
from pipeline.core.paths import RunFolder
from pipeline.training import checkpoints
from pipeline.training.checkpoint_writer import Saver
from pipeline.training.distributed import StopSign, from_rank_0, leave_processes
from pipeline.training.divergence import check_losses
from pipeline.training.evaluation import evaluate, perplexity
from pipeline.training.fsdp import is_sharded
from pipeline.training.gradient_accumulation import accumulate, is_out_of_memory, out_of_memory, retried
from pipeline.training.run import open_run
from pipeline.training.run_logger import Record
from pipeline.training.sample import write_sample
from pipeline.training.session import Session, open_session

MOST_ROLLBACKS = 3
"""A run that diverges more often needs another learning rate, not other windows."""


def train(folder: RunFolder, request: dict[str, Any], job: Job | None) -> None:
    """Train the run that `request` asks for until it is done or asked to stop. `job` is rank 0's; others have none.

    Raises InputError when it cannot start as asked, DamagedError when no checkpoint can be read, DivergedError when the
    loss or the weights are no longer numbers, ResourceError when memory or disk run out; the last checkpoint before that
    stays the newest.
    """
    run = open_run(folder, request)
    session = open_session(run)
    record = Record(folder, job, run.config)
    if session.accelerator.is_main_process:
        run.write_config(session.chosen)
    record.say(f"run {folder.id}: {session}", device=session.accelerator.device.type, precision=session.precision.name)
    if run.config.training.loss == "weighted":
        record.say(str(session.key_tokens), key_tokens=session.key_tokens.to_list())
    with closing(record), Saver(session, record) as saver:
        start, evaluated = _go_on(session, record)
        while True:
            try:
                saver.saved_step = start
                state, step = _train(session, record, saver, StopSign(job), start, evaluated)
                break
            except DivergedError as error:
                saver.wait()
                start, evaluated = _roll_back(session, record, error)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                raise out_of_memory(session, error) from error
    nothing = ", before there was anything to save" if step == 0 else ""
    record.say(f"{state} at step {step}{nothing}", state=state, step=step, eta_seconds=None, message=None)
    leave_processes()


def _train(
    session: Session, record: Record, saver: Saver, stop_sign: StopSign, start: int, evaluated: set[int]
) -> tuple[str, int]:
    """Go on behind step `start` to the end; returns how and where it ended. `evaluated`: steps that are evaluated."""
    run, training = session.run, session.run.config.training
    accelerator, optimizer, schedule = session.accelerator, session.optimizer, session.schedule
    training_seconds = 0.0
    row: dict[str, float] = {}

    def validation_loss() -> float | None:
        return evaluate(
            session.model,
            session.validation_windows,
            accelerator=accelerator,
            num_windows=training.eval_windows,
            batch_size=session.micro_batch_size,
            should_stop=stop_sign,
        )

    for step in range(start, training.max_steps + 1):
        is_trained = step > start  # the first pass trains nothing: it evaluates what there is to begin with
        is_compiling = session.is_compiled and step <= start + 1
        row, row_before = {}, row
        learning_rate = float(schedule.get_last_lr()[-1])  # AdamW's: what a plan shows
        step_started = time.perf_counter()

        # ---- one optimizer step: the global batch, in micro-batches ----
        saver.check()
        if is_trained:
            if is_compiling:
                record.say("compiling the training step", message="compiling")
            totals = accumulate(
                session,
                step,
                should_stop=stop_sign.within_a_step,
                say=record.say,
                interruptible=stop_sign.interruptible,
            )
            if totals is None:  # asked to stop in its middle: the step is dropped
                saver.save(step - 1, row_before)
                return "stopped", step - 1
            grad_norm = accelerator.clip_grad_norm_(session.model.parameters(), training.max_grad_norm or math.inf)
            optimizer.step()
            optimizer.zero_grad()
            if not accelerator.optimizer_step_was_skipped:  # an overflow of fp16 leaves weights and rate as they were
                schedule.step()

        stopping = stop_sign()
        is_last = step == training.max_steps
        is_evaluation = is_last or step % training.eval_every_steps == 0
        is_checkpoint = is_last or step % training.checkpoint_every_steps == 0
        is_row = is_evaluation or is_checkpoint or stopping or step == 1 or step % training.log_every_steps == 0

        # ---- read the losses: that waits for the device, so only when there is a row to write ----
        if is_trained and is_row:
            plain_loss, weighted_loss = accelerator.reduce(totals, "mean").tolist()
            row = {"train_loss": plain_loss, "grad_norm": float(grad_norm), "learning_rate": learning_rate}
            if training.loss == "weighted":
                row["weighted_loss"] = weighted_loss
        training_seconds += time.perf_counter() - step_started

        # ---- evaluate ----
        if is_evaluation and not stopping and step not in evaluated:
            doing = "compiling and evaluating" if is_compiling else "evaluating"
            record.say(f"{doing} at step {step}", message=doing)
            evaluation_started = time.perf_counter()
            eval_loss = retried(session, step, validation_loss, record.say, stop_sign.interruptible)
            if eval_loss is None:
                stopping = True
                record.say(f"asked to stop: step {step} is not evaluated")
            else:
                if not is_compiling:
                    record.evaluated(time.perf_counter() - evaluation_started)
                evaluated.add(step)
                row |= {"eval_loss": eval_loss, "perplexity": perplexity(eval_loss)}

        # ---- log ----
        if row:
            record.row(step, training_seconds=training_seconds, **row)
            check_losses(run, step, row)
        else:
            record.progress(step)
        if is_trained and is_compiling:
            record.warmed_up(step, training_seconds)
        # Not where "eval_loss" is in the row: a kill between the two leaves a step evaluated and without its sample.
        can_sample = accelerator.is_main_process and not is_sharded(accelerator)  # a part of a model completes nothing
        if can_sample and step in evaluated and not record.has_sample(step):
            write_sample(session, record, step)

        # ---- save ----
        if is_trained and (is_checkpoint or stopping):
            saver.save(step, row)

        if stopping:
            break
    return "finished" if is_last and step in evaluated else "stopped", step


def _go_on(session: Session, record: Record) -> tuple[int, set[int]]:
    """Set everything to the newest checkpoint that verifies, or to the beginning. Returns its step, and the steps up to
    it that are evaluated.
    """
    folder, is_main = session.run.folder, session.accelerator.is_main_process
    newest = from_rank_0(newest_valid(folder) if is_main else None)
    evaluated = from_rank_0(record.start_at(newest.step))
    if is_main:
        checkpoints.quarantine_after(folder, newest.step)
    for error in newest.damaged:
        record.say(str(error))
    if newest.path is not None:
        record.say(f"going on from step {newest.step}")
    session.resume(newest.path)
    return newest.step, evaluated


def _roll_back(session: Session, record: Record, error: DivergedError) -> tuple[int, set[int]]:
    """Go on from the newest checkpoint with windows that the run has not seen. Raises `error` where it may not or cannot."""
    is_main = session.accelerator.is_main_process
    newest = from_rank_0(newest_valid(session.run.folder) if is_main else None)
    may = session.run.config.training.on_divergence == "roll_back"
    if not may or newest.path is None or session.position.rollbacks >= MOST_ROLLBACKS:
        raise error
    before = session.position.state_dict()
    start, evaluated = _go_on(session, record)
    session.position.load_state_dict(
        {
            "skipped_steps": before["skipped_steps"] + error.step - start,
            "rollbacks": before["rollbacks"] + 1,
        }
    )
    record.say(f"{error.reason} at step {error.step}: rolled back to step {start} and past the windows in between")
    record.rolled_back(start, error.step)
    return start, evaluated
