"""The gradients of one optimizer step: the global batch, in micro-batches; all of them, or as if it had not begun."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor

from pipeline.errors import ResourceError
from pipeline.training.loss import token_losses
from pipeline.training.session import Session
from pipeline.training.state import random_state, set_random_state

OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "could not allocate")
"""What torch and oneDNN say on a CPU; on CUDA the type tells."""


def accumulate(
    session: Session, step: int, *, should_stop: Callable[[], bool], say: Callable[[str], None]
) -> Tensor | None:
    """Leave the gradients of optimizer step `step` in the model. Returns float32[2]: the means over the global batch of
    the plain and the weighted loss, of this process. None when `should_stop` said so between two micro-batches: then
    there are no gradients, and the random generators are as they were.

    When memory runs out, the step begins again with micro-batches of half the size; `say` is told. Raises ResourceError
    where that is not possible.
    """
    device = session.accelerator.device
    random = random_state(device)
    while True:
        out_of_memory: str | None = None
        try:
            totals = _passes(session, step, should_stop)
            if totals is not None:
                return totals
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            out_of_memory = str(error).splitlines()[0] if str(error) else "MemoryError"
        # Behind the except: inside, the traceback still holds what has to be freed.
        session.optimizer.zero_grad()
        set_random_state(random, device)
        if out_of_memory is None:
            return None
        _halve(session, out_of_memory)
        say(
            f"out of memory at step {step} ({out_of_memory}): micro-batches of {session.micro_batch_size} windows from "
            f"here on, the global batch stays {session.run.config.training.batch_size}"
        )


def _passes(session: Session, step: int, should_stop: Callable[[], bool]) -> Tensor | None:
    accelerator, model, training = session.accelerator, session.model, session.run.config.training
    totals = torch.zeros(2, device=accelerator.device)
    for index in range(session.num_micro_batches):
        if index and should_stop():
            return None
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
    return totals


def _halve(session: Session, why: str) -> None:
    size = session.micro_batch_size
    if session.accelerator.num_processes > 1:
        # The other ranks are past the point where this one could begin again.
        remedy = f"set a micro_batch_size below {size}"
    elif size == 1:
        remedy = "choose a smaller preset or window, or close other programs"
    else:
        session.set_micro_batch_size(size // 2 if size % 2 == 0 else 1)
        return
    raise ResourceError(
        f"Run {session.run.folder.id} ran out of memory with micro-batches of {size} window(s) ({why}); {remedy}."
    )


def _is_out_of_memory(error: Exception) -> bool:
    words = str(error).lower()
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(part in words for part in OUT_OF_MEMORY)
