"""The same work without a browser: `python -m pipeline COMMAND`. Knows nothing of the page.

Every command takes --json and then prints one JSON document and nothing else on stdout. Errors are one sentence on
stderr; exit status 2 for what the caller can fix, 1 otherwise.
"""

from __future__ import annotations

import sys

import typer
from typer.exceptions import TyperException

from pipeline.cli import corpora, revisions, runs
from pipeline.cli.console import Console
from pipeline.cli.options import Json
from pipeline.core.errors import PipelineError
from pipeline.core.settings import Settings

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
    """The whole way on this machine's own files: look, prepare, train, publish, generate. Needs no network."""
    from pipeline.cli.demo import run_demo

    settings, console = Settings.from_environment(), Console(as_json=json)
    console.document(run_demo(settings, console))


COMMANDS = (
    *(corpora.preview, corpora.prepare, corpora.corpora, corpora.delete),
    *(runs.train, runs.resume, runs.runs, runs.status, runs.stop, runs.logs),
    *(revisions.revisions, revisions.generate, revisions.score, revisions.publish),
    demo,
)
"""In the order of the way through the work, as `--help` lists them."""
for command in COMMANDS:
    app.command()(command)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit status. Errors meant for people become one sentence on stderr."""
    try:
        result = app(
            _repeat_lists(sys.argv[1:] if arguments is None else arguments), standalone_mode=False, prog_name="pipeline"
        )
    except PipelineError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    except TyperException as error:
        print(f"{error.format_message().rstrip('.')}; see `python -m pipeline --help`.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130  # what a shell says of a command ended by Ctrl-C
    return result if isinstance(result, int) else 0


def _repeat_lists(arguments: list[str]) -> list[str]:
    """`--keyword a b` as `--keyword a --keyword b`, which is what typer reads."""
    spread: list[str] = []
    current = ""
    for argument in arguments:
        if argument.startswith("--"):
            current = argument if argument in LIST_OPTIONS else ""
        elif current and spread[-1] != current:
            spread.append(current)
        spread.append(argument)
    return spread
