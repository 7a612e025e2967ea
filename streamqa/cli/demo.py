"""`streamqa demo`: the whole line with no camera, no download and no GPU."""

from __future__ import annotations

import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from streamqa.cli.output import AnswerPrinter, Format, StatusPrinter
from streamqa.durations import parse_duration
from streamqa.errors import ConfigError
from streamqa.types import NS_PER_S

_NOTE = (
    "streamqa demo: a rendered scene, asked by a small embedded model that understands only such scenes.\n"
    "For real cameras: streamqa run configs/webcam.yaml or configs/rtsp.yaml, with moondream2."
)


def command(
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve here; default 8765 or a free port")
    ] = None,
    for_: Annotated[str | None, typer.Option("--for", help="Stop after this long, such as 20s")] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser")] = True,
) -> None:
    """Watch a synthetic scene live: answers here and on a page."""
    for_s = _seconds(for_)
    from streamqa.cli.serve import serve
    from streamqa.config import load_config

    print(_NOTE, file=sys.stderr)
    config = load_config(demo_config())
    with tempfile.TemporaryDirectory(prefix="streamqa-demo-") as folder:
        log = config.log.model_copy(update={"path": str(Path(folder) / "demo.db")})
        serve(
            config.model_copy(update={"log": log}),
            port=_port(port, config.serve.host, config.serve.port),
            sinks=(AnswerPrinter(Format.table, sys.stdout, every=False), StatusPrinter(sys.stderr)),
            for_s=for_s,
            on_ready=lambda url: _show(url, browser),
        )


def demo_config() -> Path:
    """The file `configs/demo.yaml`: inside an installed package, or beside it in a checkout.

    Raises:
        ConfigError: in neither place.
    """
    package = Path(__file__).parent.parent
    for path in (package / "configs" / "demo.yaml", package.parent / "configs" / "demo.yaml"):
        if path.is_file():
            return path
    raise ConfigError("configs/demo.yaml is missing from this installation; install streamqa again")


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else parse_duration(text) / NS_PER_S
    except ValueError as error:
        raise ConfigError(f"--for: {error}") from None


def _port(wanted: int | None, host: str, usual: int) -> int:
    """The port that was asked for, else the usual one, else, where that is taken, any free one."""
    if wanted is not None:
        return wanted
    from streamqa.server.listen import listen

    try:
        listen(host, usual).close()
    except ConfigError:
        return 0
    return usual


def _show(url: str, browser: bool) -> None:
    print(f"\n  the page: {url}   (Ctrl-C stops)\n", file=sys.stderr, flush=True)
    if browser and sys.stdout.isatty():
        webbrowser.open(url)
