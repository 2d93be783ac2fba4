"""The NVIDIA GPUs of this machine, and why the installed torch cannot use them. Read without torch, which the page does
not load: from nvidia-smi or the driver's files in /proc, and from the files of the installed torch.

The trainer asks torch itself as well (`training.device`): only a kernel that runs proves that all of it works.
"""

from __future__ import annotations

import ast
import importlib.util
import math
import os
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PROC = Path("/proc/driver/nvidia")
QUERY = ("name", "driver_version", "compute_cap", "memory.total", "memory.used")
SMI_SECONDS = 10.0
"""Time limit of nvidia-smi, which hangs when the driver does."""
CACHED_SECONDS = 30.0
INDEX = "https://download.pytorch.org/whl/"
"""PyTorch's own package index has a folder for each build, as cu126 or cpu."""
Capability = tuple[int, int]
"""Compute capability of a card: 7.5 is (7, 5)."""


@dataclass(frozen=True)
class CudaBuild:
    """A build of torch for one version of CUDA."""

    cuda: str
    oldest: Capability
    """The oldest card that it has kernels for."""
    newest: int
    """Major number of the newest card's compute capability that it has kernels for."""
    driver: int
    """Major number of the oldest driver that runs its CUDA."""

    @property
    def folder(self) -> str:
        return "cu" + self.cuda.replace(".", "")

    def has_kernels_for(self, capability: Capability) -> bool:
        return self.oldest <= capability and capability[0] <= self.newest


BUILDS = (
    CudaBuild("13.0", oldest=(7, 5), newest=12, driver=580),
    CudaBuild("12.6", oldest=(5, 0), newest=9, driver=525),
)
"""The stable builds of torch 2.11 to 2.13, the one on PyPI first. Source: "PyTorch CUDA Support Matrix" in PyTorch's
RELEASE.md, and NVIDIA's table of the oldest driver for each version of CUDA.
"""


@dataclass(frozen=True)
class Gpu:
    name: str
    capability: Capability | None
    """None if it is unknown."""
    memory_bytes: int = 0
    """0 if it is unknown."""
    used_bytes: int = 0

    def __str__(self) -> str:
        if self.capability is None:
            return self.name
        return f"{self.name} (compute capability {self.capability[0]}.{self.capability[1]})"


@dataclass(frozen=True)
class Driver:
    """The installed NVIDIA driver and what it sees."""

    version: str
    gpus: tuple[Gpu, ...] = ()
    fault: str | None = None
    """What nvidia-smi says when it fails."""

    @property
    def major(self) -> int | None:
        """None when nvidia-smi gives no version, as `[N/A]`."""
        number = self.version.partition(".")[0]
        return int(number) if number.isascii() and number.isdecimal() else None

    def runs(self, build: CudaBuild) -> bool:
        """Whether it is new enough for `build`, as far as is known."""
        return self.major is None or self.major >= build.driver

    @property
    def first_visible(self) -> Gpu | None:
        """The card that a run uses, as CUDA_VISIBLE_DEVICES says; None if it hides all of them."""
        number = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0].strip()
        if number in ("", "-1"):
            return None
        index = int(number) if number.isdecimal() else 0  # else the card's id
        return self.gpus[index] if index < len(self.gpus) else None


@dataclass(frozen=True)
class TorchBuild:
    """The installed torch."""

    version: str
    """As 2.13.0 or 2.13.0+cpu."""
    cuda: str | None
    """None for a build without CUDA."""

    @property
    def release(self) -> str:
        return self.version.partition("+")[0]

    @property
    def known(self) -> CudaBuild | None:
        """The build of the same CUDA; for another minor version of CUDA the stable one of the same major version."""
        major = (self.cuda or "").partition(".")[0]
        return next((build for build in BUILDS if build.cuda.partition(".")[0] == major), None)


def gpu_problem() -> str | None:
    """A sentence on why the installed torch cannot use this machine's GPU, with versions and remedy; None if there is no
    GPU, or nothing is known to be wrong.
    """
    driver, torch = nvidia_driver(), installed_torch()
    return problem_of(driver, torch) if driver and torch else None


def problem_of(driver: Driver, torch: TorchBuild) -> str | None:
    """`gpu_problem` for this driver and this torch."""
    gpu = driver.first_visible
    if gpu is None:
        return None
    there = f"This machine has a GPU, {gpu}, with driver {driver.version}, but training uses the CPU: "
    if driver.fault is not None:
        return f"{there}nvidia-smi answers {driver.fault!r}; restart the machine, or install the driver again."
    remedy = _remedy(driver, gpu, torch)
    if torch.cuda is None:
        return f"{there}torch {torch.version} is a build without CUDA; {remedy}."
    if (build := torch.known) is None:
        return None
    name = f"torch {torch.version} is built for CUDA {torch.cuda}"
    if gpu.capability is not None and not build.has_kernels_for(gpu.capability):
        oldest = ".".join(map(str, build.oldest))
        return f"{there}{name}, which has kernels for compute capability {oldest} to {build.newest}.x; {remedy}."
    if not driver.runs(build):
        return f"{there}{name}, which needs driver {build.driver} or newer; {remedy}."
    return None


