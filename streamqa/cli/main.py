"""`streamqa`: the commands, and how any of them ends.

Nothing heavy is imported here or at the top of a command's file: `--help` has no torch, cv2, av, transformers or
fastapi, and takes a tenth of a second.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from typing import Annotated

import typer

from streamqa.cli import ask, bench, calibrate, check, demo, models, scene, serve, sources, undelivered, watch
from streamqa.cli.output import printable
from streamqa.cli.signals import Interrupted, interruptible
from streamqa.errors import EXIT_INTERRUPTED, StreamQAError
from streamqa.version import __version__

app = typer.Typer(
    name="streamqa",
    help="Asks standing questions of video: cameras and clips in, typed and timestamped answers out.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.command)
app.command("run")(serve.command)
app.command("ask")(ask.command)
app.command("watch")(watch.command)
app.command("undelivered")(undelivered.command)
app.command("check")(check.command)
app.command("calibrate")(calibrate.command)
app.command("sources")(sources.command)
app.command("models")(models.command)
app.command("scene")(scene.command)
app.add_typer(bench.app, name="bench")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Tracebacks and debug logs.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Set up logging: to stderr, so that stdout holds answers only."""
    level = logging.DEBUG if debug else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    for handler in logging.getLogger().handlers:
        handler.setLevel(
            level
        )  # loggers with a level of their own, so that no token is logged, are not for everybody


def run() -> None:
    """The console script: run a command and turn its end into an exit code and, if need be, one line."""
    debug = "--debug" in sys.argv[1:]
    _open_outputs()
    try:
        with interruptible():
            app()
    except StreamQAError as error:
        _say(error, debug)
        _leave(error.exit_code)
    except Interrupted:
        _leave(EXIT_INTERRUPTED)
    except BrokenPipeError:
        _leave(0)
    except Exception as error:  # a mistake of ours: still one line for the user, all of it with --debug
        _say(error, debug, prefix=f"unexpected {type(error).__name__}: ", suffix=" (--debug shows more)")
        _leave(1)


def _open_outputs() -> None:
    """Make stdout and stderr fit to print on: closed ones lead nowhere, and no character is too much for a locale."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # the process was started with it closed
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - until the end
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _say(error: Exception, debug: bool, prefix: str = "", suffix: str = "") -> None:
    if debug:
        traceback.print_exc()
    text = str(error) if isinstance(error, StreamQAError) else " ".join(str(error).split())
    lines = f"{prefix}{text}{suffix}".split("\n")  # what a server or a file says must not steer the terminal
    print("streamqa: " + "\n".join(printable(line) for line in lines), file=sys.stderr)


def _leave(code: int) -> None:
    """Exit without a complaint about an output that nobody reads any more."""
    try:
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(code)


if __name__ == "__main__":
    run()
