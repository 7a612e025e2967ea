"""The configuration: YAML in, frozen and strictly checked models out.

The only module that reads configuration files and the environment. All mistakes of a file are reported at once,
each with file, line and column.
"""

from __future__ import annotations

import difflib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError, field_validator

from streamqa.errors import ConfigError
from streamqa.question_settings import AlertConfig, DecideConfig, GateConfig, QuestionConfig
from streamqa.questions import Problem, check_question, question_problems, together_problems
from streamqa.service_settings import (
    TOKEN_NAME_PATTERN,
    LogConfig,
    ReachConfig,
    ServeConfig,
    TlsConfig,
    TokenConfig,
    check_tokens,
    token_problem,
)
from streamqa.settings import (
    FOURCC_PATTERN,
    SIZE_PATTERN,
    Id,
    ModelConfig,
    SourceConfig,
    Strict,
    is_of_other_form,
    written_path,
)
from streamqa.sink_settings import KINDS, MOST_SINKS, SinkConfig, sink_ids
from streamqa.types import DEVICE_ADVICE, DEVICE_PATTERN, Question
from streamqa.yaml_nodes import Document, parse

MAX_FILE_BYTES = 1_000_000
_MAX_TOKEN_BYTES = 4096
_logger = logging.getLogger(__name__)
_PATTERNS = {
    DEVICE_PATTERN: DEVICE_ADVICE,
    SIZE_PATTERN: "write a size as in 1280x720",
    TOKEN_NAME_PATTERN: "a name has 1 to 64 letters, digits, '_', '-' or '.', and begins with a letter or a digit",
    FOURCC_PATTERN: "a pixel format has four letters or digits, such as MJPG",
}


class Config(Strict):
    """Everything that `streamqa run` needs."""

    model: ModelConfig = Field(default=ModelConfig(name="moondream2"))
    sources: dict[Id, SourceConfig] = Field(default={}, max_length=256)
    questions: dict[Id, QuestionConfig] = Field(default={}, max_length=1024)
    serve: ServeConfig = ServeConfig()
    log: LogConfig = LogConfig()
    sinks: list[SinkConfig] = Field(
        default=[], max_length=MOST_SINKS, description="where else records go: mqtt, webhook, notify, jsonl"
    )

    @field_validator("sinks")
    @classmethod
    def _one_id_each(cls, value: list[SinkConfig]) -> list[SinkConfig]:
        sink_ids(value)
        return value

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
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{path}: {len(raw)} bytes; a configuration has at most {MAX_FILE_BYTES}")
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
            problems += [
                _explained(e, document) for e in error.errors(include_url=False) if not is_of_other_form(e)
            ]
        problems += _crosswise(document)
    if problems:
        lines = sorted(set(problems))
        raise ConfigError("\n".join(f"{name}:{line}:{column}: {what}" for (line, column), what in lines))
    assert config is not None
    return config


def read_tokens(serve: ServeConfig) -> tuple[TokenConfig, ...]:
    """The tokens with their secrets in them: those in files are read.

    A file that others on this machine can read is told as a warning: secrets of Docker and Kubernetes are such files.

    Raises:
        ConfigError: a file cannot be read, or what is in it is no good secret; nothing of it is quoted.
    """
    tokens = tuple(
        token if token.file is None else _from_file(token, Path(token.file)) for token in serve.tokens
    )
    try:
        check_tokens(tokens)
    except ValueError as error:
        raise ConfigError(f"serve.tokens: {error}") from None
    return tokens


def _from_file(token: TokenConfig, path: Path) -> TokenConfig:
    try:
        with path.open("rb") as file:
            mode, raw = os.fstat(file.fileno()).st_mode, file.read(_MAX_TOKEN_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"serve.tokens: {path}: cannot be read ({error.strerror}); check file:") from None
    secret = raw.decode("latin-1").strip()  # other characters than ASCII are refused below
    problem = token_problem(secret)
    if problem:
        raise ConfigError(f"serve.tokens: {path}: token {token.name!r} {problem}")
    if mode & 0o077:
        _logger.warning("%s: others on this machine can read this token; chmod 600 keeps it yours", path)
    return token.model_copy(update={"token": secret, "file": None})


