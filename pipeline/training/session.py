"""All in-memory state of a run: model, optimizer, schedule, windows; saved to and restored from checkpoints."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from safetensors.torch import load_file, load_model
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import AutoTokenizer, GPT2LMHeadModel
from transformers.utils.logging import disable_progress_bar

from pipeline.core.atomic_io import readable_json, write_json
from pipeline.core.errors import DamagedError
from pipeline.data.tokens.windows import Windows, open_windows
from pipeline.training.checkpoints import WriteFiles
from pipeline.training.device import (
    Precision,
    allow_tf32,
    choose_compile,
    choose_device,
    choose_micro_batch,
    choose_precision,
    cuda_problem,
    use_all_cores,
)
from pipeline.training.distributed import from_rank_0, join_processes
from pipeline.training.fsdp import (
    ShardedOptimizer,
    check_sharding,
    is_sharded,
    set_weights,
    sharding_plugin,
    whole_weights,
)
from pipeline.training.loss import KeyTokens, NextTokenLoss
from pipeline.training.model import build_model
from pipeline.training.optimizer import build_optimizer, build_schedule
from pipeline.training.run import Run
from pipeline.training.state import Copies, DataOffset, TrainingState, restore_random_state

SHAPE = ("n_layer", "n_embd", "n_head", "n_positions", "vocab_size")
"""Fields of ModelConfig that the weights of a checkpoint depend on, also in its config.json."""


@dataclass
class Session:
    """One process's part of a run. Only its micro-batch size and whether its kernels are compiled ever change."""

    run: Run
    accelerator: Accelerator
    precision: Precision
    model: nn.Module
    """A NextTokenLoss, prepared by Accelerate: its forward pass runs in `precision`, and its gradients are averaged
    over processes.
    """
    plain_model: GPT2LMHeadModel
    """The same weights, as a transformers model."""
    is_compiled: bool
    gpu_problem: str | None
    """Why a GPU that is there is not used; None if it is, or there is none."""
    optimizer: Any
    schedule: LambdaLR
    """Not prepared: Accelerate would step it once per process."""
    position: DataOffset
    state: TrainingState
    tokenizer: Any
    key_tokens: KeyTokens
    train_windows: Windows
    validation_windows: Windows
    micro_batch_size: int
    """Windows per forward pass of one process."""
    copies: Copies = field(default_factory=Copies)
    """Reusable buffers for copies of the weights, for checkpoints."""

    @property
    def num_micro_batches(self) -> int:
        """Forward passes of one process per optimizer step. All processes together see `batch_size` windows."""
        count = self.run.config.training.batch_size // (self.micro_batch_size * self.accelerator.num_processes)
        assert count >= 1, "a step without a pass trains nothing"
        return count

    @property
    def chosen(self) -> dict[str, Any]:
        """The settings chosen for this machine. A resumed run keeps them: they affect the last bits of its losses."""
        return {
            "precision": self.precision.name,
            "device": self.accelerator.device.type,
            "micro_batch_size": self.micro_batch_size,
            "compiled": self.is_compiled,
        }

    def set_micro_batch_size(self, size: int) -> None:
        """Set it from the next pass on, and for the run when it is resumed."""
        self.micro_batch_size = size
        self.run.update_config(chosen=self.chosen)

    def use_plain_kernels(self) -> None:
        """Use torch's own kernels from the next pass on, and for the run when it is resumed."""
        self.model, self.is_compiled = cast(nn.Module, self.model._orig_mod), False
        if self.accelerator.is_main_process:
            self.run.update_config(chosen=self.chosen)

    def micro_batch(self, step: int, index: int) -> Tensor:
        """int64[micro_batch_size, window]: this process's windows for pass `index` of optimizer step `step` (from 1).

        Together, all passes of all processes are the windows `(step - 1) * batch_size` to `step * batch_size` of the
        endless shuffled sequence, however they are divided. After a roll-back they are `skipped_steps` steps later.
        """
        training, accelerator = self.run.config.training, self.accelerator
        slot = index * accelerator.num_processes + accelerator.process_index
        start = (step - 1 + self.position.skipped_steps) * training.batch_size + slot * self.micro_batch_size
        windows = self.train_windows.batch(training.seed, start, self.micro_batch_size)
        return torch.from_numpy(windows).to(accelerator.device)

    def resume(self, checkpoint: Path | None) -> None:
        """Restore `checkpoint`, or the initial state. Must come last before training: any later setup may draw from the
        random generators. Raises DamagedError when the run's config.json has another shape than the checkpoint.
        """
        if checkpoint is None:
            set_seed(self.run.config.training.seed, device_specific=True)
            return
        self._check_shape(checkpoint)
        if is_sharded(self.accelerator):
            set_weights(self.model, load_file(checkpoint / "model.safetensors"))
        else:
            load_model(self.plain_model, checkpoint / "model.safetensors")
        self.state.load(checkpoint / "training")
        restore_random_state(checkpoint / "training", self.accelerator)

    def _check_shape(self, checkpoint: Path) -> None:
        saved = readable_json(checkpoint / "config.json")
        for name in SHAPE:
            value = getattr(self.run.config.model, name)
            if value != saved.get(name):
                raise DamagedError(
                    f"{self.run.folder.config} has {name} {value}, and {checkpoint.name} has {saved.get(name)}; "
                    "set it back to that, or start a new run."
                )

    def restore_offset(self) -> None:
        """Restore the data offset of the run's last roll-back, which its checkpoints may be older than. Without it, a run
        that was resumed would meet the same windows again and count its roll-backs anew.
        """
        if (offset := self.run.data_offset) is not None:
            self.position.load_state_dict(offset)

    def set_offset(self, offset: DataOffset) -> None:
        """Set the data offset, also for the run when it is resumed."""
        self.position.load_state_dict(offset.state_dict())
        if self.accelerator.is_main_process:
            self.run.update_config(data_offset=offset.state_dict())

    def writer(self, step: int, row: Mapping[str, float], *, evaluated_later: bool = False) -> WriteFiles:
        """A function that fills a checkpoint folder: the model in transformers' format, and `training/` to resume from.
        `row`: the metrics measured at this step.

        All ranks must call it. Only rank 0 uses the result, at any time before it asks for the next one; training may
        continue meanwhile.
        """
        save_state = self.state.snapshot()
        weights: dict[str, Tensor] = {}
        if is_sharded(self.accelerator):
            weights = whole_weights(self.model)
        elif self.accelerator.is_main_process:
            weights = self.copies.of(self.plain_model.state_dict())
        provenance = self.run.provenance(step, row, evaluated_later=evaluated_later)

        def write(folder: Path) -> None:
            self.plain_model.save_pretrained(folder, state_dict=weights)
            shutil.copytree(self.run.corpus.tokenizer_path, folder, dirs_exist_ok=True)
            # The corpus's tokenizer serves models of any length; who loads this one must know where it ends.
            name, length = folder / "tokenizer_config.json", self.run.config.model.n_positions
            write_json(name, {**readable_json(name), "model_max_length": length})
            write_json(folder / "provenance.json", provenance)
            save_state(folder / "training")

        return write

    def weights_are_finite(self) -> bool:
        """Whether all weights on all ranks are finite. Waits for the device."""
        # Of a sharded model each rank checks its own shard.
        parts = [getattr(weights, "to_local", lambda weights=weights: weights)() for weights in self.model.parameters()]
        # A sum is finite if all its terms are (and far from the dtype's maximum); 20 times as fast as checking each.
        finite = torch.isfinite(torch.stack([part.detach().sum() for part in parts])).all()
        return bool(self.accelerator.reduce(finite.float(), "mean") == 1.0)

    def __str__(self) -> str:
        config, accelerator = self.run.config, self.accelerator
        return (
            f"{config.model.num_parameters:,} parameters, {config.training.max_steps:,} steps of "
            f"{config.training.batch_size} windows of {config.model.window} tokens, {self.micro_batch_size} at a time; "
            f"{accelerator.num_processes} process(es) "
            f"on {accelerator.device}, {torch.get_num_threads()} threads{', compiled' if self.is_compiled else ''}, "
            f"{self.precision.name}: {self.precision.reason}"
        )


