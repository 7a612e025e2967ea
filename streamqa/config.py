"""The configuration: YAML in, frozen and strictly checked models out.

The only module that reads configuration files and the environment. All mistakes of a file are reported at once,
each with file, line and column.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from streamqa.answers import check_question, question_problems
from streamqa.durations import parse_duration
from streamqa.errors import ConfigError
from streamqa.types import DEVICE_ADVICE, DEVICE_PATTERN, Detail, Gate, Kind, Precision, Question
from streamqa.yaml_nodes import Document, parse

_MAX_FILE_BYTES = 1_000_000
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


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
DurationNs = Annotated[int, BeforeValidator(_duration), _DURATION_SCHEMA]
IntervalNs = Annotated[int, BeforeValidator(_positive), _DURATION_SCHEMA]
Device = Annotated[str, Field(pattern=DEVICE_PATTERN)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class _Strict(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Short(_Strict):
    """A model that may also be written as one text, the value of its first field."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {next(iter(cls.model_fields)): value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string"}, handler.resolve_ref_schema(handler(core_schema))]}


class SourceConfig(_Short):
    """Where frames come from: a URL or path, or this object."""

    url: str = Field(min_length=1, description="rtsp://…, http(s)://…, webcam:0, scene:gate, or a file")
    pace: Literal["fast", "realtime"] = Field("fast", description="files: all frames, or as a live source")
    loop: bool = Field(False, description="files at pace realtime: start again at the end")
    priority: int = Field(
        0, ge=-100, le=100, description="higher ones are served first, even if others then starve"
    )
    detail: Detail = Field(
        "full", description="fast: the picture scaled to one crop; several times quicker, and approximate"
    )

    @model_validator(mode="after")
    def _loop_has_an_effect(self) -> SourceConfig:
        if self.loop and self.pace != "realtime":
            raise ValueError("loop has no effect without pace: realtime; add it, or leave loop out")
        return self


class DecideConfig(_Strict):
    """At least k of the last n readings."""

    k_of_n: Annotated[list[Annotated[int, Field(ge=1, le=1000)]], Field(min_length=2, max_length=2)]


class GateConfig(_Strict):
    """Take over the last answer while the picture has not changed: approximate. Or only the threshold."""

    threshold: float = Field(
        ge=0,
        le=1,
        description="mean change in brightness of the part that changed most, 0…1; 0.02 is a start",
    )
    refresh: IntervalNs = Field(30_000_000_000, description="ask again after so long in any case")
    audit: float = Field(
        0.05, ge=0, le=1, description="how often to ask all the same, 0…1, to measure what the gate costs"
    )

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: Any) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {"threshold": value}
        if not isinstance(value, dict):
            raise ValueError("write a threshold such as 0.02, or threshold, refresh and audit")
        return value

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "number"}, handler.resolve_ref_schema(handler(core_schema))]}

    def gate(self) -> Gate:
        """The gate as the engine knows it."""
        return Gate(self.threshold, self.refresh, self.audit)


class QuestionConfig(_Strict):
    """A standing question."""

    ask: str = Field(description="the question, in plain words")
    kind: Kind = Field("text", description="what an answer is")
    every: IntervalNs = Field(1_000_000_000, description="the slide: how often to ask")
    window: DurationNs = Field(
        0, description="how far back readings count in the decision; 0s: only this frame"
    )
    decide: Literal["latest", "majority", "any", "all", "mean"] | DecideConfig = Field("latest")
    sources: list[str] | None = Field(None, description="ids of the sources to ask it of; absent: all")
    choices: list[str] = Field(default=[], description="kind choice: the closed list")
    max: int = Field(9, ge=1, le=100, description="kind number: the closed list is 0…max")
    max_tokens: int = Field(64, ge=1, le=768, description="of a free answer")
    gate: GateConfig | None = Field(
        None, description="take over the last answer while the picture has not changed; absent: always ask"
    )

    def question(self, question_id: str) -> Question:
        """The question as the engine knows it."""
        k_of_n = None
        if isinstance(self.decide, DecideConfig):
            k_of_n = (self.decide.k_of_n[0], self.decide.k_of_n[1])
        return Question(
            id=question_id,
            ask=self.ask,
            kind=self.kind,
            every_ns=self.every,
            window_ns=self.window,
            decide="k_of_n" if isinstance(self.decide, DecideConfig) else self.decide,
            k_of_n=k_of_n,
            sources=None if self.sources is None else tuple(self.sources),
            choices=tuple(self.choices),
            max=self.max,
            max_tokens=self.max_tokens,
            gate=self.gate.gate() if self.gate else None,
        )


