"""Questions and sources by HTTP: the commands of the websocket as REST, with the same code underneath."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from streamqa.question_settings import QuestionConfig
from streamqa.server.commands import Code, Refused, Section, carry_out, one_of, refusing
from streamqa.server.context import ServerContext
from streamqa.server.http_errors import Responses, refusals
from streamqa.server.protocol import (
    Add,
    Ask,
    AskOnce,
    Command,
    List,
    Pause,
    Remove,
    Resume,
    Update,
)
from streamqa.server.visitor import Visitor, need
from streamqa.settings import SourceConfig, first_mistake
from streamqa.types import Kind

STATUS: dict[Code, int] = {
    "bad_message": 422,
    "forbidden": 403,
    "not_allowed": 403,
    "not_there": 404,
    "taken": 409,
    "model": 502,
    "busy": 503,
    "unavailable": 503,
}
_ID = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
_Id = Annotated[str, Field(pattern=_ID, description="1 to 64 letters, digits, _, - or .")]
IdInPath = Annotated[str, Path(pattern=_ID)]
Reader = Annotated[Visitor, Depends(need("read"))]
_Asker = Annotated[Visitor, Depends(need("ask"))]
Admin = Annotated[Visitor, Depends(need("admin"))]


class Problem(BaseModel):
    """Why a request was not carried out; nothing has changed."""

    detail: str = Field(description="one line: what is wrong, and what to do")
    code: Code = Field(description="a short stable word for programs")


class QuestionState(BaseModel):
    """A standing question."""

    id: str
    paused: bool
    settings: dict[str, Any] = Field(description="as they were given; what is absent is as by default")


class SourceState(BaseModel):
    """A source that is watched."""

    id: str
    paused: bool
    settings: dict[str, Any] = Field(
        description="as they were given, without passwords; what is absent is as by default"
    )
    state: str | None = Field(description="null: it has not begun")
    reason: str | None
    since: str | None
    is_live: bool | None
    facts: dict[str, Any] | None = Field(description="of its pictures, as of the last one")


class Questions(BaseModel):
    """All standing questions."""

    questions: list[QuestionState]


class Sources(BaseModel):
    """All sources."""

    sources: list[SourceState]


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NewQuestion(_Given):
    """A question to ask from now on."""

    id: _Id
    settings: QuestionConfig


class NewSource(_Given):
    """A source to watch from now on."""

    id: _Id
    settings: SourceConfig


class Once(_Given):
    """One question about one frame: the newest, or that of a moment of the recent past (at most one is given)."""

    source: _Id
    settings: QuestionConfig | None = Field(
        None, description="this, or `ask` with `kind`, `choices` and `max`"
    )
    ask: str | None = Field(None, description="the question, in plain words")
    kind: Kind | None = None
    choices: list[str] | None = None
    max: int | None = Field(None, ge=1, le=100)
    t_s: float | None = Field(None, ge=0, le=1e9, description="stream time")
    at: str | None = Field(None, max_length=40, description="ISO 8601 with a time zone")
    ago_s: float | None = Field(None, ge=0, le=86_400)

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Once:
        flat = {self.ask, self.kind, self.max, None if self.choices is None else 0} != {None}
        if (self.settings is None) != (self.ask is not None) or (self.settings is not None and flat):
            raise ValueError("give settings, or ask with what belongs to it, one of both")
        return self

    def question(self) -> QuestionConfig:
        """What is asked."""
        if self.settings is not None:
            return self.settings
        given = {"ask": self.ask, "kind": self.kind, "choices": self.choices, "max": self.max}
        return QuestionConfig.model_validate({key: item for key, item in given.items() if item is not None})


_ASK_EXAMPLES = {
    "now": {"value": {"source": "gate", "ask": "Is there a person?", "kind": "yes_no"}},
    "a moment ago": {"value": {"source": "gate", "ask": "How many cars?", "kind": "number", "ago_s": 5}},
}
_QUESTION_EXAMPLES = {
    "yes or no": {
        "value": {"id": "person", "settings": {"ask": "Is there a person?", "kind": "yes_no", "every": "2s"}}
    }
}
_SOURCE_EXAMPLES = {"synthetic": {"value": {"id": "gate", "settings": {"url": "scene:gate"}}}}


class ProblemRoute(APIRoute):
    """Whatever goes wrong is a `Problem`; `Allow` names all methods of a path, not those of its first route only."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request whose path is this route's."""
        if scope["method"] in (self.methods or ()):
            await super().handle(scope, receive, send)
            return
        same = [route for route in scope["app"].routes if getattr(route, "path", None) == self.path]
        allow = ", ".join(
            sorted({method for route in same for method in getattr(route, "methods", None) or ()})
        )
        await JSONResponse({"detail": "Method Not Allowed"}, 405, {"allow": allow})(scope, receive, send)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers a request: the route's function, or a `Problem`."""
        handle = super().get_route_handler()

        async def handled(request: Request) -> Response:
            try:
                return await handle(request)
            except Refused as refused:
                return problem(refused.code, str(refused))
            except RequestValidationError as error:
                return problem("bad_message", request_text(error))
            except HTTPException as error:
                if error.status_code == 403:  # no such scope
                    return problem("forbidden", str(error.detail))
                if error.status_code == 400:  # a body that is no JSON, or no text
                    return problem("bad_message", "the body is no JSON object")
                raise

        return handled


