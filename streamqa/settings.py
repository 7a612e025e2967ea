"""What can be set in a configuration: one frozen, strict model for each section.

Values are checked here, each by itself; `config.py` reads the file and says where in it a mistake is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from streamqa.durations import format_duration, parse_duration
from streamqa.hours import Hours, parse_hours
from streamqa.types import DEVICE_PATTERN, Box, Detail, Point, Precision, Zone

SIZE_PATTERN = r"^[1-9]\d{1,4}x[1-9]\d{1,4}$"
FOURCC_PATTERN = r"^[A-Za-z0-9 ]{4}$"


def _duration(value: Any) -> int:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value} has no unit; write 500ms, 2s or 1m")
    raise ValueError("write a duration such as 500ms, 2s or 1m")


def _positive(value: Any) -> int:
    duration_ns = 0 if value == 0 else _duration(value)
    if duration_ns == 0:
        raise ValueError(f"{value} is no interval; write how often to ask, such as 500ms or 2s")
    return duration_ns


_DURATION_SCHEMA = WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*(ms|s|m|h|d)$"})
_AS_DURATION = PlainSerializer(format_duration, return_type=str)
DurationNs = Annotated[int, BeforeValidator(_duration), _AS_DURATION, _DURATION_SCHEMA]
IntervalNs = Annotated[int, BeforeValidator(_positive), _AS_DURATION, _DURATION_SCHEMA]
Device = Annotated[str, Field(pattern=DEVICE_PATTERN)]


def _or_off(value: Any) -> int:
    return 0 if value == "off" else _positive(value)


def _duration_or_off(duration_ns: int) -> str:
    return format_duration(duration_ns) if duration_ns else "off"


def _hours(value: Any) -> Hours:
    if not isinstance(value, str):
        raise ValueError("write hours as in 22:00-06:00 Europe/Rome")
    return parse_hours(value)


def _numbers(value: Any, count: int) -> list[float]:
    if not isinstance(value, list) or len(value) != count:
        raise ValueError(f"write {count} numbers from 0 to 1")
    if any(isinstance(n, bool) or not isinstance(n, int | float) or not 0 <= n <= 1 for n in value):
        raise ValueError("these are parts of the picture's width and height: each number is from 0 to 1")
    return [float(n) for n in value]


def _rectangle(value: Any) -> Box:
    left, top, right, bottom = _numbers(value, 4)
    if left >= right or top >= bottom:
        raise ValueError("a rectangle is [left, top, right, bottom], with left < right and top < bottom")
    return Box(left, top, right, bottom)


def _zone(value: Any) -> Zone:
    if not isinstance(value, list) or not value:
        raise ValueError("write [left, top, right, bottom], or a list of corners [[x, y], …]")
    if not isinstance(value[0], list):
        box = _rectangle(value)
        xs, ys = (box.x_min, box.x_max), (box.y_min, box.y_max)
        return Zone((Point(xs[0], ys[0]), Point(xs[1], ys[0]), Point(xs[1], ys[1]), Point(xs[0], ys[1])))
    return Zone(tuple(Point(*_numbers(corner, 2)) for corner in value))


def _corners(zone: Zone) -> list[list[float]]:
    return [[corner.x, corner.y] for corner in zone.corners]


def _sides(box: Box) -> list[float]:
    return [box.x_min, box.y_min, box.x_max, box.y_max]


_NUMBERS = {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}}
_RECTANGLE_SCHEMA = {**_NUMBERS, "minItems": 4, "maxItems": 4}
_CORNERS_SCHEMA = {"type": "array", "minItems": 3, "items": {**_NUMBERS, "minItems": 2, "maxItems": 2}}
_HOURS_PATTERN = r"^\d{1,2}:\d{2}-\d{1,2}:\d{2} \S+$"
OrOffNs = Annotated[  # 0: off
    int,
    BeforeValidator(_or_off),
    PlainSerializer(_duration_or_off, return_type=str),
    _DURATION_SCHEMA,
]
When = Annotated[
    Hours,
    BeforeValidator(_hours),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _HOURS_PATTERN}),
]
Rectangle = Annotated[
    Box, BeforeValidator(_rectangle), PlainSerializer(_sides), WithJsonSchema(_RECTANGLE_SCHEMA)
]
ZoneIn = Annotated[
    Zone,
    BeforeValidator(_zone),
    PlainSerializer(_corners),
    WithJsonSchema({"anyOf": [_RECTANGLE_SCHEMA, _CORNERS_SCHEMA]}),
]
_WEBCAM = (r"webcam:|/dev/video", "webcams")
_ONLY_OF = {  # setting -> the URLs on which it has an effect, and what these are
    "transport": (r"rtsps?://", "rtsp:// sources"),
    "tls_verify": (r"(rtsp|http|rtmp)s://", "rtsps://, https:// and rtmps:// sources"),
    "hwaccel": (r"(?!webcam:|/dev/video|scene:)", "streams and recordings"),
    "size": _WEBCAM,
    "fps": _WEBCAM,
    "fourcc": _WEBCAM,
}
ZONE_HELP = "the part that is looked at: [left, top, right, bottom] or corners [[x, y], …], each from 0 to 1"
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class Strict(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def given(self) -> dict[str, Any]:
        """What was set, JSON-ready and as it would be written; from this, the same model is made again."""
        return self.model_dump(mode="json", exclude_unset=True, by_alias=True)


class Short(Strict):
    """A model that may also be written as one text, the value of its first field."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {next(iter(cls.model_fields)): value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler.resolve_ref_schema(handler(core_schema))]}


