"""`streamqa check`: is this configuration right, and does each source give a picture?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamqa.errors import EXIT_SOURCE, SourceError

if TYPE_CHECKING:
    from streamqa.capture.source import SourceSpec


def command(
    config: Annotated[Path, typer.Argument(help="A YAML configuration")],
    open_sources: Annotated[bool, typer.Option("--open/--no-open", help="Also open each source")] = True,
) -> None:
    """Check a configuration; then open each source and read its first picture.

    Exits 2 when the file is wrong, 3 when a source gives no picture.
    """
    from streamqa.cli.serve import source_specs
    from streamqa.config import load_config
    from streamqa.model.base import find_backend

    loaded = load_config(config)
    find_backend(loaded.model.name)
    specs = source_specs(loaded)
    typer.echo(
        f"{config}: {len(specs)} sources, {len(loaded.questions)} questions, model {loaded.model.name}"
    )
    results = [_first_picture(spec) for spec in specs] if open_sources else []
    for line, _ in results:
        typer.echo(line)
    if not all(good for _, good in results):
        raise typer.Exit(EXIT_SOURCE)


def _first_picture(spec: SourceSpec) -> tuple[str, bool]:
    """One line about a source, and whether it gave a picture."""
    from streamqa.capture.source import make_source

    source = make_source(spec)
    started_s = time.monotonic()
    try:
        source.open()
        while (picture := source.read()) is None:
            pass
        height, width, _ = picture.to_image().shape
    except SourceError as error:
        return f"{spec.id}: {error}", False
    finally:
        source.close()
    took_s = time.monotonic() - started_s
    kind = "live" if source.is_live else "recorded"
    return (
        f"{spec.id}: {kind}, {width}x{height}, first picture after {took_s:.1f} s, clock {picture.clock}",
        True,
    )
