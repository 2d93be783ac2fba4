"""A whole run, top to bottom: train, evaluate, log and save, step by step.

Steps are always optimizer steps. Which windows a step sees is a pure function of the seed and the step, so a run that
is resumed after a kill or a stop is bit-identical to an uninterrupted one.
"""

from __future__ import annotations

import math
import time
from contextlib import closing
from typing import Any

from pipeline.artifacts.checkpoint import newest_valid
from pipeline.core.errors import DivergedError
from pipeline.core.job_process import JobProcess
from pipeline.core.paths import RunFolder
from pipeline.training import checkpoints
from pipeline.training.checkpoint_writer import CheckpointWriter
from pipeline.training.device import hardware_name
from pipeline.training.distributed import StopSign, from_rank_0, leave_processes
from pipeline.training.divergence import LossMonitor
from pipeline.training.evaluation import evaluate, perplexity
from pipeline.training.fsdp import is_sharded
from pipeline.training.gradient_accumulation import accumulate, is_out_of_memory, out_of_memory, retried
from pipeline.training.lost_rank import Ranks
from pipeline.training.run import open_run
from pipeline.training.run_logger import RunLogger
from pipeline.training.sample import write_sample
from pipeline.training.session import Session, open_session
from pipeline.training.state import DataOffset

MAX_ROLLBACKS = 3
"""Roll-backs of a run, however often it is resumed: one that diverges more often needs a different learning rate, not
different windows.
"""


def train(folder: RunFolder, request: dict[str, Any], job: JobProcess | None) -> None:
    """Train the run that `request` asks for until it is finished or asked to stop. Only rank 0 has a `job`.

    Raises InputError when it cannot start as requested, DamagedError when no checkpoint can be read, DivergedError when
    a loss or weights are nan or infinite, ResourceError when memory or disk run out. The last checkpoint before the
    error stays the newest. PipelineError names the rank that a run of several processes has lost.
    """
    run = open_run(folder, request)
    session = open_session(run)
    logger = RunLogger(folder, job, run.config)
    if session.accelerator.is_main_process:
        hardware = hardware_name(session.accelerator.device, session.accelerator.num_processes)
        run.write_config(session.chosen, hardware)
    logger.say(f"run {folder.id}: {session}", device=session.accelerator.device.type, precision=session.precision.name)
    if session.gpu_problem is not None:
        logger.say(session.gpu_problem, gpu_problem=session.gpu_problem)
    if run.config.training.loss == "weighted":
        logger.say(str(session.key_tokens), key_tokens=session.key_tokens.to_list())
    ranks = Ranks.gather(folder)
    with closing(logger), CheckpointWriter(session, logger) as writer, ranks.naming_the_lost():
        start, evaluated = _resume(session, logger)
        session.restore_offset()
        while True:
            try:
                writer.saved_step = start
                state, step = _train(session, logger, writer, StopSign(job), start, evaluated)
                break
            except DivergedError as error:
                writer.wait()
                start, evaluated = _roll_back(session, logger, error)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                raise out_of_memory(session, error) from error
    nothing = ", before there was anything to save" if step == 0 else ""
    logger.say(f"{state} at step {step}{nothing}", state=state, step=step, eta_seconds=None, message=None)
    leave_processes()