class SourceConfig(Short):
    """Where frames come from: a URL or path, or this object."""

    url: str = Field(
        min_length=1, description="rtsp://…, http(s)://…, webcam:0, scene:gate, a file or a folder"
    )
    pace: Literal["fast", "realtime"] | None = Field(
        None, description="fast: every frame counts, as a recording's; realtime: as a live source"
    )
    loop: bool = Field(False, description="files at pace realtime: start again at the end")
    priority: int = Field(
        0, ge=-100, le=100, description="higher ones are served first, even if others then starve"
    )
    detail: Detail = Field(
        "full", description="fast: the picture scaled to one crop; several times quicker, and approximate"
    )
    zone: ZoneIn | None = Field(None, description=f"{ZONE_HELP}; nothing else leaves capture")
    mask: list[Rectangle] = Field(
        default=[],
        max_length=64,
        description="rectangles [left, top, right, bottom] that are blacked out before anybody sees them",
    )
    when: When | None = Field(None, description="active hours, such as 22:00-06:00 Europe/Rome; live sources")
    stall_after: IntervalNs = Field(
        5_000_000_000, description="live: without a frame for so long, it is reported as stalled"
    )
    frozen_after: OrOffNs | None = Field(
        None, description="cameras: identical pictures for so long are reported as frozen (30s); or off"
    )
    transport: Literal["tcp", "udp"] = Field("tcp", description="rtsp: how the pictures come")
    tls_verify: bool = Field(
        True, description="rtsps, https, rtmps: refuse a certificate that nobody vouches for; false: take any"
    )
    hwaccel: Literal["auto", "cuda", "vaapi", "off"] = Field(
        "off", description="decode on a GPU where it can; falls back to the CPU, and says so"
    )
    size: str | None = Field(None, pattern=SIZE_PATTERN, description="webcams: resolution, such as 1280x720")
    fps: float | None = Field(None, gt=0, le=240, description="webcams: frames per second to ask for")
    fourcc: str | None = Field(
        None, pattern=FOURCC_PATTERN, description="webcams: pixel format to ask for, such as MJPG"
    )
    watch: bool = Field(False, description="folders: wait for new files for ever")
    interval: IntervalNs = Field(
        1_000_000_000, description="folders of images: stream time from one image to the next"
    )
    guarded: bool = Field(
        False,
        description="reach public addresses and those of serve.add.hosts only, whatever its server says; "
        "always so for sources that are added over the network",
    )
    recent: OrOffNs = Field(
        60_000_000_000, description="live: how far back a single question may look (`ask_once`); or off"
    )

    @model_validator(mode="after")
    def _loop_has_an_effect(self) -> SourceConfig:
        if self.loop and self.pace != "realtime":
            raise ValueError("loop has no effect without pace: realtime; add it, or leave loop out")
        return self

    @model_validator(mode="after")
    def _others_have_an_effect(self) -> SourceConfig:
        for name in sorted(self.model_fields_set & set(_ONLY_OF)):
            pattern, whose = _ONLY_OF[name]
            if not re.match(pattern, self.url, re.IGNORECASE):
                raise ValueError(f"{name} has an effect on {whose} only; leave it out")
        return self


class ModelConfig(Short):
    """What answers: a name, or this object."""

    name: str = Field(description="tiny or moondream2")
    path: str | None = Field(None, description="folder with model.safetensors and tokenizer.json")
    devices: list[Device] = Field(
        default=[],
        max_length=64,
        description="cpu, cuda:0…, a process each; absent: all CUDA devices, else the CPU",
    )
    isolate: bool = Field(True, description="in processes of its own, started again when one dies")
    precision: Precision = Field(
        "exact", description="int8 (CPU) and fp8 (newer GPUs) are faster and approximate; moondream2 only"
    )

    @model_validator(mode="after")
    def _processes_fit(self) -> ModelConfig:
        if len(self.devices) > 1 and not self.isolate:
            raise ValueError("several devices are a process each; leave isolate out, or name one device")
        if len(set(self.devices)) < len(self.devices):
            raise ValueError("a device is named twice; name each once")
        return self


def is_of_other_form(error: Mapping[str, Any]) -> bool:
    """Whether an error of pydantic is of a form that the value was not written in: one of several fits."""
    given, forms = error["input"], " ".join(str(part) for part in error["loc"] if isinstance(part, str))
    if error["type"] == "literal_error":
        return isinstance(given, dict)
    if error["type"] in ("model_type", "model_attributes_type"):
        return ("DecideConfig" in forms and not isinstance(given, dict)) or (
            "AlertConfig" in forms and isinstance(given, list)
        )
    return (error["type"] == "list_type" and "list[" in forms) or (
        error["type"] == "string_type" and "constrained-" in forms and isinstance(given, list)
    )


def written_path(place: Iterable[str | int]) -> tuple[str | int, ...]:
    """Where an error of pydantic is, without the names of the forms in which a question's parts may be written."""
    begins = ("literal[", "function-", "list[", "constrained-")
    names = ("DecideConfig", "AlertConfig", "literal")
    return tuple(part for part in place if part not in names and not str(part).startswith(begins))


def first_mistake(errors: Iterable[Mapping[str, Any]]) -> tuple[str, str]:
    """Where the first of pydantic's errors is, dotted, and what; never what was given: it may be a password."""
    found = list(errors)
    first = next((error for error in found if not is_of_other_form(error)), found[0])
    where = ".".join(str(part) for part in written_path(first["loc"]))
    return where, str(first["msg"]).removeprefix("Value error, ")
