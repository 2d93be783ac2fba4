"""The gradients of one optimizer step: the global batch, in micro-batches; all of them, or as if it had not begun."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from pipeline.core.errors import ResourceError
from pipeline.core.job_process import StopRequested
from pipeline.training.session import Session
from pipeline.training.state import random_state, set_random_state

T = TypeVar("T")
Interruptible = Callable[[], AbstractContextManager[None]]
"""`with interruptible():` inside, a request to stop raises StopRequested at once."""
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "could not allocate")
"""What torch and oneDNN say on a CPU; on CUDA the type tells."""


def accumulate(
    session: Session,
    step: int,
    *,
    should_stop: Callable[[], bool],
    say: Callable[[str], None],
    interruptible: Interruptible = nullcontext,
) -> Tensor | None:
    """Leave the gradients of optimizer step `step` in the model. Returns float32[2]: the means over the global batch of
    the plain and the weighted loss (of a plain run the plain one again), of this process. None when `should_stop` said so
    between two micro-batches, or it was interrupted: then there are no gradients, and the random generators are as they were.

    Where the machine cannot do it as chosen, the step begins again (see `retried`).
    """
    device = session.accelerator.device
    random = random_state(device)

    def passes() -> Tensor | None:
        session.optimizer.zero_grad()
        set_random_state(random, device)
        return _passes(session, step, should_stop)

    totals = retried(session, step, passes, say, interruptible)
    if totals is None:
        session.optimizer.zero_grad()
        set_random_state(random, device)
    return totals


def retried(
    session: Session,
    step: int,
    work: Callable[[], T],
    say: Callable[[str], None],
    interruptible: Interruptible = nullcontext,
) -> T | None:
    """What `work` returns; None when it was interrupted, which only compiled work can be: compiling takes a minute, and
    nobody asks in between whether to stop (on CUDA autograd's own thread compiles the backward pass: there it is heard
    when that is done). It is begun again where the machine cannot do it as chosen: with micro-batches of half the size
    when memory runs out, with torch's own kernels when none can be compiled; `say` is told. Raises what torch raised where
    there is nothing less to choose.
    """
    while True:
        try:
            with interruptible() if session.is_compiled else nullcontext():
                return work()
        except StopRequested:
            return None
        except (RuntimeError, MemoryError) as error:
            lesser = _degrade(session, step, error)
            if lesser is None:
                raise
        # Behind the except: inside, the traceback still holds the memory that has to be freed.
        say(lesser)


def _degrade(session: Session, step: int, error: BaseException) -> str | None:
    """In words; None where there is nothing less to choose, or the error is another one."""
    size = session.micro_batch_size
    if session.is_compiled and isinstance(error, TorchDynamoException):
        session.use_plain_kernels()
        return f"kernels could not be compiled at step {step} ({_why(error)}): torch's own from here on"
    # With other ranks it cannot begin again: they are past this point.
    if not is_out_of_memory(error) or size == 1 or session.accelerator.num_processes > 1:
        return None
    session.set_micro_batch_size(size // 2 if size % 2 == 0 else 1)
    return (
        f"out of memory at step {step} ({_why(error)}): micro-batches of {session.micro_batch_size} windows from here on, "
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
            losses = model(input_ids).mean(dim=1)
            loss = plain = losses.mean()
            if training.loss == "weighted":
                loss = (losses * session.key_tokens.window_weights(input_ids, training.alpha)).mean()
            accelerator.backward(loss / session.num_micro_batches)
        totals += torch.stack([plain, loss]).detach() / session.num_micro_batches
    return totals


def out_of_memory(session: Session, error: BaseException) -> ResourceError:
    """Where it cannot be begun again with smaller micro-batches; says what to lower."""
    size = session.micro_batch_size
    remedy = f"set a micro_batch_size below {size}" if size > 1 else "choose a smaller preset or window"
    return ResourceError(
        f"Run {session.run.folder.id} ran out of memory with micro-batches of {size} window(s) ({_why(error)}); {remedy}, "
        "or close other programs."
    )


def _why(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
