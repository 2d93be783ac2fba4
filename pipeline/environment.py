"""What a process that we start may see: an allow-list, so that no token or key reaches one that has no use for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The folder `python -m pipeline` works from."""

VARIABLES = frozenset(
    "PATH HOME USER LANG TZ TMPDIR SHELL VIRTUAL_ENV LD_LIBRARY_PATH PYTHONPATH XDG_CACHE_HOME "
    "SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy "
    "PIPELINE_HOME HF_HOME HF_HUB_CACHE HF_DATASETS_CACHE HF_ENDPOINT HF_HUB_OFFLINE HF_DATASETS_OFFLINE "
    "HF_HUB_DISABLE_XET RAY_ADDRESS RAY_AUTH_MODE RAY_AUTH_TOKEN_PATH".split()
)
PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "NCCL_", "GLOO_", "OMP_", "MKL_", "TORCH", "PYTORCH_", "ACCELERATE_")


def child_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What a job or the generator gets of `environ`; both read public data only."""
    kept = {name: value for name, value in environ.items() if name in VARIABLES or name.startswith(PREFIXES)}
    return {
        **kept,
        "PYTHONPATH": python_path(environ),
        "PYTHONUNBUFFERED": "1",
        # A token may also lie in the Hub client's own folder.
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }


def python_path(environ: Mapping[str, str] = os.environ) -> str:
    """PYTHONPATH with which `-m pipeline...` finds this package from any folder."""
    return os.pathsep.join(filter(None, [str(ROOT), environ.get("PYTHONPATH", "")]))