def open_session(run: Run) -> Session:
    """Join the other processes and build everything from scratch, weights included.

    Raises InputError for a precision that the device does not have, or a batch that its processes cannot share.
    """
    config, training = run.config, run.config.training
    use_all_cores()
    disable_progress_bar()
    problem = cuda_problem() if training.device == "auto" else None
    device = choose_device(training, problem)
    join_processes(device, training)
    before = run.chosen_before(device.type)
    precision = from_rank_0(choose_precision(before.get("precision", training.precision), device, config.model))
    is_compiled = before.get("compiled", False) if before else choose_compile(training.compile, device)
    accelerator = Accelerator(
        cpu=device.type == "cpu",
        mixed_precision=precision.for_accelerate,
        dynamo_backend="inductor" if is_compiled else "no",
        fsdp_plugin=sharding_plugin(training),
    )
    allow_tf32(device)
    check_sharding(training, accelerator)

    tokenizer = AutoTokenizer.from_pretrained(run.corpus.tokenizer_path, trust_remote_code=False)
    model = build_model(config.model, eos_id=run.corpus.eos_id, seed=training.seed)
    plain_optimizer = build_optimizer(model, training, dtype=precision.dtype)
    schedule = build_schedule(plain_optimizer, training)
    prepared, optimizer = accelerator.prepare(NextTokenLoss(model), plain_optimizer)
    position = DataOffset()
    saved_optimizer = ShardedOptimizer(prepared, optimizer) if is_sharded(accelerator) else optimizer
    return Session(
        run=run,
        accelerator=accelerator,
        precision=precision,
        model=prepared.train(),
        plain_model=model,
        is_compiled=is_compiled,
        gpu_problem=problem,
        optimizer=optimizer,
        schedule=schedule,
        position=position,
        state=TrainingState(accelerator, optimizer=saved_optimizer, schedule=schedule, position=position),
        tokenizer=tokenizer,
        key_tokens=KeyTokens.find(tokenizer, training.key_tokens),
        train_windows=open_windows(run.corpus, "train", config.model.window),
        validation_windows=open_windows(run.corpus, "validation", config.model.window),
        micro_batch_size=from_rank_0(_micro_batch_size(run, before, device, accelerator.num_processes)),
    )


def _micro_batch_size(run: Run, before: dict[str, Any], device: torch.device, num_processes: int) -> int:
    """The size that the run started with, if this many processes can still share the batch that way."""
    size = before.get("micro_batch_size")
    if size and run.config.training.batch_size % (size * num_processes) == 0:
        return int(size)
    return choose_micro_batch(run.config, device, num_processes)
