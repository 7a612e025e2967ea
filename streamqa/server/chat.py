"""Chat completions in the OpenAI shape, so that programs written for that can ask about what a camera shows.

The last user message is the question; `streamqa://gate` as its `image_url` is what source `gate` shows now. The
model sees neither system messages nor earlier turns, which the answer's `streamqa.ignored` says. No model here counts
the tokens of a prompt: `usage.prompt_tokens` is 0. With `stream` the answer comes in one piece once it is there, as
models give it whole.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from streamqa.answers import clean_text
from streamqa.errors import ConfigError, StreamQAError
from streamqa.server.chat_request import ChatRequest, SourceImage, Wish, wish_of
from streamqa.server.commands import Refused, code_of, moment
from streamqa.server.context import Control, ServerContext
from streamqa.server.control_api import STATUS, request_text
from streamqa.server.data_image import decoded
from streamqa.server.http_errors import Responses, refusals
from streamqa.server.visitor import need
from streamqa.types import Frame, Generation, ModelInfo, Prompt, iso_ms
from streamqa.types import Request as Prompts

CHAT_PATH = "/v1/chat/completions"

_MOST_AT_ONCE = 8  # each with up to 16 MB of text and 75 MB of pixels
_FINISH = {"eos": "stop", "length": "length"}
_EXAMPLES = {
    "now": {
        "value": {
            "model": "tiny",
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Is there a person?"},
                        {"type": "image_url", "image_url": {"url": "streamqa://gate"}},
                    ],
                }
            ],
        }
    }
}


class ChatProblem(BaseModel):
    """What went wrong, in the OpenAI shape."""

    message: str
    type: str = Field(description="invalid_request_error, permission_error or server_error")
    param: str | None
    code: str


class ChatError(BaseModel):
    """An error in the OpenAI shape."""

    error: ChatProblem


class _Route(APIRoute):
    """Whatever goes wrong has the OpenAI shape. At most `_MOST_AT_ONCE` at a time: each may hold a large picture."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        inside = 0

        async def handled(request: Request) -> Response:
            nonlocal inside
            if inside >= _MOST_AT_ONCE:
                return _problem(503, "busy", f"{inside} such requests are being answered; try again soon")
            inside += 1
            try:
                if self.path == CHAT_PATH:
                    need("ask")(request)  # as a dependency does, but before its body is read
                return await handle(request)
            except Refused as refused:
                return _problem(_status(refused.code), refused.code, str(refused))
            except RequestValidationError as error:
                return _problem(400, "bad_message", request_text(error))
            except HTTPException as error:
                code = "forbidden" if error.status_code in (401, 403) else "bad_message"
                return _problem(error.status_code, code, str(error.detail), error.headers)
            finally:
                inside -= 1

        return handled


@dataclass(frozen=True, slots=True)
class _Said:
    """An answer, and the frame that it is about."""

    model: ModelInfo
    generation: Generation
    frame: Frame | None
    ignored: tuple[str, ...]


def add_chat(app: FastAPI, context: ServerContext) -> None:
    """`/v1/chat/completions` and `/v1/models`."""
    router = APIRouter(route_class=_Route, tags=["chat"])
    started = int(time.time())
    said = {
        400: "What is asked cannot be done here.",
        403: "The token's scope is too small.",
        404: "No such model, source or frame.",
        502: "The model failed.",
        503: "Too much is asked at once, or the model is still being loaded.",
    }
    problems: Responses = {
        **refusals(401, 413, 429),  # the guard's, before it is known what is asked
        **{status: {"model": ChatError, "description": text} for status, text in said.items()},
    }

    @router.post(CHAT_PATH, dependencies=[Depends(need("ask"))], responses=problems, response_model=None)
    def complete(
        body: Annotated[ChatRequest, Body(openapi_examples=_EXAMPLES)],
    ) -> Response:
        """Ask about a picture, or about a frame of a source. Needs scope `ask`."""
        found = _answered(body, context)
        if body.stream:
            include_usage = body.stream_options is not None and body.stream_options.include_usage
            return Response(_in_pieces(found, include_usage), media_type="text/event-stream")
        return JSONResponse(_completion(found))

    @router.get(
        "/v1/models",
        dependencies=[Depends(need("read"))],
        responses={status: problems[status] for status in (401, 403, 429, 503)},
    )
    def models() -> dict[str, Any]:
        """The model that answers. Needs scope `read`."""
        info = _model(context)
        about = {"id": info.name, "object": "model", "created": started, "owned_by": "streamqa"}
        return {"object": "list", "data": [about]}

    app.router.routes.extend(router.routes)


