"""`streamqa sources`: the webcams of this machine, and the lines of a configuration that use them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from streamqa.cli.output import printable

if TYPE_CHECKING:
    from streamqa.capture.v4l2 import Camera, Mode

_ELSEWHERE = "webcams can be listed on Linux only; try webcam:0, then webcam:1…"
_NONE = "no webcam here; plug one in, and in a container pass it on (docker run --device /dev/video0)"


def command(
    as_json: Annotated[bool, typer.Option("--json", help="One object per webcam")] = False,
) -> None:
    """List the webcams of this machine with their modes, and how to name them in a configuration."""
    from streamqa.capture.v4l2 import list_cameras

    if sys.platform != "linux":
        typer.echo(_ELSEWHERE, err=True)
        return
    cameras = list_cameras()
    if not cameras:
        typer.echo(_NONE, err=True)
    for camera in cameras:
        for line in [_object(camera)] if as_json else lines(camera):
            typer.echo(line)


def lines(camera: Camera) -> Iterator[str]:
    """A webcam for people: its name, a line for each mode, and the line of a configuration that uses it."""
    yield printable(f"webcam:{camera.index}  {camera.problem or camera.name}")
    for mode in camera.modes:
        up_to = "up to " if mode.any_smaller else ""
        rates = f"  {', '.join(f'{rate:g}' for rate in mode.fps)} fps" if mode.fps else ""
        yield printable(f"    {mode.fourcc}  {up_to}{mode.width}x{mode.height}{rates}")
    if not camera.problem:
        yield f"    {config_line(camera)}"


def config_line(camera: Camera) -> str:
    """A source of a configuration that uses the webcam in a mode that it has."""
    from streamqa.capture.v4l2 import suggest

    mode = suggest(camera)
    return f'desk: {{url: "webcam:{camera.index}"{_settings(mode) if mode else ""}}}'


def _settings(mode: Mode) -> str:
    rate = f", fps: {mode.fps[0]:g}" if mode.fps else ""
    # A format whose letters are not four cannot be written in a configuration.
    fourcc = f", fourcc: {mode.fourcc}" if len(mode.fourcc) == 4 and mode.fourcc.isalnum() else ""
    return f", size: {mode.width}x{mode.height}{rate}{fourcc}"


def _object(camera: Camera) -> str:
    from streamqa.capture.v4l2 import suggest

    mode = suggest(camera)
    return json.dumps(
        {
            "url": f"webcam:{camera.index}",
            "name": camera.name,
            "modes": [asdict(mode) for mode in camera.modes],
            "suggested": asdict(mode) if mode else None,
            "problem": camera.problem or None,
        }
    )
