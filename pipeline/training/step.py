"""The gradients of one optimizer step: the global batch, in micro-batches; all of them, or as if it had not begun."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

import torch
from torch import Tensor

from pipeline.errors import ResourceError
from pipeline.training.loss import token_losses
from pipeline.training.session import Session
from pipeline.training.state import random_state, set_random_state

T = TypeVar("T")
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "could not allocate")
"""What torch and oneDNN say on a CPU; on CUDA the type tells."""


def accumulate(
    session: Session, step: int, *, should_stop: Callable[[], bool], say: Callable[[str], None]
) -> Tensor | None:
    """Leave the gradients of optimizer step `step` in the model. Returns float32[2]: the means over the global batch of
    the plain and the weighted loss, of this process. None when `should_stop` said so between two micro-batches: then
    there are no gradients, and the random generators are as they were.

    When memory runs out, the step begins again (see `in_memory`).
    """
    device = session.accelerator.device
    random = random_state(device)

    def passes() -> Tensor | None:
        session.optimizer.zero_grad()
        set_random_state(random, device)
        return _passes(session, step, should_stop)

    totals = in_memory(session, step, passes, say)
    if totals is None:
        session.optimizer.zero_grad()
        set_random_state(random, device)
    return totals


def in_memory(session: Session, step: int, work: Callable[[], T], say: Callable[[str], None]) -> T:
    """What `work` returns. When memory runs out it is begun again, with micro-batches of half the size; `say` is told.
    Raises ResourceError where that is not possible.
    """
    while True:
        try:
            return work()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            why = str(error).partition("\n")[0] or "MemoryError"
        # Behind the except: inside, the traceback still holds what has to be freed.
        _halve(session, why)
        say(
            f"out of memory at step {step} ({why}): micro-batches of {session.micro_batch_size} windows from here on, "
            f"the global batch stays {session.run.config.training.batch_size}"
        )


def is_out_of_memory(error: BaseException) -> bool:
    words = str(error).lower()
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(part in words for part in OUT_OF_MEMORY)


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
