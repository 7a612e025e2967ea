"""`streamqa check`: is this configuration right, and what does each source give?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamqa.cli.output import printable
from streamqa.errors import EXIT_SOURCE
from streamqa.types import iso_ms

if TYPE_CHECKING:
    from streamqa.capture.probe import Probe
    from streamqa.capture.source import SourceSpec
    from streamqa.config import Config


def command(
    config: Annotated[Path, typer.Argument(help="A YAML configuration")],
    open_sources: Annotated[bool, typer.Option("--open/--no-open", help="Also open each source")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One object per source")] = False,
) -> None:
    """Check a configuration; then open its sources, side by side, and say what each gives and could give.

    Exits 2 when the file is wrong, 3 when a source fails.
    """
    from streamqa.capture.probe import probe_all
    from streamqa.capture.reach import reach_of
    from streamqa.config import load_config
    from streamqa.model.base import find_backend
    from streamqa.specs import source_specs

    loaded = load_config(config)
    find_backend(loaded.model.name)
    specs = source_specs(loaded.sources, reach_of(loaded.serve.add))
    counts = f"sources: {len(specs)}, questions: {len(loaded.questions)}"
    summary = f"{config}: {counts}, model: {loaded.model.name}"
    typer.echo(summary, err=as_json)
    failed = False
    for spec, probe in probe_all(specs) if open_sources else ():
        advised = _advised(loaded, spec, probe)
        failed = failed or bool(probe.failure)
        for line in [_object(spec, probe, advised)] if as_json else _lines(spec, probe, advised):
            typer.echo(line)
    if failed:
        raise typer.Exit(EXIT_SOURCE)


def _advised(config: Config, spec: SourceSpec, probe: Probe) -> tuple[str, ...]:
    from streamqa.capture.advice import advice, closest_ns

    if probe.failure:
        return ()
    slides = [question.every_ns for question in config.standing() if question.asks(spec.id)]
    seen = seen_size(config.model.name, probe.facts.width, probe.facts.height)
    return advice(spec, probe, closest_ns(slides), seen)


def seen_size(model: str, width: int, height: int) -> tuple[int, int] | None:
    """Width and height in which a model sees a picture of that size, where its crops are known."""
    if model != "moondream2" or not width or not height:
        return None
    from streamqa.model.moondream.config import VisionConfig
    from streamqa.model.moondream.crops import tiling

    vision = VisionConfig()
    rows, columns = tiling(height, width, vision)
    if (rows, columns) == (1, 1):
        return vision.crop_size, vision.crop_size
    margins = 2 * vision.margin_px
    return columns * vision.window_px + margins, rows * vision.window_px + margins


def _lines(spec: SourceSpec, probe: Probe, advised: tuple[str, ...]) -> list[str]:
    if probe.failure:
        return [printable(f"{spec.id}: {probe.failure}")]
    facts = probe.facts
    first = "no picture yet"
    if probe.first_after_s is not None:
        taken = f" ({iso_ms(probe.captured_at)})" if probe.captured_at else ""
        first = f"first picture after {probe.first_after_s:.1f} s{taken}"
    words = [
        f"{probe.kind}, {'live' if probe.live else 'recorded'}",
        facts.codec,
        f"{facts.width}x{facts.height}" if facts.width else "",
        f"{facts.fps:.3g} fps" if facts.fps else "",
        f"a keyframe every {facts.gop_s:.3g} s" if facts.gop_s else "",
        f"clock {probe.clock}" if probe.clock else "",
        first,
    ]
    lines = [f"{spec.id}: {', '.join(filter(None, words))}"]
    return [printable(line) for line in [*lines, *(f"    {text}" for text in (facts.note, *advised) if text)]]


def _object(spec: SourceSpec, probe: Probe, advised: tuple[str, ...]) -> str:
    facts = probe.facts
    found: dict[str, Any] = {
        "source": spec.id,
        "ok": not probe.failure,
        "error": probe.failure or None,
        "kind": probe.kind,
        "live": probe.live,
        "codec": facts.codec or None,
        "width": facts.width or None,
        "height": facts.height or None,
        "fps": None if facts.fps is None else round(facts.fps, 3),
        "gop_s": None if facts.gop_s is None else round(facts.gop_s, 3),
        "clock": probe.clock,
        "first_picture_s": None if probe.first_after_s is None else round(probe.first_after_s, 3),
        "captured_at": iso_ms(probe.captured_at),
        "note": facts.note or None,
        "advice": advised,
    }
    return json.dumps(found)