def config_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file, for editors."""
    schema = Config.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "streamqa configuration"
    return schema


def schema_text() -> str:
    """`config_schema` as the file in `configs/` holds it."""
    return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"


# What pydantic puts into a place to say which form of a value it tried.
_FORMS = {"[key]", *(sink.__name__ for sink in KINDS.values())}


def _explained(error: Any, document: Document) -> tuple[tuple[int, int], str]:
    """A pydantic error as a place and a sentence."""
    path = tuple(part for part in written_path(error["loc"]) if part not in _FORMS)
    dotted = ".".join(str(part) for part in path) or "the file"
    if error["type"] == "extra_forbidden":
        hint = _suggestion(str(path[-1]), _known_keys(path, document))
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
    if error["type"] == "string_pattern_mismatch":  # that of a key is explained elsewhere
        return _PATTERNS[str(error["ctx"]["pattern"])]
    return str(error["msg"]).removeprefix("Value error, ")


def _known_keys(path: tuple[Any, ...], document: Document) -> list[str]:
    """The keys that may stand where `path` ends."""
    section = _section(path, document)
    return [field.alias or name for name, field in section.model_fields.items()] if section else []


def _section(path: tuple[Any, ...], document: Document) -> type[BaseModel] | None:
    """What `path` ends in."""
    if len(path) < 2:
        return Config
    top = str(path[0])
    if top == "questions" and len(path) > 3:
        inside: dict[str, type[BaseModel]] = {"gate": GateConfig, "alert": AlertConfig}
        return inside.get(str(path[2]), DecideConfig)
    if top == "serve" and len(path) > 2:
        inside = {"tokens": TokenConfig, "tls": TlsConfig, "add": ReachConfig}
        return inside.get(str(path[1]))
    if top == "sinks":
        written = document.data["sinks"][path[1]]
        return next((KINDS[kind] for kind in KINDS if kind in written), None)
    sections: dict[str, type[BaseModel]] = {
        "sources": SourceConfig,
        "questions": QuestionConfig,
        "serve": ServeConfig,
        "log": LogConfig,
        "model": ModelConfig,
    }
    return sections.get(top)


def _suggestion(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(known)}"


_Told = tuple[tuple[int, int], str]  # a place in the file, and what is wrong there


def _crosswise(document: Document) -> list[_Told]:
    """Mistakes that no single key shows: unknown sources, and parts of a question that do not go together.

    Works on the plain data, question by question, so that one bad question does not hide the mistakes of others.
    """
    data = document.data if isinstance(document.data, dict) else {}
    sources, questions = data.get("sources"), data.get("questions")
    told: list[_Told] = []
    whole: list[Question] = []
    for name, item in questions.items() if isinstance(questions, dict) else ():
        try:
            question = QuestionConfig.model_validate(item).question(str(name))
        except ValidationError:  # reported by the validation of the whole file
            pass
        else:
            whole.append(question)
            told += [_told(document, question.id, problem) for problem in question_problems(question)]
        told += _unknown_sources(document, name, item, sources)
    # Where one is wrong, others may seem to name what is not there.
    if isinstance(questions, dict) and len(whole) == len(questions):
        told += [_told(document, name, problem) for name, problem in together_problems(whole)]
    return told


def _told(document: Document, name: str, problem: Problem) -> _Told:
    place = document.position(("questions", name, problem.field))
    return place, f"questions.{name}.{problem.field}: {problem.message}"


def _unknown_sources(document: Document, name: str, item: Any, sources: Any) -> Iterator[_Told]:
    asked = item.get("sources") if isinstance(item, dict) else None
    if asked == []:
        place = document.position(("questions", name, "sources"))
        yield place, f"questions.{name}.sources: empty, so it would never be asked; name some"
    for index, source in enumerate(asked if isinstance(asked, list) else ()):
        if isinstance(source, str) and isinstance(sources, dict) and source not in sources:
            place = document.position(("questions", name, "sources", index))
            hint = _suggestion(str(source), [str(s) for s in sources])
            yield place, f"questions.{name}.sources: unknown source {source!r}{hint}"


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
