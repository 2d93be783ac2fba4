"""Configuration of a corpus, a model and a training run: frozen dataclasses, validated when created.

The page, the command line and the tests build the same objects. Defaults are defined here and in `recipes`.
"""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any

from pipeline.config.parsing import convert_fields, known
from pipeline.config.quality import NO_RULES, QualityConfig
from pipeline.config.source_spec import FORMS
from pipeline.core.errors import require
from pipeline.core.text import surrogate_at

MATCHES = ("substring", "identifier", "import")
MODULE_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
ENGINES = ("local", "ray")
CHOICES = {
    "optimizer": ("adamw", "muon"),
    "schedule": ("linear", "cosine", "flat"),
    "loss": ("plain", "weighted"),
    "on_divergence": ("stop", "roll_back"),
    "precision": ("auto", "fp32", "bf16", "fp16"),
    "compile": ("auto", "on", "off"),
    "sharding": ("none", "fsdp2"),
    "device": ("auto", "cpu"),
}
"""Fields of TrainingConfig that are one of a few words."""
TRACKERS = {"tensorboard": "tensorboard", "trackio": "trackio", "wandb": "wandb"}
"""Name of a tracker -> the pip package that provides it."""
COURSE_KEYWORDS = ("pandas", "sklearn", "matplotlib", "seaborn")
DEFAULT_CORPUS = "installed"
"""Id of the corpus of the source `installed`, and of that which commands use by default."""
COURSE_KEPT_RATE = 0.0326
"""Fraction of the course's 20 million GitHub files that contain one of its keywords."""
COURSE_KEY_TOKENS = ("plt", "pd", "sk", "fit", "predict")
"""Words whose presence raises a window's weight in the weighted loss; each also counts with a leading space."""
MIN_LEARNING_RATE = 1e-8
"""AdamW changes a weight by about the rate; below this even a million steps change the weights by less than their spread."""
MIN_GRAD_NORM = 1e-6
"""A norm below this is as small as AdamW's epsilon of 1e-8 per weight: the clipped gradients no longer train."""
MIN_ALPHA = 1e-6
"""`alpha` scales the loss and so the gradients: below this, AdamW's epsilon of 1e-8 outweighs them."""
MAX_COUNT = 10**9
"""Maximum of steps, windows per step and intervals."""
KEY_TOKEN_CONTROL = "testtest"
"""Control: a word that should not be a single token."""
MAX_TOKENIZER_BYTES = 50_000_000
"""Maximum text that a tokenizer is trained on; more text takes long and changes the vocabulary little."""
UNKNOWN_TRAIN_TOKENS = 10**9
"""Placeholder size of a corpus that is not prepared yet: so large that no setting is refused because of it."""
SMALLEST_VOCABULARY = 257
"""The minimum of a byte-level BPE: 256 bytes and the end-of-text token."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """One corpus: the source of its files, which files are kept, how they are tokenized."""

    source: str = "installed"
    """`installed`, `pypi`, `pypi:NAME,NAME`, `files:PATH` or `hub:REPO`."""
    keywords: tuple[str, ...] = COURSE_KEYWORDS
    """A file is kept when its text contains one of them, case-sensitive; `match` says how."""
    match: str = "substring"
    """`substring`: as in the course. `identifier`: not as part of a longer name. `import`: a line imports it."""
    max_files: int | None = None
    """Stop after this many kept files; None reads the source to its end."""
    validation_share: float = 0.05
    """Fraction of the kept files, chosen by a hash of repository and path, that is held out from training."""
    validation_source: str | None = None
    """Another source, whose kept files are all held out; then all of `source` is used for training."""
    max_validation_files: int | None = None
    """Stop after this many kept files of `validation_source`."""
    quality: QualityConfig = NO_RULES
    """Rules that remove kept files; none unless asked for."""
    windows: str = "join"
    """`join`: files joined by end-of-text, nothing lost. `drop`: the course's windows, shorter tails dropped."""
    window: int = 128
    """Tokens per window when `windows` is `drop`."""
    tokenizer: str | None = None
    """Hub repo or folder of a tokenizer; None trains a byte-level BPE on the kept files."""
    vocab_size: int = 4_096
    """Size of the vocabulary that is trained; ignored when `tokenizer` is given."""

    def __post_init__(self) -> None:
        convert_fields(self)
        object.__setattr__(self, "keywords", tuple(dict.fromkeys(self.keywords)))
        if isinstance(self.quality, dict):  # as decoded from JSON
            object.__setattr__(self, "quality", QualityConfig(**known(QualityConfig, self.quality)))
        require(bool(self.source), "source", self.source, f"use {FORMS}")
        require(bool(self.keywords), "keywords", list(self.keywords), "give at least one")
        for keyword in self.keywords:
            require(
                bool(keyword.strip()) and len(keyword) <= 200,
                "keyword",
                keyword,
                "write 1 to 200 characters, not only spaces",
            )
            require(
                surrogate_at(keyword) is None,
                "keyword",
                keyword,
                "leave out the halves of characters (lone surrogates)",
            )
        for name in ("source", "validation_source", "tokenizer"):
            text = getattr(self, name) or ""
            require(surrogate_at(text) is None, name, text, "leave out the halves of characters (lone surrogates)")
        require(len(self.keywords) <= 50, "keywords", len(self.keywords), "give at most 50")
        require(
            self.max_files is None or self.max_files >= 2,
            "max_files",
            self.max_files,
            "keep 2 files or more: one is held out for validation",
        )
        require(self.match in MATCHES, "match", self.match, f"choose one of {', '.join(MATCHES)}")
        for keyword in self.keywords if self.match == "import" else ():
            require(
                bool(MODULE_NAME.fullmatch(keyword)),
                "keyword",
                keyword,
                "write the name of a module, as match is import: pandas, or matplotlib.pyplot",
            )
        require(
            self.max_validation_files is None
            or (self.max_validation_files >= 1 and self.validation_source is not None),
            "max_validation_files",
            self.max_validation_files,
            "keep 1 file or more, and name a validation_source to take them from",
        )
        require(
            0 < self.validation_share <= 0.5,
            "validation_share",
            self.validation_share,
            "set it above 0 and at most 0.5",
        )
        require(self.windows in ("join", "drop"), "windows", self.windows, "choose join or drop")
        require(8 <= self.window <= 8_192, "window", self.window, "set 8 to 8192 tokens")
        require(
            SMALLEST_VOCABULARY <= self.vocab_size <= 1_000_000, "vocab_size", self.vocab_size, "set 257 to 1000000"
        )


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """The engine and processes that prepare a corpus. The result does not depend on them."""

    engine: str = "local"
    """`local`: processes on this machine. `ray`: the Ray cluster at RAY_ADDRESS, or one started here."""
    workers: int = 1
    """Number of concurrent processes; with the local engine, 1 means the job's own process."""
    parts: str | None = None
    """Path or URL of the folder for the intermediate parts of the corpus: any that fsspec opens and all workers can
    access; None: the corpus's own folder."""

    def __post_init__(self) -> None:
        convert_fields(self)
        require(self.engine in ENGINES, "engine", self.engine, f"choose one of {', '.join(ENGINES)}")
        require(1 <= self.workers <= 4_096, "workers", self.workers, "set 1 to 4096")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The shape of one GPT-2."""

    n_layer: int
    """Transformer blocks."""
    n_embd: int
    """Width of the residual stream."""
    n_head: int
    """Attention heads; must divide `n_embd`."""
    n_positions: int
    """Number of position embeddings: the maximum sequence length in tokens."""
    window: int = 128
    """Tokens per training window."""
    vocab_size: int
    """Rows of the token embedding: the tokenizer's vocabulary size."""
    dropout: float = 0.1
    """Dropout on embeddings, attention and residuals, as in GPT-2."""
    zero_projections: bool = False
    """Whether each block's two output projections start at 0 (it adds nothing) instead of GPT-2's small values."""

    def __post_init__(self) -> None:
        convert_fields(self)
        require(1 <= self.n_layer <= 200, "n_layer", self.n_layer, "set 1 to 200")
        require(1 <= self.n_head <= 256, "n_head", self.n_head, "set 1 to 256")
        require(
            8 <= self.n_embd <= 16_384 and self.n_embd % self.n_head == 0,
            "n_embd",
            self.n_embd,
            f"set a multiple of n_head ({self.n_head}) from 8 to 16384",
        )
        require(2 <= self.n_positions <= 65_536, "n_positions", self.n_positions, "set 2 to 65536")
        require(
            2 <= self.window <= self.n_positions, "window", self.window, f"set 2 to n_positions ({self.n_positions})"
        )
        require(2 <= self.vocab_size <= 1_000_000, "vocab_size", self.vocab_size, "set 2 to 1000000")
        require(0 <= self.dropout <= 0.9, "dropout", self.dropout, "set it from 0 to 0.9")

    @property
    def num_parameters(self) -> int:
        """Number of trainable parameters; the output layer shares the token embedding."""
        width = self.n_embd
        block = 12 * width * width + 13 * width  # attention 4w^2+4w, MLP 8w^2+5w, two layer norms 4w
        return self.vocab_size * width + self.n_positions * width + self.n_layer * block + 2 * width


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How one model is trained. Steps are optimizer steps everywhere, never micro-batches."""

    max_steps: int
    """Optimizer steps of the whole run."""
    batch_size: int
    """Windows per optimizer step, over all processes and accumulated micro-batches."""
    micro_batch_size: int | None = None
    """Windows per forward pass of one process; must divide `batch_size`. None: chosen for the device."""
    optimizer: str = "adamw"
    """`adamw`, or `muon`: Muon for the matrices of the blocks, AdamW for everything else."""
    learning_rate: float
    """Peak learning rate of AdamW."""
    matrix_learning_rate: float = 0.02
    """Peak learning rate of Muon; ignored with `adamw`."""
    matrix_momentum: float = 0.9
    """Momentum of Muon: 0.95 is usual, 0.9 was better in runs of a few hundred steps."""
    adam_beta2: float = 0.999
    """Decay rate of AdamW's second moment."""
    schedule: str
    """Decay of the learning rate to 0 after the warm-up: `linear`, `cosine`, or `flat` (first stays at the peak)."""
    warmup_steps: int
    """Optimizer steps over which the rate rises from 0."""
    decay_share: float = 0.4
    """Fraction of the steps, at the end, over which a `flat` schedule falls to 0."""
    weight_decay: float
    """Weight decay of matrices, and with `adamw` also of embeddings; biases and layer norms have none."""
    loss: str
    """`plain` cross-entropy, or `weighted`: windows with key tokens count more."""
    max_grad_norm: float
    """Gradients are clipped to this norm; 0: no clipping."""
    alpha: float = 1.0
    """Weight of a window in the weighted loss is alpha * (1 + its number of key tokens)."""
    key_tokens: tuple[str, ...] = COURSE_KEY_TOKENS
    """Words that the weighted loss looks for, each also with a leading space."""
    seed: int = 0
    """Random seed of the initial weights, the order of the windows and dropout."""
    eval_every_steps: int
    """Steps between measurements of the validation loss, which is also measured at step 0 and the last step."""
    eval_windows: int | None = None
    """Number of validation windows to evaluate on, evenly spaced; None: all."""
    checkpoint_every_steps: int
    """Steps between checkpoints; each is written and published, and so is one at the last step."""
    keep_checkpoints: int = 2
    """Number of newest checkpoints kept with their optimizer state, to resume from; at least 2."""
    log_every_steps: int = 10
    """Steps between rows of metrics."""
    keep_every_steps: int | None = None
    """Checkpoints at multiples of this step are never deleted; None: only the newest and the best are kept."""
    on_divergence: str = "stop"
    """When a loss is not finite: `stop`, or `roll_back` to the newest checkpoint and continue with other windows."""
    precision: str = "auto"
    """`auto`, `fp32`, `bf16` or `fp16`. `auto`: bf16 or fp16 on CUDA, bf16 or fp32 on a CPU, as measured."""
    compile: str = "auto"
    """Whether to use torch.compile, which takes a minute or two at the start: `on`, `off`, or `auto` (only on CUDA)."""
    sharding: str = "none"
    """`none`: every process holds the whole model. `fsdp2`: the model is sharded; each process needs a CUDA GPU."""
    trackers: tuple[str, ...] = ()
    """Where metrics are sent in addition to the run's folder: `tensorboard`, `trackio`, `wandb`."""
    device: str = "auto"
    """`auto` uses CUDA if it is available; `cpu` never does."""

    def micro_batch_of(self, limit: int, num_processes: int = 1) -> int:
        """The largest micro-batch of at most `limit` windows that divides each process's share of the batch."""
        share = self.batch_size // num_processes
        return next(size for size in range(min(limit, share), 0, -1) if share % size == 0)

    def check_processes(self, num_processes: int) -> None:
        """Raises InputError when `num_processes` cannot share the batch evenly."""
        micro = self.micro_batch_size or 1
        require(
            num_processes >= 1 and self.batch_size % (micro * num_processes) == 0,
            "processes",
            num_processes,
            f"set a number that divides the batch of {self.batch_size} windows in micro-batches of {micro}",
        )

    def __post_init__(self) -> None:
        convert_fields(self)
        object.__setattr__(self, "key_tokens", tuple(self.key_tokens))
        for name, options in CHOICES.items():
            value = getattr(self, name)
            require(value in options, name, value, f"choose {', '.join(options[:-1])} or {options[-1]}")
        micro = self.micro_batch_size
        for name in (
            "max_steps",
            "batch_size",
            "eval_every_steps",
            "checkpoint_every_steps",
            "log_every_steps",
        ):
            require(getattr(self, name) >= 1, name, getattr(self, name), "set it to 1 or more")
            require(getattr(self, name) <= MAX_COUNT, name, getattr(self, name), f"set it to at most {MAX_COUNT:,}")
        require(
            micro is None or (micro >= 1 and self.batch_size % micro == 0),
            "micro_batch_size",
            micro,
            f"set a divisor of batch_size ({self.batch_size}), or leave it to the machine",
        )
        # AdamW itself accepts an infinite rate, which ruins the run at its first step.
        for name in ("learning_rate", "matrix_learning_rate"):
            rate = getattr(self, name)
            require(MIN_LEARNING_RATE <= rate <= 10, name, rate, f"set {MIN_LEARNING_RATE:g} to 10")
        require(0 <= self.matrix_momentum < 1, "matrix_momentum", self.matrix_momentum, "set it from 0 to below 1")
        require(0 <= self.adam_beta2 < 1, "adam_beta2", self.adam_beta2, "set it from 0 to below 1")
        require(0 <= self.decay_share <= 1, "decay_share", self.decay_share, "set 0 to 1")
        require(
            0 <= self.warmup_steps <= self.max_steps,
            "warmup_steps",
            self.warmup_steps,
            f"set 0 to max_steps ({self.max_steps})",
        )
        require(0 <= self.weight_decay <= 10, "weight_decay", self.weight_decay, "set 0 to 10")
        norm = self.max_grad_norm
        require(
            norm == 0 or MIN_GRAD_NORM <= norm < math.inf,
            "max_grad_norm",
            norm,
            f"set 0 (no clipping), or {MIN_GRAD_NORM:g} or more",
        )
        require(MIN_ALPHA <= self.alpha < math.inf, "alpha", self.alpha, f"set {MIN_ALPHA:g} or more")
        require(0 <= self.seed < 2**32, "seed", self.seed, "set 0 to 4294967295")
        require(
            self.eval_windows is None or self.eval_windows >= 1,
            "eval_windows",
            self.eval_windows,
            "set it to 1 or more",
        )
        require(
            self.keep_checkpoints >= 2, "keep_checkpoints", self.keep_checkpoints, "keep at least 2: one may be damaged"
        )
        every = self.keep_every_steps
        require(every is None or every >= 1, "keep_every_steps", every, "set it to 1 or more")
        require(
            self.sharding == "none" or self.optimizer == "adamw",
            "sharding",
            self.sharding,
            "set optimizer adamw: Muon needs every matrix whole",
        )
        object.__setattr__(self, "trackers", tuple(self.trackers))
        for tracker in self.trackers:
            require(tracker in TRACKERS, "trackers", tracker, f"choose from {', '.join(TRACKERS)}")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One training run: everything that determines its losses, except the tokens themselves."""

    corpus: str
    """Id of the corpus it trains on."""
    preset: str
    recipe: str
    model: ModelConfig
    training: TrainingConfig

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> RunConfig:
        """Inverse of `to_dict`; unknown keys are dropped, so that a run of another version can be read."""
        model = ModelConfig(**known(ModelConfig, value["model"]))
        training = TrainingConfig(**known(TrainingConfig, value["training"]))
        return cls(
            corpus=value["corpus"], preset=value["preset"], recipe=value["recipe"], model=model, training=training
        )
