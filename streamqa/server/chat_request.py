"""What a chat request of the OpenAI shape asks of this server: one question about at most one picture. Pure.

Other fields than those here are accepted and have no effect, as clients send many. What would change what an answer
is (several choices, tools, a forced format, stop words) is refused rather than left out in silence; what would only
flavour it is named in the answer's `streamqa.ignored`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field

from streamqa.durations import parse_duration
from streamqa.errors import ConfigError
from streamqa.types import NS_PER_S

MOST_TOKENS = 768  # of an answer; a larger wish counts as this
DEFAULT_TOKENS = 256

_SCHEME = "streamqa://"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_DATA = re.compile(r"data:image/(?:jpeg|jpg|png);base64,", re.IGNORECASE)
_ADVICE = "write streamqa://SOURCE, streamqa://SOURCE?ago=5s, ?t=12.5 or ?at=2026-11-22T02:22:34Z"


class _Received(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class ImageUrl(_Received):
    """Where a picture is."""

    url: str = Field(description=f"{_ADVICE}, or data:image/jpeg;base64,… (or png); nothing is ever fetched")


class TextPart(_Received):
    """Words."""

    type: Literal["text"]
    text: str = Field(max_length=100_000)


class ImagePart(_Received):
    """A picture."""

    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class ChatMessage(_Received):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[Part], Field(max_length=64)] | None = None


class StreamOptions(_Received):
    """Of an answer in pieces."""

    include_usage: bool = False


class ChatRequest(_Received):
    """The fields of a chat completion that count here."""

    model: str = Field(max_length=200, description="as GET /v1/models names it")
    messages: list[ChatMessage] = Field(
        min_length=1, max_length=256, description="the texts of the last user message are the question"
    )
    max_tokens: int | None = Field(None, ge=1, description=f"of the answer; at most {MOST_TOKENS} count")
    max_completion_tokens: int | None = Field(None, ge=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = Field(None, description="1")
    temperature: float | None = Field(None, description="no effect: answers are always the likeliest ones")
    top_p: float | None = Field(None, description="no effect")
    stop: str | list[str] | None = Field(None, description="null")
    tools: list[Any] | None = Field(None, description="none")
    functions: list[Any] | None = Field(None, description="none")
    response_format: dict[str, Any] | None = Field(None, description='{"type": "text"}')
    logprobs: bool | None = Field(None, description="false; see streamqa.confidence")


@dataclass(frozen=True, slots=True)
class SourceImage:
    """A frame of a source; at most one of the rest is given, none: the newest."""

    source: str
    t_s: float | None = None
    at: str | None = None
    ago_s: float | None = None


@dataclass(frozen=True, slots=True)
class DataImage:
    """A picture that came along."""

    base64: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked."""

    text: str
    image: SourceImage | DataImage | None  # None: text only
    max_tokens: int
    ignored: tuple[str, ...]  # what was given and has no effect


def wish_of(request: ChatRequest) -> Wish:
    """What `request` asks.

    Raises:
        ConfigError: what cannot be done here.
    """
    _refuse_what_changes_the_answer(request)
    asked = [message for message in request.messages if message.role == "user"]
    if not asked:
        raise ConfigError("messages: none has the role user; the last such message is the question")
    text = "\n".join(_texts(asked[-1])).strip()
    if not text:
        raise ConfigError("messages: the last user message has no text; ask something")
    urls = [url for message in request.messages for url in _image_urls(message)]
    if len(urls) > 1:
        raise ConfigError(
            f"messages: {len(urls)} images; the model looks at one picture at a time, so send one"
        )
    wished = request.max_completion_tokens or request.max_tokens or DEFAULT_TOKENS
    image = image_of(urls[0]) if urls else None
    return Wish(text, image, min(wished, MOST_TOKENS), tuple(_without_effect(request)))


def image_of(url: str) -> SourceImage | DataImage:
    """The picture that `url` names.

    Raises:
        ConfigError: it is of another kind; nothing is fetched for anybody.
    """
    if url.startswith(_SCHEME):
        return _source_image(url.removeprefix(_SCHEME))
    if found := _DATA.match(url):
        return DataImage(url[found.end() :])
    if re.match(r"https?:", url, re.IGNORECASE):
        raise ConfigError(
            "image_url: addresses are not fetched, or anybody could make this server ask others for things; "
            f"send the picture as data:image/jpeg;base64,…, or {_ADVICE}"
        )
    raise ConfigError(
        f"image_url: no picture that is known here; {_ADVICE}, or data:image/jpeg;base64,… or png"
    )


def _source_image(rest: str) -> SourceImage:
    name, _, query = rest.partition("?")
    name = unquote(name.removesuffix("/"))
    if not _NAME.fullmatch(name):
        raise ConfigError(f"image_url: no source's name; {_ADVICE}")
    given = [part.partition("=")[::2] for part in query.split("&") if part]
    if len(given) > 1 or any(key not in ("t", "at", "ago") for key, _ in given):
        raise ConfigError(f"image_url: at most one of t, at and ago; {_ADVICE}")
    if not given:
        return SourceImage(name)
    key, value = given[0][0], unquote(given[0][1])  # as a plus is part of a time zone, it is no space here
    if key == "at":
        return SourceImage(name, at=value[:40])
    try:
        if key == "ago":
            return SourceImage(name, ago_s=parse_duration(value) / NS_PER_S)
        t_s = float(value)
    except ValueError as error:
        raise ConfigError(f"image_url: {key}: {error}") from None
    if not (math.isfinite(t_s) and 0 <= t_s <= 1e9):
        raise ConfigError("image_url: t: give seconds of stream time, 0 or more")
    return SourceImage(name, t_s=t_s)


def _refuse_what_changes_the_answer(request: ChatRequest) -> None:
    checks = (
        ("n", request.n not in (None, 1), "one answer is all there is; leave it out"),
        ("tools", bool(request.tools or request.functions), "the model cannot call any; leave them out"),
        (
            "response_format",
            (request.response_format or {"type": "text"}).get("type") != "text",
            "answers are plain text here; for lists of answers use POST /api/ask with kind choice",
        ),
        ("stop", bool(request.stop), "answers cannot be stopped at a word; leave it out"),
        ("logprobs", bool(request.logprobs), "not given; streamqa.confidence is the mean token probability"),
    )
    for field, is_wrong, what in checks:
        if is_wrong:
            raise ConfigError(f"{field}: {what}")


def _without_effect(request: ChatRequest) -> Iterator[str]:
    roles = [message.role for message in request.messages]
    if "system" in roles or "developer" in roles:
        yield "system messages"
    if "assistant" in roles or roles.count("user") > 1:
        yield "earlier turns"
    if request.temperature:
        yield "temperature"
    if request.top_p not in (None, 1):
        yield "top_p"


def _texts(message: ChatMessage) -> Iterator[str]:
    if isinstance(message.content, str):
        yield message.content
    for part in message.content or ():
        if isinstance(part, TextPart):
            yield part.text


def _image_urls(message: ChatMessage) -> Iterator[str]:
    for part in message.content or ():
        if isinstance(part, ImagePart):
            yield part.image_url.url
