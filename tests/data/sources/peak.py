"""Measures the peak memory of some work in a separate process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pipeline.core.environment import child_environment
from pipeline.core.paths import ROOT

PEAK = """
import re, sys
from pathlib import Path
from pipeline.data.preview.scan import scan
from pipeline.data.sources import open_source
{work}
print(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""
LOOK = "for look in scan(open_source(f'files:{sys.argv[1]}'), ['x']): pass"


def peak_megabytes(work: str, path: Path) -> float:
    """The peak memory of the code `work`, in which `sys.argv[1]` is `path`."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK.format(work=work), path],
        cwd=ROOT,
        env=child_environment(),
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    return int(done.stdout) / 1024
