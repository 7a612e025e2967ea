"""Commands carried out: the same over the websocket and by HTTP.

Who may: `list` needs scope `read`; `ask_once` needs `ask`; whatever changes a question or a source needs `admin`: it
costs all day, and everybody sees it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import ValidationError

from streamqa.capture.source import redact
from streamqa.errors import Busy, ConfigError, ModelError, NotAllowed, NotThere, StreamQAError, TakenId
from streamqa.payload import record_payload
from streamqa.question_settings import QuestionConfig
from streamqa.server.context import Control
from streamqa.server.messages import Error, Reply
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
from streamqa.server.visitor import Scope, Visitor
from streamqa.settings import SourceConfig, first_mistake
from streamqa.types import NS_PER_S, Moment

Code = Literal[
    "not_there", "taken", "not_allowed", "forbidden", "bad_message", "model", "busy", "unavailable"
]
Section = Literal["questions", "sources"]
ONCE = "ask_once"  # the question's id in the answer to a single question

_log = logging.getLogger(__name__)

_MOST_CHARACTERS = 500  # of a message


class Refused(Exception):
    """A command was not carried out; `code` is short and stable, the message one line without secrets."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(redact(" ".join(message.split()))[:_MOST_CHARACTERS])
        self.code = code


def execute(command: Command, visitor: Visitor, control: Control | None) -> Reply | Error:
    """Carry out a command of the websocket. May take seconds: not for the event loop."""
    try:
        return Reply(id=command.id, result=carry_out(command, visitor, control))
    except Refused as refused:
        return Error(id=command.id, code=refused.code, message=str(refused))
    # The supervisor of one command: whatever a mistake of ours raises, the client is told, and the connection stays.
    except Exception:
        _log.exception("the command %s failed", command.type)
        return Error(id=command.id, code="internal", message="this server failed at it; its log says why")


def carry_out(command: Command, visitor: Visitor, control: Control | None) -> dict[str, Any]:
    """Carry out a command; the result as a GET of the same gives it. May take seconds.

    Raises:
        Refused: it was not carried out, and nothing has changed.
    """
    _refuse_unless(visitor, scope_of(command))
    if control is None:
        raise Refused(
            "unavailable", "this server shows what was recorded; nothing can be changed or asked here"
        )
    return refusing(lambda: _done(command, visitor.name, control))


def scope_of(command: Command) -> Scope:
    """What a visitor must be allowed to."""
    if isinstance(command, List):
        return "read"
    return "ask" if isinstance(command, AskOnce) else "admin"


def _refuse_unless(visitor: Visitor, scope: Scope) -> None:
    """Raises Refused where `visitor` may not do what needs `scope`."""
    if not visitor.may(scope):
        raise Refused(
            "forbidden", f"this needs a token with scope {scope}; {visitor.name!r} has {visitor.scope}"
        )


def refusing(do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `do` gives; its errors of ours as `Refused`."""
    try:
        return do()
    except ValidationError as error:
        raise Refused("bad_message", validation_text(error)) from None
    except StreamQAError as error:
        raise Refused(code_of(error), str(error)) from error


def code_of(error: StreamQAError) -> Code:
    """The stable word for an error, for clients."""
    codes: tuple[tuple[type[StreamQAError], Code], ...] = (
        (NotThere, "not_there"),
        (TakenId, "taken"),
        (NotAllowed, "not_allowed"),
        (ConfigError, "bad_message"),
        (Busy, "busy"),
        (ModelError, "model"),
    )
    return next((code for kind, code in codes if isinstance(error, kind)), "unavailable")


def validation_text(error: ValidationError) -> str:
    """The first mistake that was found in settings, without what was given: it may hold a password."""
    where, what = first_mistake(dict(one) for one in error.errors(include_url=False, include_context=False))
    return f"{where}: {what}" if where else what


def moment(t_s: float | None, at: str | None, ago_s: float | None) -> Moment:
    """Which frame is meant, by at most one of these; by none: the newest.

    Raises:
        ConfigError: more than one is given, or `at` is no time.
    """
    try:
        wall = None if at is None else datetime.fromisoformat(at)
        if wall is not None and wall.tzinfo is not None:
            wall = wall.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ConfigError("at: no time; write ISO 8601 as in 2026-11-22T02:22:34Z") from None
    try:
        return Moment(_ns(t_s), wall, _ns(ago_s))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * NS_PER_S)


def one_of(described: dict[str, Any], what: Section, name: str) -> dict[str, Any]:
    """A question or a source of what `Control.describe` gives.

    Raises:
        NotThere: there is none of that name.
    """
    for entry in described[what]:
        if entry["id"] == name:
            return dict(entry)
    raise NotThere(f"{what[:-1]} {name!r}: there is no such {what[:-1]}")


def _done(command: Command, by: str, control: Control) -> dict[str, Any]:
    if isinstance(command, List):
        return control.describe()
    if isinstance(command, AskOnce):
        return _asked_once(command, control)
    if isinstance(command, Add):
        control.add_source(command.source, command.settings, by)
        return one_of(control.describe(), "sources", command.source)
    if isinstance(command, Ask):
        control.add_question(command.question, command.settings, by)
        return one_of(control.describe(), "questions", command.question)
    if command.question is not None:
        _change_question(command, command.question, by, control)
        return _left(command, "questions", command.question, control)
    assert command.source is not None, "the message names one of both"
    _change_source(command, command.source, by, control)
    return _left(command, "sources", command.source, control)


def _left(command: Command, what: Section, name: str, control: Control) -> dict[str, Any]:
    return {"id": name} if isinstance(command, Remove) else one_of(control.describe(), what, name)


def _change_question(command: Update | Pause | Resume | Remove, name: str, by: str, control: Control) -> None:
    if isinstance(command, Update):
        control.change_question(name, QuestionConfig.model_validate(command.settings), by)
    elif isinstance(command, Pause):
        control.pause_question(name, by)
    elif isinstance(command, Resume):
        control.resume_question(name, by)
    else:
        control.remove_question(name, by)


def _change_source(command: Update | Pause | Resume | Remove, name: str, by: str, control: Control) -> None:
    if isinstance(command, Update):
        control.change_source(name, SourceConfig.model_validate(command.settings), by)
    elif isinstance(command, Pause):
        control.pause_source(name, by)
    elif isinstance(command, Resume):
        control.resume_source(name, by)
    else:
        control.remove_source(name, by)


def _asked_once(command: AskOnce, control: Control) -> dict[str, Any]:
    when = moment(command.t_s, command.at, command.ago_s)
    answer = control.ask_once(command.source, command.settings.question(ONCE), when)
    payload = record_payload(answer)
    return {"type": payload.pop("type"), "seq": None, **payload}
