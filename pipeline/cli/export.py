"""The command export: a revision in a format for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.console import Console
from pipeline.cli.options import Json
from pipeline.cli.restored import restore_archive_if_due
from pipeline.core.errors import require
from pipeline.core.settings import Settings

FORMATS = ("onnx",)


def export(
    revision: Annotated[
        str,
        typer.Argument(
            metavar="REVISION", help="newest, best, starter, a revision, or OWNER/NAME of a GPT-2 on the Hub."
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new folder.")],
    format_: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")] = "onnx",
    json: Json = False,
) -> None:
    """Write a revision as an ONNX model with its tokenizer, and compare the logits of both."""
    from pipeline.generation.export import MODEL, export_onnx
    from pipeline.hub.revision_store import RevisionStore

    require(format_ in FORMATS, "format", format_, f"choose one of {', '.join(FORMATS)}")
    settings, console = Settings.from_environment(), Console(as_json=json)
    restore_archive_if_due(settings, console)
    chosen = RevisionStore(settings).choose(revision)
    difference = export_onnx(chosen, folder)
    num_bytes = (folder / MODEL).stat().st_size
    console.line(
        f"{folder / MODEL} has revision {chosen.revision}, {num_bytes / 1e6:.1f} MB; its logits differ by "
        f"{difference:.1g} of the largest one."
    )
    console.document(
        {
            "revision": chosen.revision,
            "format": format_,
            "folder": str(folder),
            "bytes": num_bytes,
            "largest_difference": difference,
        }
    )