def _train(
    session: Session, logger: RunLogger, writer: CheckpointWriter, stop_sign: StopSign, start: int, evaluated: set[int]
) -> tuple[str, int]:
    """Train from the step after `start` to the end; returns the final state and step. `evaluated`: steps to skip."""
    run, training = session.run, session.run.config.training
    accelerator, optimizer, schedule = session.accelerator, session.optimizer, session.schedule
    training_seconds = 0.0
    monitor = LossMonitor(run.config, run.folder.id)
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
        is_trained = step > start  # the first pass only evaluates the initial or resumed weights
        is_compiling = session.is_compiled and step <= start + 1
        row, row_before = {}, row
        learning_rate = float(schedule.get_last_lr()[-1])  # AdamW's rate, which a plan shows
        step_started = time.perf_counter()

        # ---- one optimizer step: the global batch, in micro-batches ----
        writer.check()
        if is_trained:
            if is_compiling:
                logger.say("compiling the training step", message="compiling")
            totals = accumulate(
                session,
                step,
                should_stop=stop_sign.within_a_step,
                say=logger.say,
                interruptible=stop_sign.interruptible,
            )
            if totals is None:  # a stop request in the middle of the step: it is dropped
                writer.save(step - 1, row_before)
                return "stopped", step - 1
            grad_norm = accelerator.clip_grad_norm_(session.model.parameters(), training.max_grad_norm or math.inf)
            optimizer.step()
            optimizer.zero_grad()
            if not accelerator.optimizer_step_was_skipped:  # after an fp16 overflow, weights and rate stay the same
                schedule.step()

        stopping = stop_sign()
        is_last = step == training.max_steps
        is_evaluation = is_last or step % training.eval_every_steps == 0
        is_checkpoint = is_last or step % training.checkpoint_every_steps == 0
        is_row = is_evaluation or is_checkpoint or stopping or step == 1 or step % training.log_every_steps == 0

        # ---- read the losses; this waits for the device, so only when there is a row to write ----
        if is_trained and is_row:
            plain_loss, weighted_loss = accelerator.reduce(totals, "mean").tolist()
            row = {"train_loss": plain_loss, "grad_norm": float(grad_norm), "learning_rate": learning_rate}
            if training.loss == "weighted":
                row["weighted_loss"] = weighted_loss
        training_seconds += time.perf_counter() - step_started

        # ---- evaluate ----
        if is_evaluation and not stopping and step not in evaluated:
            doing = "compiling and evaluating" if is_compiling else "evaluating"
            logger.say(f"{doing} at step {step}", message=doing)
            evaluation_started = time.perf_counter()
            eval_loss = retried(session, step, validation_loss, logger.say, stop_sign.interruptible)
            if eval_loss is None:
                stopping = True
                logger.say(f"asked to stop: step {step} is not evaluated")
            else:
                if not is_compiling:
                    logger.evaluated(time.perf_counter() - evaluation_started)
                evaluated.add(step)
                row |= {"eval_loss": eval_loss, "perplexity": perplexity(eval_loss)}

        # ---- log ----
        if row:
            logger.row(step, training_seconds=training_seconds, **row)
            monitor.check(step, row)
        else:
            logger.progress(step)
        if is_trained and is_compiling:
            logger.warmed_up(step, training_seconds)
        # Does not test for "eval_loss" in the row: a kill between the two leaves a step evaluated but without a sample.
        can_sample = accelerator.is_main_process and not is_sharded(accelerator)  # a shard of a model cannot generate
        if can_sample and step in evaluated and not logger.has_sample(step):
            write_sample(session, logger, step)

        # ---- save ----
        if is_trained and (is_checkpoint or stopping):
            writer.save(step, row)
        elif "eval_loss" in row and not is_trained:
            writer.add_evaluation(step, row)

        if stopping:
            break
    return "finished" if is_last and step in evaluated else "stopped", step


def _resume(session: Session, logger: RunLogger) -> tuple[int, set[int]]:
    """Restore the newest checkpoint that verifies, or the initial state. Returns its step, and the steps up to it that
    are already evaluated.
    """
    folder, is_main = session.run.folder, session.accelerator.is_main_process
    newest = from_rank_0(newest_valid(folder) if is_main else None)
    evaluated = from_rank_0(logger.start_at(newest.step))
    if is_main:
        checkpoints.quarantine_after(folder, newest.step)
    for error in newest.damaged:
        logger.say(str(error))
    if newest.path is not None:
        logger.say(f"going on from step {newest.step}")
    session.resume(newest.path)
    return newest.step, evaluated


def _roll_back(session: Session, logger: RunLogger, error: DivergedError) -> tuple[int, set[int]]:
    """Resume from the newest checkpoint with windows that the run has not seen.

    Raises `error` when roll-back is disabled, when there is no checkpoint, or after MAX_ROLLBACKS.
    """
    is_main = session.accelerator.is_main_process
    newest = from_rank_0(newest_valid(session.run.folder) if is_main else None)
    is_enabled = session.run.config.training.on_divergence == "roll_back"
    if not is_enabled or newest.path is None or session.position.rollbacks >= MAX_ROLLBACKS:
        raise error
    before = session.position.state_dict()
    start, evaluated = _resume(session, logger)
    session.set_offset(
        DataOffset(
            skipped_steps=before["skipped_steps"] + error.step - start,
            rollbacks=before["rollbacks"] + 1,
        )
    )
    logger.say(f"{error.reason} at step {error.step}: rolled back to step {start} and past the windows in between")
    logger.rolled_back(start, error.step)
    return start, evaluated