class ServeConfig(_Strict):
    """Where subscribers connect."""

    host: str = Field("127.0.0.1", description="a loopback address")
    port: int = Field(8765, ge=0, le=65535, description="0: any free port")

    @model_validator(mode="after")
    def _loopback_only(self) -> ServeConfig:
        if self.host not in _LOOPBACK:
            raise ValueError(
                f"host {self.host!r} is open to the network and there is no authentication yet; "
                "serve on 127.0.0.1 and put a reverse proxy with a password before it"
            )
        return self


class LogConfig(_Strict):
    """Where records are kept."""

    path: str = Field(
        "answers.db", min_length=1, description="the SQLite file; relative to where streamqa runs"
    )


class ModelConfig(_Short):
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


class Config(_Strict):
    """Everything that `streamqa run` needs."""

    model: ModelConfig = Field(default=ModelConfig(name="moondream2"))
    sources: dict[Id, SourceConfig] = Field(default={}, max_length=256)
    questions: dict[Id, QuestionConfig] = Field(default={}, max_length=1024)
    serve: ServeConfig = ServeConfig()
    log: LogConfig = LogConfig()

    def standing(self) -> tuple[Question, ...]:
        """The questions as the engine knows them, in the order of the file."""
        return tuple(item.question(name) for name, item in self.questions.items())


def load_config(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read and check a configuration file.

    Raises:
        ConfigError: unreadable or wrong; one line for each mistake, as `file:line:column: what`.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); give a YAML configuration file"
        ) from None
    if len(raw) > _MAX_FILE_BYTES:
        raise ConfigError(f"{path}: {len(raw)} bytes; a configuration has at most {_MAX_FILE_BYTES}")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    return parse_config(text, str(path), environ)


def parse_config(text: str, name: str = "config", environ: Mapping[str, str] = os.environ) -> Config:
    """Check a configuration's text; `name` stands before each mistake.

    Raises:
        ConfigError: as `load_config`.
    """
    document = parse(text, environ)
    problems = list(document.problems)
    config: Config | None = None
    if document.data is None and not problems:
        problems.append(((1, 1), "empty; it needs at least sources and questions"))
    if document.data is not None:
        try:
            config = Config.model_validate(document.data)
        except ValidationError as error:
            problems += [_explained(e, document) for e in error.errors(include_url=False) if not _beside(e)]
        problems += _crosswise(document)
    if problems:
        lines = sorted(set(problems))
        raise ConfigError("\n".join(f"{name}:{line}:{column}: {what}" for (line, column), what in lines))
    assert config is not None
    return config


