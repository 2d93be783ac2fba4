"""Brings back what a disk that was wiped has lost, before a command reads it. A place that cannot be read is a note, and no
reason to fail.
"""

from __future__ import annotations

from pipeline.cli.console import Console
from pipeline.core.errors import HubError
from pipeline.core.settings import Settings
from pipeline.hub.bucket_restore import restore_all
from pipeline.hub.restore import restore_runs


def restore_archive_if_due(settings: Settings, console: Console) -> None:
    """Bring back what the archive has, if this disk never did."""
    try:
        restored = restore_all(settings, console.line)
    except OSError as error:
        console.line(f"Note: what is in {settings.archive} is not shown: {error}")
    else:
        if restored:
            console.line(f"Restored {', '.join(restored)} from {settings.archive}.")


def restore_runs_if_due(settings: Settings, console: Console) -> None:
    """Also the records of the runs in the Hub's repo."""
    restore_archive_if_due(settings, console)
    try:
        restored = restore_runs(settings, console.line)
    except HubError as error:
        console.line(f"Note: the runs in {settings.hub_repo} are not shown: {error}")
    else:
        if restored:
            console.line(f"Restored {', '.join(restored)} from {settings.hub_repo}.")
