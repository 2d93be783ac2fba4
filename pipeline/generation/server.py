"""Writes the texts of all open requests together, a token of each per step. Does not depend on pipes.

Started by `pipeline.generation.__main__`. Imports torch when the first request arrives.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.core.environment import num_cores
from pipeline.core.errors import PipelineError, ResourceError
from pipeline.core.text import without_errno
from pipeline.generation.loaded import LoadedModel, LoadedModels, is_out_of_memory
from pipeline.generation.seats import MAX_BATCH_TEXTS, MAX_BEGUN_TEXTS, fitting, in_order
from pipeline.generation.settings import Sampling
from pipeline.generation.task import Key, Send, Task
from pipeline.generation.text_chunk import TextChunk

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pipeline.generation.batch import Text
    from pipeline.generation.decoder import Decoder

MAX_CACHE_BYTES = 2**31
"""Of the key/value caches of all texts that have begun. One request is always written, however long it is."""
MAX_KEPT_ANSWERS = 256
"""Answers that are kept for whoever asks the same again, least recently used ones dropped."""


class Server:
    """Answers all open requests. Thread-safe."""

    def __init__(self, send: Send, *, exact: bool = False) -> None:
        """`exact`: never use int8."""
        self.threads = num_cores()
        """CPU threads of the next step."""
        self._send = send
        self._changed = threading.Condition(threading.RLock())
        """Held for every use of what follows; notified when there may be something to write."""
        self._visitors: dict[str, list[Task]] = {}
        """Each visitor's open tasks, oldest first."""
        self._written: Counter[str] = Counter()
        """Tokens written for each of these visitors."""
        self._answers: OrderedDict[Key, list[TextChunk]] = OrderedDict()
        self._models = LoadedModels(exact=exact)
        self._one_reader = threading.Lock()
        threading.Thread(target=self._write, name="writer", daemon=True).start()

    def open(self, question: Mapping[str, Any]) -> None:
        """Begin to answer, or join whoever asked the same: a text depends on nothing but its question."""
        task = Task(question, self._send)
        with self._changed:
            if kept := self._answers.get(task.key):
                self._answers.move_to_end(task.key)
                task.heard = kept
                task.add(question["id"])
                task.end({"done": True})
                return
            same = next((other for other in self._tasks() if other.key == task.key and not other.is_stopped), None)
            (same or task).add(question["id"])
            if task.visitor not in self._visitors:  # whoever comes later does not make up for the time before
                self._written[task.visitor] = min(self._written.values(), default=0)
            if same is None:
                self._visitors.setdefault(task.visitor, []).append(task)
            elif self._written[task.visitor] < self._written[same.visitor] or task.visitor not in self._visitors:
                self._pass_on(same, task.visitor)
            self._schedule()

    def stop(self, request_id: int) -> None:
        """Stop this request. One that has already ended is ignored. What nobody waits for ends within a token."""
        with self._changed:
            for task in self._tasks():
                if task.stop(request_id) and task.is_stopped and not task.is_started:
                    self._close(task)
            self._changed.notify()

    def _pass_on(self, task: Task, visitor: str) -> None:
        """Let it count in the share of another visitor who waits for it, and has got less."""
        self._visitors.setdefault(visitor, []).append(task)
        self._remove(task)
        task.visitor = visitor

    def _remove(self, task: Task) -> None:
        self._visitors[task.visitor].remove(task)
        if not self._visitors[task.visitor]:
            del self._visitors[task.visitor], self._written[task.visitor]

    def _tasks(self) -> list[Task]:
        return [task for tasks in self._visitors.values() for task in tasks]

    def _schedule(self) -> None:
        """Start the tasks that can start, and send the rest their place."""
        self._models.plan()
        num_begun = sum(task.num_texts for task in self._tasks() if task.is_started)
        num_waiting = 0
        for task in in_order(self._visitors, self._written):
            if task.is_started:
                continue
            has_none = not any(other.is_started for other in self._visitors[task.visitor])
            if (num_begun < MAX_BEGUN_TEXTS or has_none) and self._start(task):
                num_begun += task.num_texts
            else:
                num_waiting += 1
                task.tell_place(num_waiting)

    def _start(self, task: Task) -> bool:
        task.model = self._models.reserve(task.path)
        if task.model is not None:
            task.forget_place()
            threading.Thread(target=self._prepare, args=(task, task.model), daemon=True).start()
        return task.is_started

    def _close(self, task: Task) -> None:
        with self._changed:
            if task.model is not None:
                self._models.release(task.model)
            self._remove(task)
            self._schedule()

    # ---- before its first token, each task in a thread of its own ----

    def _prepare(self, task: Task, model: LoadedModel) -> None:
        """Load its model, while the other tasks go on, and begin its texts, or read what it asks to read."""
        try:
            if (parts := self._loaded(task, model)) is None:
                return
            if task.read is not None:
                return self._answer(task, {"done": True, **self._read(task, task.read, *parts)})
            texts = self._begun(task, *parts)
        except PipelineError as error:
            self._answer_failed(task, error)
        except BaseException as error:  # a Rust panic in tokenizers is not an Exception
            if task.read is not None and is_out_of_memory(error):
                return self._answer_failed(
                    task, ResourceError("The text does not fit into memory; read a shorter one.")
                )
            self._fail([task], error)
        else:
            with self._changed:
                task.texts = texts
                self._changed.notify()

    def _loaded(self, task: Task, model: LoadedModel) -> tuple[Decoder, PreTrainedTokenizerBase] | None:
        """None when two models do not fit into memory, in which case the task is queued again. Raises ResourceError
        when the model alone does not fit.
        """
        try:
            return self._models.read(model)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            with self._changed:
                if not self._models.shrink():
                    raise ResourceError(
                        f"{task.path} does not fit into memory; choose a revision of a smaller model."
                    ) from error
                self._models.release(model)
                task.model = None
                if task.is_stopped:
                    self._close(task)
                self._schedule()
                return None

    def _begun(self, task: Task, decoder: Decoder, tokenizer: PreTrainedTokenizerBase) -> list[Text]:
        from pipeline.generation.sampling import begin

        return begin(
            decoder,
            tokenizer,
            task.prompt,
            Sampling(**task.sampling),
            on_text=lambda chunk: self._tell(task, chunk),
            engine=decoder.engine(self.threads),
        )

    def _read(
        self, task: Task, question: Mapping[str, Any], decoder: Decoder, tokenizer: PreTrainedTokenizerBase
    ) -> dict[str, Any]:
        """Read a text, beside the texts that are written, one at a time: its logits take much memory."""
        from pipeline.generation.scoring import look_inside, read

        written, at, num_guesses = question["written"], question["at"], question["num_guesses"]
        with self._one_reader:
            if task.is_stopped:
                return {}
            self._use_threads(decoder)
            if at is None:
                engine = decoder.engine(self.threads)
                found = read(decoder, tokenizer, task.prompt, written, num_guesses=num_guesses, engine=engine)
                with self._changed:
                    self._written[task.visitor] += len(found.tokens)
                return {"reading": found.to_dict()}
            inside = look_inside(decoder, tokenizer, task.prompt, written, at=at, num_guesses=num_guesses)
            with self._changed:
                self._written[task.visitor] += at
            return {"inside": inside.to_dict()}

    # ---- all texts, in one thread ----

    def _write(self) -> None:
        while True:
            with self._changed:
                while not (chosen := self._chosen()):
                    self._changed.wait()
            try:
                by_model: dict[LoadedModel, list[Task]] = {}
                for task in chosen:
                    if task.is_stopped:
                        self._drop(task)
                    elif task.model is not None:
                        by_model.setdefault(task.model, []).append(task)
                for model, tasks in by_model.items():
                    self._step(model, tasks)
            except BaseException as error:
                self._fail(chosen, error)

    def _chosen(self) -> list[Task]:
        """The tasks that the next step writes, and those that it ends because they were stopped."""
        ready = {
            visitor: sorted((task for task in tasks if task.texts is not None), key=lambda task: task.num_read)
            for visitor, tasks in self._visitors.items()
        }
        order = in_order({visitor: tasks for visitor, tasks in ready.items() if tasks}, self._written)
        stopped = [task for task in order if task.is_stopped]
        num_bytes = sum(task.cache_bytes for task in order if task.has_caches)
        for task in order:
            if not task.is_stopped and not task.has_caches and num_bytes + task.cache_bytes <= MAX_CACHE_BYTES:
                task.has_caches = True
                num_bytes += task.cache_bytes
        if order and not num_bytes:
            order[0].has_caches = True
        begun = [task for task in order if task.has_caches and not task.is_stopped]
        return stopped + fitting(begun, MAX_BATCH_TEXTS)

    def _step(self, model: LoadedModel, tasks: Sequence[Task]) -> None:
        from pipeline.generation.batch import not_finite, step

        assert model.parts is not None  # it is loaded before a task is ready
        self._use_threads(model.parts[0])
        texts = [(task, text) for task in tasks for text in task.unfinished]
        done = step(*model.parts, [text for _, text in texts])
        with self._changed:
            for (task, _), num_read in zip(texts, done.num_read, strict=True):
                task.num_read += num_read
                self._written[task.visitor] += num_read
        for task in tasks:
            if not done.broken.isdisjoint(task.unfinished):
                self._answer_failed(task, not_finite())
            elif not task.unfinished:
                self._answer(task, {"done": True})

    def _use_threads(self, decoder: Decoder) -> None:
        import torch

        num_threads = decoder.num_threads(self.threads)
        if torch.get_num_threads() != num_threads:
            torch.set_num_threads(num_threads)

    # ---- answers ----

    def _tell(self, task: Task, chunk: TextChunk) -> None:
        with self._changed:
            task.tell(chunk)

    def _drop(self, task: Task) -> None:
        for text in task.unfinished:
            text.finish("stopped")
        self._close(task)

    def _answer(self, task: Task, answer: Mapping[str, Any]) -> None:
        with self._changed:
            task.end(answer)
            if "done" in answer and not task.is_stopped and task.read is None:
                self._answers[task.key] = task.heard
                if len(self._answers) > MAX_KEPT_ANSWERS:
                    self._answers.popitem(last=False)
            self._close(task)

    def _answer_failed(self, task: Task, error: PipelineError) -> None:
        self._answer(task, {"error": str(error), "exit_status": error.exit_status})

    def _fail(self, tasks: Sequence[Task], error: BaseException) -> None:
        """Fail all open requests and end the process: every call after a CUDA assert fails. The client restarts it."""
        traceback.print_exc()
        with self._changed:
            reason = f"{type(error).__name__}: {without_errno(str(error)).partition(chr(10))[0]}"
            for other in self._tasks():
                cause = f"({reason})" if other in tasks else "while it wrote for somebody else"
                sentence = f"The generator failed {cause}; ask again, it is started afresh."
                other.end({"error": sentence, "exit_status": PipelineError.exit_status})
            os._exit(1)  # a normal exit would wait for the thread that reads stdin, and abort
