"""The command line: `python -m pipeline COMMAND`. Does not depend on the page.

With --json, every command prints one JSON document and nothing else on stdout. Errors are one sentence on stderr; the
exit status is 2 for what the caller can fix, else 1.
"""

from __future__ import annotations

import sys

import typer
from typer.exceptions import TyperException

from pipeline.cli import corpora, evaluations, export, revisions, runs
from pipeline.cli.console import Console
from pipeline.cli.options import Json
from pipeline.core.environment import home_folder, keep_downloads_in_home
from pipeline.core.errors import PipelineError, home_errors
from pipeline.core.settings import Settings
from pipeline.hub.owner import complete_repo

app = typer.Typer(
    name="pipeline",
    help="Look at code, train a GPT-2 on it from scratch, use the model.",
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=False,
)

LIST_OPTIONS = ("--keyword", "--set", "--quality")
"""Options that take several values after one name, as in `--keyword pandas numpy`."""


def demo(json: Json = False) -> None:
    """Run every stage on the examples of data-science projects, or without a package index on the installed packages."""
    from pipeline.cli.demo import run_demo

    settings, console = Settings.from_environment(), Console(as_json=json)
    console.document(run_demo(settings, console))


COMMANDS = (
    *(corpora.preview, corpora.prepare, corpora.corpora, corpora.delete),
    *(runs.train, runs.resume, runs.runs, runs.status, runs.stop, runs.logs),
    *(revisions.revisions, revisions.generate, revisions.score, evaluations.evaluate, export.export),
    revisions.publish,
    demo,
)
"""In the order of a typical workflow, in which `--help` lists them."""
for command in COMMANDS:
    app.command()(command)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status. Errors meant for people become one sentence on stderr."""
    keep_downloads_in_home()
    try:
        with home_errors(home_folder()):
            complete_repo()
            result = app(
                _repeat_lists(sys.argv[1:] if arguments is None else arguments),
                standalone_mode=False,
                prog_name="pipeline",
            )
    except PipelineError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    except TyperException as error:
        print(f"{error.format_message().rstrip('.')}; see `python -m pipeline --help`.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130  # the shell's status for a command ended by Ctrl-C
    return result if isinstance(result, int) else 0


def _repeat_lists(arguments: list[str]) -> list[str]:
    """`--keyword a b` as `--keyword a --keyword b`, which is what typer reads."""
    repeated: list[str] = []
    current = ""
    for argument in arguments:
        if argument.startswith("--"):
            current = argument if argument in LIST_OPTIONS else ""
        elif current and repeated[-1] != current:
            repeated.append(current)
        repeated.append(argument)
    return repeated
