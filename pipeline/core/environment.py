"""Environment variables of child processes, as an allow-list so that no token or key reaches a process that does not
need it; and the number of CPU cores that this process may use.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

from pipeline.core.paths import ROOT

VARIABLES = frozenset(
    "PATH HOME USER LANG TZ TMPDIR SHELL VIRTUAL_ENV LD_LIBRARY_PATH PYTHONPATH XDG_CACHE_HOME "
    "SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy "
    "PIPELINE_HOME HF_HOME HF_HUB_CACHE HF_DATASETS_CACHE HF_ENDPOINT HF_HUB_OFFLINE HF_DATASETS_OFFLINE "
    "HF_HUB_DISABLE_XET RAY_ADDRESS RAY_AUTH_MODE RAY_AUTH_TOKEN_PATH "
    "PIP_CERT PIP_CONFIG_FILE PIP_NO_INDEX XDG_CONFIG_DIRS XDG_CONFIG_HOME".split()
)
OWN_PREFIXES = (
    "PIPELINE_",
    "GRADIO_",
    "SPACE_",
    "PYTHON",
    "KMP_",
    "OPENBLAS_",
    "POLARS_",
    "ARROW_",
    "MALLOC_",
    "GOMP_",
    "HF_HUB_",
    "HF_XET_",
)
OWN_VARIABLES = frozenset(
    "HF_TOKEN_PATH SYSTEM SPACES_ZERO_GPU ACCELERATOR CPU_CORES MEMORY HOSTNAME PWD TERM LOGNAME FORWARDED_ALLOW_IPS CI".split()
)
"""Variables that page, worker and publisher keep, in addition to VARIABLES and PREFIXES."""
SECRETS = frozenset({"PIPELINE_OWNER_KEY"})
PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "NCCL_", "GLOO_", "OMP_", "MKL_", "TORCH", "PYTORCH_", "ACCELERATE_")
CREDENTIALS = {
    "s3": "AWS_",
    "s3a": "AWS_",
    "gs": "GOOGLE_",
    "gcs": "GOOGLE_",
    "az": "AZURE_",
    "abfs": "AZURE_",
    "abfss": "AZURE_",
}
"""URL scheme -> prefix of the variables with credentials for it, in addition to fsspec's own FSSPEC_<SCHEME>_."""
INDEX_VARIABLES = (
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "UV_EXTRA_INDEX_URL",
)
"""Addresses of package indexes, which may contain a user name and a password."""
SHORTEST_SECRET = 8
CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
"""CPU limit of a container (cgroup v2): `QUOTA PERIOD`, microseconds of CPU time per microseconds of wall time."""


def keep_downloads_in_home(environ: MutableMapping[str, str] = os.environ) -> None:
    """Make the Hub's client write below the home folder, unless HF_HOME is set: its own default is in the user's home,
    which a container may lack. Call it before anything imports huggingface_hub, which reads the variable then.
    """
    if not environ.get("HF_HOME"):
        environ["HF_HOME"] = str((home_folder(environ) / "huggingface").absolute())


def home_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """PIPELINE_HOME: the folder of every file that this application writes."""
    return Path(environ.get("PIPELINE_HOME") or "home")


def child_environment(
    environ: Mapping[str, str] = os.environ, *, address: str | None = None, with_index: bool = False
) -> dict[str, str]:
    """The variables of `environ` for a job or the generator: no credentials, except those to write to `address`, and
    with `with_index` those to read the package index.
    """
    prefixes = (*PREFIXES, *_credentials(address or ""))
    names = VARIABLES.union(INDEX_VARIABLES if with_index else ())
    kept = {name: value for name, value in environ.items() if name in names or name.startswith(prefixes)}
    return {
        **kept,
        "PYTHONPATH": python_path(environ),
        "PYTHONUNBUFFERED": "1",
        # The Hub client would also read a token from its own folder.
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }


def is_harmless(name: str) -> bool:
    """Whether the variable `name` holds no secret: an allow-list, as the names of all secrets cannot be listed."""
    known = name in VARIABLES or name in OWN_VARIABLES or name.startswith((*PREFIXES, *OWN_PREFIXES))
    return known and name not in SECRETS and not is_credential(name)


def schemes(address: str) -> list[str]:
    """URL schemes of `address`: `s3` for `s3://bucket/folder`, both for `simplecache::s3://bucket`, none for a path."""
    parts = address.split("::") if "://" in address else []
    return [part.partition("://")[0] for part in parts]


def without_credentials(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """`text` with the value of every variable that may hold credentials replaced by the variable's name."""
    for name, value in environ.items():
        if is_credential(name) and len(value) >= SHORTEST_SECRET:
            text = text.replace(value, f"[{name}]")
    return text


def is_credential(name: str) -> bool:
    """Whether the variable `name` may hold credentials for remote storage or for a package index."""
    return name in INDEX_VARIABLES or name.startswith(("FSSPEC_", *CREDENTIALS.values()))


def _credentials(address: str) -> list[str]:
    """Prefixes of the variables that hold credentials for `address`."""
    found = schemes(address)
    return [
        *(CREDENTIALS[scheme] for scheme in found if scheme in CREDENTIALS),
        *(f"FSSPEC_{s.upper()}_" for s in found),
    ]


def python_path(environ: Mapping[str, str] = os.environ) -> str:
    """PYTHONPATH with which `-m pipeline...` finds this package from any folder."""
    return os.pathsep.join(filter(None, [str(ROOT), environ.get("PYTHONPATH", "")]))


def num_cores(limit: Path | None = None) -> int:
    """Cores in this process's CPU affinity, or the container's limit (file `limit`, else CPU_LIMIT) if lower."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (limit or CPU_LIMIT).read_text(encoding="ascii").split()
        return available if quota == "max" else max(1, min(available, int(quota) // int(period)))
    except (OSError, ValueError):  # no cgroup v2 limit here
        return available
