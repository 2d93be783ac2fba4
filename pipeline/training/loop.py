"""A whole run, top to bottom: step after step, evaluate, log, save, train.

Steps are optimizer steps everywhere. Which windows a step sees is a pure function of the seed and the step, so a run
that goes on after a kill or a stop is the same to the bit as one that was never disturbed.
"""

from __future__ import annotations

import math
import time
from contextlib import nullcontext
from typing import Any

import torch

from pipeline.errors import DivergedError
from pipeline.folders import RunFolder
from pipeline.job import Job
from pipeline.training import checkpoints
from pipeline.training.evaluation import evaluate, perplexity
from pipeline.training.loss import token_losses
from pipeline.training.processes import StopSign, from_rank_0
from pipeline.training.record import Record
from pipeline.training.run import Run, open_run
from pipeline.training.sample import write_sample
from pipeline.training.session import Session, open_session


def train(folder: RunFolder, request: dict[str, Any], job: Job | None) -> None:
    """Train the run that `request` asks for until it is done or asked to stop. `job` is rank 0's; others have none.

    Raises InputError when it cannot start as asked, DamagedError when no checkpoint can be read, DivergedError when the
    loss or the weights are no longer numbers; the last checkpoint before that stays the newest.
    """
    # ---- set up ----
    run = open_run(folder, request)
    config, training = run.config, run.config.training
    session = open_session(run)
    accelerator, model, optimizer, schedule = session.accelerator, session.model, session.optimizer, session.schedule
    stop_sign = StopSign(job)
    record = Record(folder, job, config)
    if accelerator.is_main_process:
        run.write_config(precision=session.precision.name, device=accelerator.device.type)
    record.say(f"run {folder.id}: {session}", device=accelerator.device.type, precision=session.precision.name)
    if training.loss == "weighted":
        record.say(str(session.key_tokens), key_tokens=session.key_tokens.to_list())

    # ---- go on from the newest checkpoint, if there is one ----
    newest = from_rank_0(checkpoints.newest_valid(folder) if accelerator.is_main_process else None)
    evaluated = from_rank_0(record.start_at(newest.step))
    if accelerator.is_main_process:
        checkpoints.set_aside_after(folder, newest.step)
    for error in newest.damaged:
        record.say(str(error))
    if newest.path is not None:
        record.say(f"going on from step {newest.step}")
    session.resume(newest.path)

    training_seconds = 0.0
    for step in range(newest.step, training.max_steps + 1):
        is_trained = step > newest.step  # the first pass trains nothing: it evaluates what there is to begin with
        row: dict[str, float] = {}
        step_started = time.perf_counter()

        # ---- one optimizer step: the global batch, in micro-batches ----
        if is_trained:
            totals = torch.zeros(2, device=accelerator.device)  # mean losses of this step: plain and weighted
            for index in range(session.num_micro_batches):
                input_ids = session.micro_batch(step, index)
                # Processes exchange gradients once per step, with its last micro-batch.
                is_exchange = index == session.num_micro_batches - 1
                with nullcontext() if is_exchange else accelerator.no_sync(model):
                    losses = token_losses(model(input_ids=input_ids, use_cache=False).logits, input_ids).mean(dim=1)
                    plain = losses.mean()
                    weighted = (losses * session.key_tokens.window_weights(input_ids, training.alpha)).mean()
                    loss = weighted if training.loss == "weighted" else plain
                    accelerator.backward(loss / session.num_micro_batches)
                totals += torch.stack([plain, weighted]).detach() / session.num_micro_batches
            grad_norm = accelerator.clip_grad_norm_(model.parameters(), training.max_grad_norm or math.inf)
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
            row = {"train_loss": plain_loss, "grad_norm": float(grad_norm)}
            if training.loss == "weighted":
                row["weighted_loss"] = weighted_loss
        training_seconds += time.perf_counter() - step_started

        # ---- evaluate ----
        if is_evaluation and not stopping and step not in evaluated:
            record.say(f"evaluating at step {step}", message="evaluating")
            eval_loss = evaluate(
                model,
                session.validation_windows,
                accelerator=accelerator,
                num_windows=training.eval_windows,
                batch_size=training.micro_batch_size,
                should_stop=stop_sign,
            )
            if eval_loss is None:
                stopping = True
            else:
                evaluated.add(step)
                row |= {"eval_loss": eval_loss, "perplexity": perplexity(eval_loss)}

        # ---- log ----
        if row:
            learning_rate = float(schedule.get_last_lr()[0])
            record.row(step, training_seconds=training_seconds, learning_rate=learning_rate, **row)
            _check_losses(run, step, row)
        else:
            record.progress(step)
        if "eval_loss" in row and accelerator.is_main_process:
            write_sample(session, record, step)

        # ---- save ----
        if is_trained and (is_checkpoint or stopping):
            _check_weights(session, step)
            write = session.writer(step, row)
            if accelerator.is_main_process:
                record.say(f"saving step {step}", message="saving")
                checkpoints.save(folder, step, write, keep=training.keep_checkpoints)

        if stopping:
            break

    # ---- end ----
    state = "finished" if is_last and step in evaluated else "stopped"
    record.say(f"{state} at step {step}", state=state, step=step, eta_seconds=None, message=None)


def _check_losses(run: Run, step: int, row: dict[str, float]) -> None:
    for name in ("train_loss", "weighted_loss", "eval_loss"):
        if not math.isfinite(row.get(name, 0.0)):
            raise _diverged(run, step, f"{name} is {row[name]}")


def _check_weights(session: Session, step: int) -> None:
    """A checkpoint of weights that are no numbers would hide the last good one."""
    if not session.weights_are_finite():
        raise _diverged(session.run, step, "some weights are nan or infinite")


def _diverged(run: Run, step: int, what: str) -> DivergedError:
    training = run.config.training
    return DivergedError(
        f"Run {run.folder.id} diverged at step {step}: {what}; start a new run with a learning_rate below "
        f"{training.learning_rate:g}, a longer warm-up than {training.warmup_steps} steps, or precision fp32."
    )