def config_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file, for editors."""
    schema = Config.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "streamqa configuration"
    return schema


def schema_text() -> str:
    """`config_schema` as the file in `configs/` holds it."""
    return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"


def _beside(error: Any) -> bool:
    """Whether an error is of the form that `decide` was not written in: a word or an object, one of them fits."""
    written_as_object = isinstance(error["input"], dict)
    if error["type"] == "literal_error":
        return written_as_object
    return error["type"] == "model_type" and "DecideConfig" in error["loc"] and not written_as_object


def _explained(error: Any, document: Document) -> tuple[tuple[int, int], str]:
    """A pydantic error as a place and a sentence."""
    path = tuple(part for part in error["loc"] if part not in ("[key]", "DecideConfig", "literal"))
    path = tuple(p for p in path if not str(p).startswith(("literal[", "function-")))
    dotted = ".".join(str(part) for part in path) or "the file"
    if error["type"] == "extra_forbidden":
        hint = _suggestion(str(path[-1]), _known_keys(path))
        return document.position(path, key=True), f"{dotted}: unknown key{hint}"
    if error["type"] == "missing":
        return document.position(path[:-1]), f"{dotted}: missing"
    if "[key]" in error["loc"]:
        what = "an id has 1 to 64 letters, digits, '_', '-' or '.', and begins with a letter or a digit"
        return document.position(path, key=True), f"{dotted}: {what}"
    return document.position(path), f"{dotted}: {_words(error)}"


def _words(error: Any) -> str:
    """What pydantic found, and what to write instead; a value is never quoted, it may hold a secret."""
    if error["type"] in ("dict_type", "model_type"):
        return "empty" if error["input"] is None else "needs lines of the form `key: value`"
    if error["type"] == "string_type" and not isinstance(error["input"], dict | list):
        return "is no text; put it in quotes"
    if error["type"] == "string_pattern_mismatch":  # of a device: the only other pattern is that of a key
        return DEVICE_ADVICE
    return str(error["msg"]).removeprefix("Value error, ")


def _known_keys(path: tuple[Any, ...]) -> list[str]:
    """The keys that may stand where `path` ends."""
    sections: dict[str, type[BaseModel]] = {
        "sources": SourceConfig,
        "questions": QuestionConfig,
        "serve": ServeConfig,
        "log": LogConfig,
        "model": ModelConfig,
    }
    section = sections.get(str(path[0])) if len(path) > 1 else Config
    if section is QuestionConfig and len(path) > 3:
        section = GateConfig if path[2] == "gate" else DecideConfig
    return list(section.model_fields) if section else []


def _suggestion(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"


def _crosswise(document: Document) -> list[tuple[tuple[int, int], str]]:
    """Mistakes that no single key shows: unknown sources, and parts of a question that do not go together.

    Works on the plain data, question by question, so that one bad question does not hide the mistakes of others.
    """
    data = document.data if isinstance(document.data, dict) else {}
    sources, questions = data.get("sources"), data.get("questions")
    problems: list[tuple[tuple[int, int], str]] = []
    for name, item in questions.items() if isinstance(questions, dict) else ():
        try:
            question = QuestionConfig.model_validate(item).question(str(name))
        except ValidationError:
            question = None  # reported by the validation of the whole file
        for problem in question_problems(question) if question else ():
            place = document.position(("questions", name, problem.field))
            problems.append((place, f"questions.{name}.{problem.field}: {problem.message}"))
        asked = item.get("sources") if isinstance(item, dict) else None
        if asked == []:
            place = document.position(("questions", name, "sources"))
            problems.append(
                (place, f"questions.{name}.sources: empty, so it would never be asked; name some")
            )
        for index, source in enumerate(asked if isinstance(asked, list) else ()):
            if isinstance(source, str) and isinstance(sources, dict) and source not in sources:
                place = document.position(("questions", name, "sources", index))
                hint = _suggestion(str(source), [str(s) for s in sources])
                problems.append((place, f"questions.{name}.sources: unknown source {source!r}{hint}"))
    return problems


def questions_from_texts(
    texts: Iterable[str], kind: str, choices: list[str], every: str
) -> tuple[Question, ...]:
    """Standing questions from a command line; ids are q1, q2, …

    Raises:
        ConfigError: a text, the kind, the choices or the interval is wrong.
    """
    common: dict[str, Any] = {"kind": kind, "choices": choices, "every": every}
    try:
        items = [QuestionConfig.model_validate({"ask": text, **common}) for text in texts]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"--{where}: {_words(first)}") from None
    questions = tuple(item.question(f"q{number}") for number, item in enumerate(items, 1))
    for question in questions:
        check_question(question)
    return questions
