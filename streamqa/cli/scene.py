"""`streamqa scene`: render a clip of the synthetic world, and what is true in it."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from streamqa.errors import ConfigError


def command(
    name: Annotated[str, typer.Argument(help="Which scene; there is one: gate")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The clip to write, .mp4")],
    seed: Annotated[int, typer.Option(min=0, help="Another seed, another scene")] = 0,
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="How long")] = 60.0,
    fps: Annotated[int, typer.Option(min=1, max=60, help="Frames per second")] = 15,
    truth: Annotated[
        Path | None, typer.Option(help="Also write what is true, one JSON line per frame")
    ] = None,
) -> None:
    """Render a moving scene: people and cars come and go, the gate opens, night falls, something burns."""
    from streamqa.capture.encode import write_video
    from streamqa.scenes.script import GateScene

    if name != "gate":
        raise ConfigError(f"scene {name!r}: no such scene; there is one, gate")
    scene = GateScene(seed)
    times_s = [float(Fraction(index, fps)) for index in range(max(1, round(seconds * fps)))]
    try:
        write_video(out, (scene.image(t_s) for t_s in times_s), fps)
        if truth is not None:
            with truth.open("w", encoding="utf-8") as file:
                for t_s in times_s:
                    print(json.dumps({"t_s": round(t_s, 6), "values": scene.truth(t_s)}), file=file)
    except OSError as error:
        raise ConfigError(
            f"{error.filename or out}: cannot be written ({error.strerror}); name another file"
        ) from None
