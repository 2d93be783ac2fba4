"""What a process that we start may see, an allow-list, so that no token or key reaches one that has no use for it; and how
many cores there are for it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pipeline.core.paths import ROOT

VARIABLES = frozenset(
    "PATH HOME USER LANG TZ TMPDIR SHELL VIRTUAL_ENV LD_LIBRARY_PATH PYTHONPATH XDG_CACHE_HOME "
    "SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy "
    "PIPELINE_HOME HF_HOME HF_HUB_CACHE HF_DATASETS_CACHE HF_ENDPOINT HF_HUB_OFFLINE HF_DATASETS_OFFLINE "
    "HF_HUB_DISABLE_XET RAY_ADDRESS RAY_AUTH_MODE RAY_AUTH_TOKEN_PATH".split()
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
    "SYSTEM SPACES_ZERO_GPU ACCELERATOR CPU_CORES MEMORY HOSTNAME PWD TERM LOGNAME FORWARDED_ALLOW_IPS CI".split()
)
"""Of page, worker and publisher, beside what any process gets."""
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
"""Scheme of an address -> how the variables begin that hold credentials for it, beside fsspec's own FSSPEC_<SCHEME>_."""
SHORTEST_SECRET = 8
CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
"""Where a container's share of the cores stands (cgroup v2): microseconds of work per microseconds of time."""


def child_environment(environ: Mapping[str, str] = os.environ, *, address: str | None = None) -> dict[str, str]:
    """What a job or the generator gets of `environ`: no credentials, but those for `address` if it writes there."""
    prefixes = (*PREFIXES, *_credentials(address or ""))
    kept = {name: value for name, value in environ.items() if name in VARIABLES or name.startswith(prefixes)}
    return {
        **kept,
        "PYTHONPATH": python_path(environ),
        "PYTHONUNBUFFERED": "1",
        # A token may also lie in the Hub client's own folder.
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }


def is_harmless(name: str) -> bool:
    """Whether the variable `name` holds no secret: an allow-list, as nobody can list every name of a secret."""
    known = name in VARIABLES or name in OWN_VARIABLES or name.startswith((*PREFIXES, *OWN_PREFIXES))
    return known and name not in SECRETS and not is_credential(name)


def schemes(address: str) -> list[str]:
    """`s3` of `s3://bucket/folder`, both of `simplecache::s3://bucket`; none of a path."""
    links = address.split("::") if "://" in address else []
    return [link.partition("://")[0] for link in links]


def without_credentials(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """`text` with the value of every variable that may hold credentials replaced by the variable's name."""
    for name, value in environ.items():
        if is_credential(name) and len(value) >= SHORTEST_SECRET:
            text = text.replace(value, f"[{name}]")
    return text


def is_credential(name: str) -> bool:
    """Whether the variable `name` may hold credentials for files elsewhere."""
    return name.startswith(("FSSPEC_", *CREDENTIALS.values()))


def _credentials(address: str) -> list[str]:
    """How the variables begin that hold credentials for `address`."""
    found = schemes(address)
    return [
        *(CREDENTIALS[scheme] for scheme in found if scheme in CREDENTIALS),
        *(f"FSSPEC_{s.upper()}_" for s in found),
    ]


def python_path(environ: Mapping[str, str] = os.environ) -> str:
    """PYTHONPATH with which `-m pipeline...` finds this package from any folder."""
    return os.pathsep.join(filter(None, [str(ROOT), environ.get("PYTHONPATH", "")]))


def num_cores(limit: Path = CPU_LIMIT) -> int:
    """Cores this process is bound to, or fewer if its container's share, which stands in the file `limit`, is smaller."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = limit.read_text(encoding="ascii").split()
        return bound if quota == "max" else max(1, min(bound, int(quota) // int(period)))
    except (OSError, ValueError):  # no such limit here
        return bound
