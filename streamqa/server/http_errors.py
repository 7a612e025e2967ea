"""Why a request was refused, as HTTP says it and as the OpenAPI document tells it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Detail(BaseModel):
    """Why a request was refused."""

    detail: str = Field(description="one line: what is wrong, and what to do")


_SAID = {
    400: "The request is no good, or there is a token in its URL.",
    401: "A token is needed, or there is no such token.",
    403: "The token's scope is too small, or a page of another site asks.",
    404: "There is nothing of that name.",
    413: "The body is too large.",
    429: "Too many requests; `Retry-After` says how long to wait.",
}

Responses = dict[int | str, dict[str, Any]]


def refusals(*statuses: int) -> Responses:
    """For the `responses` of a route."""
    return {status: {"model": Detail, "description": _SAID[status]} for status in statuses}