def problem(code: Code, text: str) -> JSONResponse:
    """A refusal by HTTP."""
    headers = {"retry-after": "1"} if code == "busy" else None
    return JSONResponse({"detail": text, "code": code}, STATUS[code], headers)


def request_text(error: RequestValidationError) -> str:
    """The first mistake of a request, without what was sent."""
    where, what = first_mistake({**one, "loc": one["loc"][1:]} for one in error.errors())
    return f"{where}: {what}"[:500] if where else what[:500]


def add_control(app: FastAPI, context: ServerContext) -> None:
    """`/api/questions`, `/api/sources` and `/api/ask`."""

    def done(command: Command, visitor: Visitor) -> dict[str, Any]:
        return carry_out(command, visitor, context.control)

    _add_questions(app, done)
    _add_sources(app, done)
    router = APIRouter(route_class=ProblemRoute, tags=["asking"])

    @router.post("/api/ask", responses=problems_of(403, 404, 422, 502, 503))
    def ask_once(
        body: Annotated[Once, Body(openapi_examples=_ASK_EXAMPLES)], visitor: _Asker
    ) -> dict[str, Any]:
        """Ask once, of the newest frame or of one of the recent past. Needs scope `ask`.

        Gives an answer as subscribers get it, with `seq` null: it stands in no log.
        """
        question = refusing(lambda: {"settings": body.question()})["settings"]
        command = AskOnce(source=body.source, settings=question, t_s=body.t_s, at=body.at, ago_s=body.ago_s)
        return done(command, visitor)

    app.router.routes.extend(router.routes)


def problems_of(*statuses: int) -> Responses:
    """What a route may answer instead, for its schema."""
    said = {
        403: "The token's scope is too small, or the source may not be reached.",
        404: "There is no question, source or frame of that name.",
        409: "There is one of that name already.",
        422: "The settings are wrong, or not possible now.",
        502: "The model cannot answer this, or failed.",
        503: "Too much is asked at once, or the model is still being loaded.",
    }
    ours: Responses = {status: {"model": Problem, "description": said[status]} for status in statuses}
    return {**refusals(401, 413, 429), **ours}


Done = Callable[[Command, Visitor], dict[str, Any]]