def _answered(body: ChatRequest, context: ServerContext) -> _Said:
    info = _model(context)
    if body.model not in (info.name, info.label):
        raise Refused("not_there", f"model: there is no such model here; there is {info.name}")
    if context.control is None:
        raise Refused("unavailable", "this server shows what was recorded; nothing can be asked here")
    try:
        wish = wish_of(body)
        return _ask(wish, info, context.control)
    except StreamQAError as error:
        raise Refused(code_of(error), str(error)) from error


def _ask(wish: Wish, info: ModelInfo, control: Control) -> _Said:
    frame = image = None
    if isinstance(wish.image, SourceImage):
        where = wish.image
        frame = control.frame(where.source, moment(where.t_s, where.at, where.ago_s))
        image = frame.image
    elif wish.image is not None:
        image = decoded(wish.image.base64)
    (generation,) = control.generate(Prompts(image, (Prompt(wish.text, max_tokens=wish.max_tokens),)))
    if generation.finish == "error":
        raise ConfigError(f"the model cannot answer this: {generation.error}")
    return _Said(info, generation, frame, wish.ignored)


def _model(context: ServerContext) -> ModelInfo:
    info = context.model()
    if info is None:
        raise Refused(
            "unavailable", "the model is still being loaded; try again when /readyz says that it is ready"
        )
    return info


def _completion(said: _Said) -> dict[str, Any]:
    text, finish = _text(said.generation)
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    return {
        **_head(said, "chat.completion"),
        "choices": [choice],
        "usage": _usage(said.generation),
        "streamqa": _beside(said),
    }


def _in_pieces(said: _Said, include_usage: bool) -> str:
    head = _head(said, "chat.completion.chunk")
    text, finish = _text(said.generation)
    # With usage asked for, every chunk has the field, null but in the last one.
    usage: dict[str, Any] = {"usage": None} if include_usage else {}
    steps: list[tuple[dict[str, Any], str | None]] = [
        ({"role": "assistant", "content": ""}, None),
        ({"content": text}, None),
        ({}, finish),
    ]
    chunks: list[dict[str, Any]] = []
    for delta, reason in steps:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        chunks.append({**head, "choices": [choice], **usage})
    chunks[-1]["streamqa"] = _beside(said)
    if include_usage:
        chunks.append({**head, "choices": [], "usage": _usage(said.generation)})
    return (
        "".join(f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    )


def _head(said: _Said, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": said.model.name,
    }


def _text(generation: Generation) -> tuple[str, str]:
    return clean_text(generation.text).strip(), _FINISH.get(generation.finish, "stop")


def _usage(generation: Generation) -> dict[str, int]:
    return {
        "prompt_tokens": 0,
        "completion_tokens": generation.tokens,
        "total_tokens": generation.tokens,
    }


def _beside(said: _Said) -> dict[str, Any]:
    """What the OpenAI shape has no place for."""
    frame, logprob = said.frame, said.generation.logprob
    return {
        "model": said.model.label,
        "source": frame.source if frame else None,
        "frame": frame.index if frame else None,
        "t_s": round(frame.t_s, 6) if frame else None,
        "captured_at": iso_ms(frame.captured_at) if frame else None,
        "confidence": round(math.exp(min(0.0, logprob)), 4) if math.isfinite(logprob) else None,
        "ignored": list(said.ignored),
    }


def _status(code: Any) -> int:
    return 400 if code == "bad_message" else STATUS[code]


def _problem(status: int, code: str, text: str, headers: Any = None) -> JSONResponse:
    kind = (
        "permission_error"
        if status in (401, 403)
        else "server_error"
        if status >= 500
        else "invalid_request_error"
    )
    if code == "busy":
        headers = {**(headers or {}), "retry-after": "1"}
    problem = {"message": text, "type": kind, "param": None, "code": code}
    return JSONResponse({"error": problem}, status, headers)
