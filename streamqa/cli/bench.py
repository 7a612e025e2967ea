"""`streamqa bench`: measure again what the README claims; alone the quick figures, its sub-commands one part each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})


@app.callback(invoke_without_command=True)
def quick(
    context: typer.Context,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Rounds of each figure; the best counts")] = 3,
    live: Annotated[float, typer.Option(min=2, max=3600, help="Seconds to watch the live scene")] = 20.0,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also write the result as JSON")] = None,
) -> None:
    """Measure start-up, the first answer, recordings and live watching, with the embedded model on this machine.

    The sub-commands measure one part each, and have options of their own.
    """
    if context.invoked_subcommand is not None:
        return
    from streamqa.bench.quick import machine, measure, report

    where = machine()
    typer.echo(f"{where.processor}, {where.cores} cores, Python {where.python}, load {where.load_average}")
    figures = measure(rounds, live)
    for figure in figures:
        typer.echo(f"{figure.value:8.2f} {figure.unit:<12} {figure.name:<38} {figure.command}")
    if out is not None:
        out.write_text(json.dumps(report(figures, where), indent=1) + "\n", encoding="utf-8")
