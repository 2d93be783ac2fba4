"""The gradients of one optimizer step, accumulated over micro-batches: all of them, or none without side effects."""

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
"""`with interruptible():` inside, a stop request raises StopRequested at once."""
NOTABLE_SHARE = 0.1
"""Share of a GPU's memory, held by other programs, above which an error names it: more than a CUDA context takes."""
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "could not allocate")
"""Error messages of torch and oneDNN on a CPU. On CUDA the exception type identifies the error."""


def accumulate(
    session: Session,
    step: int,
    *,
    should_stop: Callable[[], bool],
    say: Callable[[str], None],
    interruptible: Interruptible = nullcontext,
) -> Tensor | None:
    """Accumulate the gradients of optimizer step `step` in the model.

    Returns float32[2]: the means of the plain and the weighted loss over this process's part of the global batch. In a
    run with the plain loss both are the plain loss. Returns None when `should_stop` was true between two micro-batches
    or a stop request interrupted it: then there are no gradients, and the random generators are restored.

    If the machine cannot do it with the chosen settings, the step starts again (see `retried`).
    """
    device = session.accelerator.device
    random = random_state(device)

    def attempt() -> Tensor | None:
        session.optimizer.zero_grad()
        set_random_state(random, device)
        return _run_micro_batches(session, step, should_stop)

    totals = retried(session, step, attempt, say, interruptible)
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
    """Run `work`, and start it again when the machine cannot do it with the chosen settings.

    When memory runs out it is retried with micro-batches of half the size; when kernels cannot be compiled, with
    torch's own. `say` gets a message for each retry. Raises torch's error when there is no lower setting.

    Returns what `work` returns, or None when a stop request interrupted it. Only compiled work is interruptible:
    compiling takes a minute without a check for a stop request. On CUDA, autograd's own thread compiles the backward
    pass; there a stop request takes effect when that compilation ends.
    """
    while True:
        try:
            with interruptible() if session.is_compiled else nullcontext():
                return work()
        except StopRequested:
            return None
        except (RuntimeError, MemoryError) as error:
            change = _degrade(session, step, error)
            if change is None:
                raise
        # Outside the except block: inside, the traceback keeps the memory alive that has to be freed.
        say(change)


def _degrade(session: Session, step: int, error: BaseException) -> str | None:
    """Choose the next lower setting. Returns a description of it; None if there is none, or for any other error."""
    size = session.micro_batch_size
    if session.is_compiled and isinstance(error, TorchDynamoException):
        session.use_plain_kernels()
        return f"kernels could not be compiled at step {step} ({_reason(error)}): torch's own from here on"
    # With several ranks the step cannot start again: the other ranks are past this point.
    if not is_out_of_memory(error) or size == 1 or session.accelerator.num_processes > 1:
        return None
    session.set_micro_batch_size(size // 2 if size % 2 == 0 else 1)
    return (
        f"out of memory at step {step} ({_reason(error)}): micro-batches of {session.micro_batch_size} windows "
        f"from here on, the global batch stays {session.run.config.training.batch_size}"
    )


def is_out_of_memory(error: BaseException) -> bool:
    message = str(error).lower()
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(part in message for part in OUT_OF_MEMORY)


def _run_micro_batches(session: Session, step: int, should_stop: Callable[[], bool]) -> Tensor | None:
    accelerator, model, training = session.accelerator, session.model, session.run.config.training
    totals = torch.zeros(2, device=accelerator.device)
    for index in range(session.num_micro_batches):
        if index and should_stop():
            return None
        input_ids = session.micro_batch(step, index)
        # Processes exchange gradients once per step, in the last micro-batch.
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
    """The error for a run that cannot retry with smaller micro-batches. It says what to lower."""
    size = session.micro_batch_size
    remedy = f"set a micro_batch_size below {size}" if size > 1 else "choose a smaller preset or window"
    others = held_by_others(session.accelerator.device)
    return ResourceError(
        f"Run {session.run.folder.id} ran out of memory with micro-batches of {size} window(s) ({_reason(error)}{others}); "
        f"{remedy}, or close other programs."
    )


def held_by_others(device: torch.device) -> str:
    """How much of a GPU's memory other programs hold, to append to a reason; empty on a CPU, or if it is little."""
    if device.type != "cuda":
        return ""
    free, total = torch.cuda.mem_get_info(device)
    held = total - free - torch.cuda.memory_reserved(device)
    if held < NOTABLE_SHARE * total:
        return ""
    return f"; other programs, which nvidia-smi lists, hold {held / 1e9:.1f} of its {total / 1e9:.1f} GB"


def _reason(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
