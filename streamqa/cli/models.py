"""`streamqa models`: what can answer, and what each needs."""

from __future__ import annotations

import typer

# name, what it is, what it needs, licence
_ROWS = (
    (
        "tiny",
        "embedded, 4.7 M parameters, moondream2's architecture; knows only the scenes of `streamqa scene`",
        "nothing",
        "Apache-2.0",
    ),
    (
        "moondream2",
        "the 2025-06-21 release, 1.93 B parameters; looks at one picture at a time",
        "3.9 GB of weights: downloaded once, or a folder given with --model-path",
        "Apache-2.0 (see its model card)",
    ),
)


def command() -> None:
    """List the models that can answer."""
    for name, what, needs, licence in _ROWS:
        typer.echo(f"{name}\n    {what}\n    needs {needs}\n    licence {licence}")
