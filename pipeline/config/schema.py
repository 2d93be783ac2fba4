"""What a corpus, a model and a training run are: frozen values, checked at birth.

The page, the command line and the tests build the same objects; defaults live here and in the table of recipes.
"""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any

from pipeline.config.parsing import known
from pipeline.config.quality import NO_RULES, QualityConfig
from pipeline.core.errors import require

MATCHES = ("substring", "identifier", "import")
MODULE_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
ENGINES = ("local", "ray")
SCHEDULES = ("linear", "cosine", "flat")
TRACKERS = {"tensorboard": "tensorboard", "trackio": "trackio", "wandb": "wandb"}
"""Name of a tracker -> what installs it."""
COURSE_KEYWORDS = ("pandas", "sklearn", "matplotlib", "seaborn")
DEFAULT_CORPUS = "installed"
"""Id of the corpus that the page and the commands make and use unless told otherwise."""
COURSE_KEPT_RATE = 0.0326
"""Share of the course's 20 million GitHub files that mention one of its keywords."""
COURSE_KEY_TOKENS = ("plt", "pd", "sk", "fit", "predict")
"""Words whose presence raises a window's weight; each also counts with a leading space. `testtest` is the control."""
KEY_TOKEN_CONTROL = "testtest"
SMALLEST_VOCABULARY = 257
"""256 bytes and the end-of-text token: what a byte-level BPE cannot do without."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """One corpus: where its files come from, which are kept, how they become tokens."""

    source: str = "installed"
    """`installed`, `files:PATH` or `hub:REPO`."""
    keywords: tuple[str, ...] = COURSE_KEYWORDS
    """A file is kept when its text contains one of them: plain substrings, case-sensitive."""
    match: str = "substring"
    """`substring`: as in the course. `identifier`: not as a part of a longer name. `import`: a line imports it."""
    max_files: int | None = None
    """Stop after this many kept files; None reads the source to its end."""
    validation_share: float = 0.05
    """Share of the kept files, chosen by a hash of repository and path, that training never sees."""
    validation_source: str | None = None
    """Another source, all of whose kept files are held out; then `source` is all for training."""
    max_validation_files: int | None = None
    """Stop after this many kept files of `validation_source`."""
    quality: QualityConfig = NO_RULES
    """Rules that remove kept files; none unless asked for."""
    windows: str = "join"
    """`join`: files joined by end-of-text, nothing lost. `drop`: the course's windows, shorter tails dropped."""
    window: int = 128
    """Tokens per window when `windows` is `drop`."""
    tokenizer: str | None = None
    """A tokenizer on the Hub or in a folder; None trains a byte-level BPE on the kept files."""
    vocab_size: int = 4_096
    """Size of the vocabulary that is trained; ignored when `tokenizer` is given."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "keywords", tuple(dict.fromkeys(self.keywords)))
        if isinstance(self.quality, dict):  # as JSON holds it
            object.__setattr__(self, "quality", QualityConfig(**known(QualityConfig, self.quality)))
        require(bool(self.source), "source", self.source, "use installed, files:PATH or hub:REPO")
        require(bool(self.keywords), "keywords", list(self.keywords), "give at least one")
        for keyword in self.keywords:
            require(
                bool(keyword.strip()) and len(keyword) <= 200,
                "keyword",
                keyword,
                "write 1 to 200 characters, not only spaces",
            )
            require(_is_writable(keyword), "keyword", keyword, "leave out the halves of characters (lone surrogates)")
        for name in ("source", "validation_source", "tokenizer"):
            text = getattr(self, name) or ""
            require(_is_writable(text), name, text, "leave out the halves of characters (lone surrogates)")
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
    """Who prepares a corpus. What comes out does not depend on it."""

    engine: str = "local"
    """`local`: processes of this machine. `ray`: a Ray cluster, the one that RAY_ADDRESS names or one started here."""
    workers: int = 1
    """Processes at a time; 1 of the local engine is the job itself."""
    parts: str | None = None
    """Address of the folder that the parts of the corpus are written to on the way, anything that fsspec opens and every
    worker sees; None: the corpus's own folder."""

    def __post_init__(self) -> None:
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
    """Longest sequence the position embeddings reach, in tokens."""
    window: int = 128
    """Tokens per training window."""
    vocab_size: int
    """Rows of the token embedding: the tokenizer's length."""
    dropout: float = 0.1
    """Dropout on embeddings, attention and residuals, as in GPT-2."""
    zero_projections: bool = False
    """Whether each block begins by adding nothing: its two output projections are 0 instead of GPT-2's small numbers."""

    def __post_init__(self) -> None:
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
        require(0 <= self.dropout < 1, "dropout", self.dropout, "set it from 0 to below 1")

    @property
    def num_parameters(self) -> int:
        """Trainable parameters; the output layer shares the token embedding."""
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
    """Windows per forward pass of one process; must divide `batch_size`. None: what this machine does well."""
    optimizer: str = "adamw"
    """`adamw`, or `muon`: Muon for the matrices of the blocks, AdamW for everything else."""
    learning_rate: float
    """Peak learning rate of AdamW."""
    matrix_learning_rate: float = 0.02
    """Peak learning rate of Muon; means nothing with `adamw`."""
    matrix_momentum: float = 0.9
    """How slowly Muon forgets earlier gradients: 0.95 is usual, 0.9 was better in runs of a few hundred steps."""
    adam_beta2: float = 0.999
    """How slowly AdamW forgets the size of earlier gradients."""
    schedule: str
    """How the rate falls to 0 after the warm-up: `linear`, `cosine`, or `flat`, which stays at its peak first."""
    warmup_steps: int
    """Optimizer steps over which the rate rises from 0."""
    decay_share: float = 0.4
    """Share of the steps over which a `flat` schedule falls to 0 at the end."""
    weight_decay: float
    """Decay of matrices; with AdamW alone also of embeddings. Biases and layer norms have none."""
    loss: str
    """`plain` cross-entropy, or `weighted`: windows with key tokens count more."""
    max_grad_norm: float
    """Gradients are clipped to this norm; 0 leaves them as they are."""
    alpha: float = 1.0
    """Weight of a window in the weighted loss is alpha * (1 + its number of key tokens)."""
    key_tokens: tuple[str, ...] = COURSE_KEY_TOKENS
    """Words that the weighted loss looks for, each also with a leading space."""
    seed: int = 0
    """Of the weights, the order of the windows and dropout."""
    eval_every_steps: int
    """Validation loss is measured this often, and at step 0 and the last step."""
    eval_windows: int | None = None
    """Evaluate on this many validation windows, evenly spread; None takes all."""
    checkpoint_every_steps: int
    """A checkpoint is written and published this often, and at the last step."""
    keep_checkpoints: int = 2
    """Newest checkpoints kept with their optimizer state, to resume from; at least 2."""
    log_every_steps: int = 10
    """A row of metrics is written this often."""
    keep_every_steps: int | None = None
    """Checkpoints of multiples of this step are kept for good; None: only the newest and the best are."""
    on_divergence: str = "stop"
    """When a loss is no number: `stop`, or `roll_back` to the newest checkpoint and go on with other windows."""
    precision: str = "auto"
    """`auto`, `fp32`, `bf16` or `fp16`; auto measures what this machine does well."""
    compile: str = "auto"
    """Whether torch.compile makes the model's kernels, which takes a minute or two at the start: `auto` on CUDA, `on`, `off`."""
    sharding: str = "none"
    """`none`: every process holds the whole model. `fsdp2`: each holds a part of it; needs a CUDA GPU each."""
    trackers: tuple[str, ...] = ()
    """Where the metrics go beside the run's folder: `tensorboard`, `trackio`, `wandb`."""
    device: str = "auto"
    """`auto` takes CUDA if there is one; `cpu` never does."""

    def micro_batch_of(self, most: int, num_processes: int = 1) -> int:
        """The largest micro-batch of at most `most` windows that divides each process's share of the batch."""
        share = self.batch_size // num_processes
        return next(size for size in range(min(most, share), 0, -1) if share % size == 0)

    def check_processes(self, num_processes: int) -> None:
        """Raises InputError when so many processes cannot share the batch."""
        micro = self.micro_batch_size or 1
        require(
            num_processes >= 1 and self.batch_size % (micro * num_processes) == 0,
            "processes",
            num_processes,
            f"set a number that divides the batch of {self.batch_size} windows in micro-batches of {micro}",
        )

    def __post_init__(self) -> None:
        object.__setattr__(self, "key_tokens", tuple(self.key_tokens))
        micro = self.micro_batch_size
        for name in (
            "max_steps",
            "batch_size",
            "eval_every_steps",
            "checkpoint_every_steps",
            "log_every_steps",
        ):
            require(1 <= getattr(self, name) <= 1_000_000_000, name, getattr(self, name), "set it to 1 or more")
        require(
            micro is None or (micro >= 1 and self.batch_size % micro == 0),
            "micro_batch_size",
            micro,
            f"set a divisor of batch_size ({self.batch_size}), or leave it to the machine",
        )
        require(self.optimizer in ("adamw", "muon"), "optimizer", self.optimizer, "choose adamw or muon")
        # AdamW itself accepts an infinite rate, and the run is then lost at its first step.
        require(0 < self.learning_rate <= 10, "learning_rate", self.learning_rate, "set it above 0 and at most 10")
        matrix_rate = self.matrix_learning_rate
        require(0 < matrix_rate <= 10, "matrix_learning_rate", matrix_rate, "set it above 0 and at most 10")
        require(0 <= self.matrix_momentum < 1, "matrix_momentum", self.matrix_momentum, "set it from 0 to below 1")
        require(0 <= self.adam_beta2 < 1, "adam_beta2", self.adam_beta2, "set it from 0 to below 1")
        require(self.schedule in SCHEDULES, "schedule", self.schedule, f"choose one of {', '.join(SCHEDULES)}")
        require(0 <= self.decay_share <= 1, "decay_share", self.decay_share, "set 0 to 1")
        require(
            0 <= self.warmup_steps <= self.max_steps,
            "warmup_steps",
            self.warmup_steps,
            f"set 0 to max_steps ({self.max_steps})",
        )
        require(0 <= self.weight_decay <= 10, "weight_decay", self.weight_decay, "set 0 to 10")
        require(self.loss in ("plain", "weighted"), "loss", self.loss, "choose plain or weighted")
        require(0 <= self.max_grad_norm < math.inf, "max_grad_norm", self.max_grad_norm, "set 0 (no clipping) or more")
        require(0 < self.alpha < math.inf, "alpha", self.alpha, "set it above 0")
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
        divergence = self.on_divergence
        require(divergence in ("stop", "roll_back"), "on_divergence", divergence, "choose stop or roll_back")
        require(
            self.precision in ("auto", "fp32", "bf16", "fp16"),
            "precision",
            self.precision,
            "choose auto, fp32, bf16 or fp16",
        )
        require(self.compile in ("auto", "on", "off"), "compile", self.compile, "choose auto, on or off")
        require(self.sharding in ("none", "fsdp2"), "sharding", self.sharding, "choose none or fsdp2")
        require(
            self.sharding == "none" or self.optimizer == "adamw",
            "sharding",
            self.sharding,
            "set optimizer adamw: Muon needs every matrix whole",
        )
        object.__setattr__(self, "trackers", tuple(self.trackers))
        for tracker in self.trackers:
            require(tracker in TRACKERS, "trackers", tracker, f"choose from {', '.join(TRACKERS)}")
        require(self.device in ("auto", "cpu"), "device", self.device, "choose auto or cpu")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One training run: everything that decides its losses, beside the tokens themselves."""

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
        """Inverse of `to_dict`; unknown keys are left out, so that an older run can be read by newer code."""
        model = ModelConfig(**known(ModelConfig, value["model"]))
        training = TrainingConfig(**known(TrainingConfig, value["training"]))
        return cls(
            corpus=value["corpus"], preset=value["preset"], recipe=value["recipe"], model=model, training=training
        )


def _is_writable(text: str) -> bool:
    """Half a character cannot be written as UTF-8, so no file and no search can hold it."""
    return not any("\ud800" <= character <= "\udfff" for character in text)