def _add_questions(app: FastAPI, done: Done) -> None:
    router = APIRouter(route_class=ProblemRoute, tags=["questions"])

    @router.get("/api/questions", response_model=Questions, responses=problems_of(403, 422, 503))
    def list_questions(visitor: Reader) -> dict[str, Any]:
        """All standing questions. Needs scope `read`."""
        return {"questions": done(List(), visitor)["questions"]}

    @router.post(
        "/api/questions", status_code=201, response_model=QuestionState,
        responses=problems_of(403, 409, 422, 502, 503),
    )  # fmt: skip
    def add_question(
        body: Annotated[NewQuestion, Body(openapi_examples=_QUESTION_EXAMPLES)], visitor: Admin
    ) -> dict[str, Any]:
        """Ask a question from now on. This and all other changes need scope `admin`; each leaves a record."""
        return done(Ask(question=body.id, settings=body.settings), visitor)

    @router.put(
        "/api/questions/{id}", response_model=QuestionState,
        responses=problems_of(403, 404, 422, 502, 503),
    )  # fmt: skip
    def change_question(id: IdInPath, body: QuestionConfig, visitor: Admin) -> dict[str, Any]:
        """Put other settings in the place of those that are there; a pause stays."""
        return done(Update(question=id, settings=body.given()), visitor)

    _add_rest(router, "questions", QuestionState, done)
    app.router.routes.extend(router.routes)


def _add_sources(app: FastAPI, done: Done) -> None:
    router = APIRouter(route_class=ProblemRoute, tags=["sources"])

    @router.get("/api/sources", response_model=Sources, responses=problems_of(403, 422, 503))
    def list_sources(visitor: Reader) -> dict[str, Any]:
        """All sources, and how they are. Needs scope `read`."""
        return {"sources": done(List(), visitor)["sources"]}

    @router.post(
        "/api/sources", status_code=201, response_model=SourceState,
        responses=problems_of(403, 409, 422, 503),
    )  # fmt: skip
    def add_source(
        body: Annotated[NewSource, Body(openapi_examples=_SOURCE_EXAMPLES)], visitor: Admin
    ) -> dict[str, Any]:
        """Watch a source from now on, if `serve.add` allows its address."""
        return done(Add(source=body.id, settings=body.settings), visitor)

    @router.put("/api/sources/{id}", response_model=SourceState, responses=problems_of(403, 404, 422, 503))
    def change_source(id: IdInPath, body: SourceConfig, visitor: Admin) -> dict[str, Any]:
        """Put other settings in the place of those that are there. A URL as it was told keeps its password."""
        return done(Update(source=id, settings=body.given()), visitor)

    _add_rest(router, "sources", SourceState, done)
    app.router.routes.extend(router.routes)


def _add_rest(router: APIRouter, what: Section, state: type[BaseModel], done: Done) -> None:
    """What is the same for both."""
    path = f"/api/{what}/{{id}}"
    problems = problems_of(403, 404, 422, 503)

    @router.get(path, response_model=state, responses=problems)
    def one(id: IdInPath, visitor: Reader) -> dict[str, Any]:
        """One of them. Needs scope `read`."""
        return refusing(lambda: one_of(done(List(), visitor), what, id))

    @router.post(f"{path}/pause", response_model=state, responses=problems)
    def pause(id: IdInPath, visitor: Admin) -> dict[str, Any]:
        """Leave it alone until it is resumed."""
        return done(_target(Pause, what, id), visitor)

    @router.post(f"{path}/resume", response_model=state, responses=problems)
    def resume(id: IdInPath, visitor: Admin) -> dict[str, Any]:
        """Go on with it."""
        return done(_target(Resume, what, id), visitor)

    @router.delete(path, status_code=204, responses=problems)
    def remove(id: IdInPath, visitor: Admin) -> None:
        """Take it out. A source that a question names stays until the question goes."""
        done(_target(Remove, what, id), visitor)


def _target(kind: type[Pause] | type[Resume] | type[Remove], what: Section, name: str) -> Command:
    return kind(question=name) if what == "questions" else kind(source=name)