def memory_problem(needed_bytes: int) -> str | None:
    """A sentence on why `needed_bytes` do not fit beside what other programs hold of the GPU; None if they do."""
    driver = nvidia_driver()
    gpu = driver.first_visible if driver else None
    if gpu is None or not gpu.used_bytes or gpu_problem() is not None:
        return None
    if gpu.memory_bytes - gpu.used_bytes >= needed_bytes:
        return None
    return (
        f"The run needs about {needed_bytes / 1e9:.1f} GB of {gpu.name}, and {gpu.used_bytes / 1e9:.1f} of its "
        f"{gpu.memory_bytes / 1e9:.1f} GB are in use; end the programs that nvidia-smi lists, or choose a smaller preset."
    )


def _remedy(driver: Driver, gpu: Gpu, torch: TorchBuild) -> str:
    fitting = [build for build in BUILDS if gpu.capability is None or build.has_kernels_for(gpu.capability)]
    if not fitting:
        return f"no build of torch {torch.release} has kernels for this card, so choose another one"
    for build in fitting:
        if driver.runs(build):
            return f"install the build for CUDA {build.cuda}: {install_command(torch.release, build)}"
    build = min(fitting, key=lambda build: build.driver)
    update = f"update the driver to {build.driver} or newer"
    return update if torch.known == build else f"{update} and install {install_command(torch.release, build)}"


def install_command(release: str, build: CudaBuild) -> str:
    """The command that installs this build of torch `release`."""
    return f"`pip install --force-reinstall torch=={release} --index-url {INDEX}{build.folder}`"


# ---- reading ----

_lock = threading.Lock()
_cached: dict[tuple[str | None, Path], tuple[float, Driver | None]] = {}
"""By the paths of nvidia-smi and of the driver's files: when they were asked, and the answer. Other threads of the page
wait for one answer.
"""


def nvidia_driver(proc: Path = PROC) -> Driver | None:
    """The driver and its GPUs; None without an NVIDIA driver. Asks nvidia-smi at most every CACHED_SECONDS."""
    smi = shutil.which("nvidia-smi")
    with _lock:
        asked_at, driver = _cached.get((smi, proc), (-math.inf, None))
        if time.monotonic() - asked_at >= CACHED_SECONDS:
            driver = _read_driver(smi, proc)
            _cached[smi, proc] = (time.monotonic(), driver)
        return driver


def _read_driver(smi: str | None, proc: Path) -> Driver | None:
    if smi is None:
        return _of_proc(proc, fault=None)
    command = [smi, f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    own = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SMI_SECONDS, check=False, env=own)
    except (OSError, subprocess.SubprocessError) as error:
        return _of_proc(proc, fault=type(error).__name__)
    rows = [line.split(", ") for line in done.stdout.splitlines() if line.count(", ") == len(QUERY) - 1]
    if done.returncode != 0 or not rows:
        return _of_proc(proc, fault=(done.stdout or done.stderr).strip().partition("\n")[0])
    return Driver(rows[0][1], tuple(_gpu(*row) for row in rows))


def _gpu(name: str, _: str, capability: str, total: str, used: str) -> Gpu:
    major, point, minor = capability.partition(".")
    known = point and major.isdecimal() and minor.isdecimal()
    return Gpu(name, (int(major), int(minor)) if known else None, _mebibytes(total), _mebibytes(used))


def _mebibytes(text: str) -> int:
    """Bytes; 0 for `[N/A]`."""
    return int(text) * 2**20 if text.isdecimal() else 0


def _of_proc(proc: Path, fault: str | None) -> Driver | None:
    """What the driver's files say: its version, and the cards that it has taken. `fault`: why nvidia-smi says nothing."""
    try:
        words = (proc / "version").read_text(encoding="utf-8", errors="replace").split()
        version = next(word for word in words if word[:1].isdigit() and "." in word)
        models = [
            path.read_text(encoding="utf-8", errors="replace") for path in sorted(proc.glob("gpus/*/information"))
        ]
    except (OSError, StopIteration):
        return None
    names = [
        line.partition(":")[2].strip() for text in models for line in text.splitlines() if line.startswith("Model")
    ]
    return Driver(version, tuple(Gpu(name, None) for name in names), fault)


def installed_torch() -> TorchBuild | None:
    """The installed torch, from its files; None if it is not known."""
    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return None
    if "+" in version:
        return TorchBuild(version, _cuda_of(version))
    values = _version_file()  # on PyPI the version does not name the build
    return (
        TorchBuild(values["__version__"] or version, values["cuda"])
        if {"__version__", "cuda"} <= values.keys()
        else None
    )


def _version_file() -> dict[str, str | None]:
    """The text constants of torch/version.py, which is read, not imported."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return {}
    try:
        tree = ast.parse(Path(spec.origin).with_name("version.py").read_text(encoding="utf-8"))
    except (OSError, SyntaxError):
        return {}
    found: dict[str, str | None] = {}
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and isinstance(getattr(node, "value", None), ast.Constant):
            value = node.value.value  # type: ignore[attr-defined]
            found[target.id] = value if isinstance(value, str) else None
    return found


def _cuda_of(version: str) -> str | None:
    """12.6 for 2.13.0+cu126."""
    local = version.partition("+")[2]
    digits = local.removeprefix("cu")
    return f"{digits[:-1]}.{digits[-1]}" if local.startswith("cu") and digits.isdecimal() else None
