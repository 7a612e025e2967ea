"""Pictures, by HTTP: the newest one of each source, and those that records are about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, FastAPI, HTTPException, Path, Response
from fastapi.responses import FileResponse

from streamqa.jpeg import to_jpeg
from streamqa.server.context import ServerContext
from streamqa.server.http_errors import refusals
from streamqa.server.protocol import MAX_SEQ
from streamqa.server.visitor import need

if TYPE_CHECKING:
    from streamqa.types import Image

_MAX_SIDE_PX = 1280  # of a latest picture
_JPEG_QUALITY = 80


def add_pictures(app: FastAPI, context: ServerContext) -> None:
    """`/sources/{source}/latest.jpg` and `/frames/{seq}.jpg`."""
    encoded: dict[str, tuple[Image, bytes]] = {}  # the last picture of each source, for many viewers

    picture = {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}}

    @app.get(
        "/sources/{source}/latest.jpg",
        response_class=Response,
        responses={200: picture, **refusals(404)},
        dependencies=[Depends(need("read"))],
    )
    def latest(source: str) -> Response:
        """The newest picture of a source, at most 1280 pixels a side."""
        if source not in {one.id for one in context.sources()}:
            raise HTTPException(404, "no such source")
        image = context.latest(source)
        if image is None:
            raise HTTPException(404, "no picture yet")
        known = encoded.get(source)
        if known is None or known[0] is not image:
            known = encoded[source] = image, to_jpeg(image, _JPEG_QUALITY, _MAX_SIDE_PX)
        return Response(known[1], media_type="image/jpeg")

    @app.get(
        "/frames/{seq}.jpg",
        response_class=FileResponse,
        responses={200: picture, **refusals(404)},
        dependencies=[Depends(need("read"))],
    )
    def evidence(seq: Annotated[int, Path(ge=1, le=MAX_SEQ)]) -> FileResponse:
        """The picture that a record is about, as the model saw it."""
        path = context.evidence(seq)
        if path is None:
            raise HTTPException(404, "no picture of that record is kept")
        # Asked again each time: where another log took this one's place, numbers begin anew.
        headers = {"cache-control": "private, no-cache"}
        return FileResponse(path, media_type="image/jpeg", headers=headers)
