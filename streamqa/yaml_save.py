"""Changes written into the configuration file itself, as its owner would have: `streamqa run --save`.

Only what differs is touched: comments, order, quotes and `${NAME}` stay. The text is loaded again before it takes the
file's place; it must say what was there with the change in it and nothing else, or nothing is written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark, YAMLError
from ruamel.yaml.representer import RoundTripRepresenter
from ruamel.yaml.scalarstring import DoubleQuotedScalarString
from ruamel.yaml.tokens import CommentToken

from streamqa.config import MAX_FILE_BYTES, Config, parse_config
from streamqa.errors import ConfigError, StreamQAError
from streamqa.question_settings import QuestionConfig
from streamqa.replacing import replacing
from streamqa.settings import SourceConfig
from streamqa.standing import ChangesFile, Entry, Standing, as_configured

S = TypeVar("S", QuestionConfig, SourceConfig)

# Everything else stands in quotes, so that no loader can take it for a number, a date or a boolean.
_PLAIN = re.compile(
    r"(?!(?:true|false|null|yes|no|on|off|y|n)$)[A-Za-z][\w./:-]*\w|\d+(\.\d+)?(ms|s|m|h|d)", re.I
)
_BEHIND = 2  # where ruamel keeps the comment behind a key's value, with the lines up to the next key
_FIRST = 3  # where it keeps those above the first key of a key's value


class _Representer(RoundTripRepresenter):
    """Writes numbers as every loader reads them: 1e-05 would be a text to one of YAML 1.1."""


def _decimal(representer: RoundTripRepresenter, value: float) -> Any:
    text = f"{Decimal(repr(value)):f}"
    return representer.represent_scalar("tag:yaml.org,2002:float", text if "." in text else f"{text}.0")


_Representer.add_representer(float, _decimal)


class ConfigurationFile:
    """A store that writes changes into a configuration; pauses, which have no setting, into the file of changes."""

    def __init__(self, path: Path, config: Config, changes: ChangesFile) -> None:
        """`config`: as `path` was loaded."""
        self._path, self._config, self._changes = path, config, changes

    @property
    def standing(self) -> Standing:
        """As it was saved last."""
        return self._changes.standing

    @contextmanager
    def saving(self, standing: Standing) -> Iterator[None]:
        """As `standing.Store`.

        Raises:
            StreamQAError: the file cannot be written, or what it says now is wrong.
        """
        try:
            text = self._path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise StreamQAError(
                f"{self._path} cannot be read ({error}), so nothing has been changed"
            ) from None
        written = with_changes(text, self._config, standing, str(self._path))
        config = Config.model_construct(
            **{
                **dict(self._config),
                "questions": {name: entry.settings for name, entry in standing.questions.items()},
                "sources": standing.watched(),
            }
        )
        # The one of the file is inside: it is replaced first.
        with self._changes.saving(standing, config), replacing(self._path, written.encode()):
            yield
        self._config = config


def save_questions(path: Path, read: bytes, config: Config, questions: Mapping[str, QuestionConfig]) -> None:
    """Write settings of questions into a configuration that still says what it said: `read`, loaded as `config`.

    Raises:
        ConfigError: the file is another one by now, or the change cannot be written into it.
        StreamQAError: the file cannot be written.
    """
    standing = as_configured(config)
    entries = {name: Entry(item) for name, item in questions.items()}
    wanted = Standing({**standing.questions, **entries}, standing.sources)
    text = read.decode("utf-8")
    line_end = "\r\n" if "\r\n" in text else "\n"
    written = with_changes(text.replace("\r\n", "\n"), config, wanted, str(path)).replace("\n", line_end)
    with replacing(path, written.encode()):
        try:
            now = path.read_bytes()
        except OSError:
            now = b""
        if now != read:
            raise ConfigError(f"{path} has been changed meanwhile, so nothing has been written; start again")


def with_changes(
    text: str, config: Config, standing: Standing, name: str, environ: Mapping[str, str] = os.environ
) -> str:
    """The text of a configuration in which the entries in which `standing` differs from `config` say what it says.

    Raises:
        ConfigError: that text would not load, or would say something else.
    """
    there = parse_config(text, name, environ)
    try:
        changed = _changed(text, config, standing)
    except (YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        what = type(error).__name__
        raise ConfigError(f"{name}: the change cannot be written here ({what}); edit the file") from None
    if len(changed.encode()) > MAX_FILE_BYTES:
        raise ConfigError(
            f"{name}: would be larger than the {MAX_FILE_BYTES} bytes that a configuration may have"
        )
    expected = (
        _expected(there.questions, config.questions, standing.questions),
        _expected(there.sources, config.sources, standing.sources),
    )
    try:
        again = parse_config(changed, name, environ)
    except ConfigError as error:
        raise ConfigError(f"with this change the configuration would not load: {error}") from None
    rest = {"questions", "sources"}
    if (again.questions, again.sources) != expected or again.model_dump(exclude=rest) != there.model_dump(
        exclude=rest
    ):
        raise ConfigError(
            f"{name}: the change cannot be written here without saying something else, as with ${{…}} in a text, or "
            "an entry that is an alias of another; edit the file"
        )
    return changed


def _expected(
    there: Mapping[str, S], config: Mapping[str, S], standing: Mapping[str, Entry[S]]
) -> dict[str, S]:
    expected = dict(there)
    for name, old, new in _differing(config, standing):
        if new is not None:
            expected[name] = new
        elif old is not None:
            expected.pop(name, None)
    return expected


def _differing(
    config: Mapping[str, S], standing: Mapping[str, Entry[S]]
) -> Iterator[tuple[str, S | None, S | None]]:
    """Name, settings in the configuration and settings now; None where there are none."""
    for name, old in config.items():
        new = standing[name].settings if name in standing else None
        if new != old:
            yield name, old, new
    for name, entry in standing.items():
        if name not in config:
            yield name, None, entry.settings


def _changed(text: str, config: Config, standing: Standing) -> str:
    yaml = YAML()
    yaml.Representer = _Representer
    yaml.preserve_quotes = True
    yaml.width = 10**6
    root = yaml.load(text)
    for key, changes in (
        ("sources", list(_differing(config.sources, standing.sources))),
        ("questions", list(_differing(config.questions, standing.questions))),
    ):
        if changes and not isinstance(root.get(key), CommentedMap):
            root[key] = CommentedMap()
        for name, old, new in changes:
            if new is None:
                _remove(root, key, root[key], name)
            elif old is None or _key(root[key], name) is None:
                _put(root[key], name, _entry(new.given()))
            else:
                _update(root[key], name, old.given(), new.given())
    _keep_indent(yaml, root)
    out = StringIO()
    yaml.dump(root, out)
    return out.getvalue()


def _keep_indent(yaml: YAML, root: CommentedMap) -> None:
    for value in root.values():
        if isinstance(value, CommentedMap) and value and not value.fa.flow_style():
            yaml.indent(mapping=value.lc.col)
            return


def _key(section: CommentedMap, name: str) -> Any:
    """The key that is written so: ruamel makes numbers of some."""
    return next((key for key in section if str(key) == name), None)


def _put(section: CommentedMap, key: Any, node: Any) -> None:
    """Put a value in its place, or behind the last one, above the comments that stood there."""
    before = key if key in section else next(reversed(section), None)
    below = "" if before is None else _cut_below(section, before)
    section[key] = node
    _append_below(section, key, below)


def _update(section: CommentedMap, name: str, old: dict[str, Any], new: dict[str, Any]) -> None:
    key = _key(section, name)
    entry = section[key]
    if not isinstance(entry, CommentedMap):  # written as one text
        if new.keys() == {"url"}:
            section[key] = _entry(new)
            return
        whole = _node({"url": new["url"]})
        if new["url"] == old["url"]:
            whole["url"] = entry
        section[key] = entry = whole
    for inner in [inner for inner in entry if str(inner) not in new]:
        _remove(section, key, entry, str(inner))
    for inner, value in new.items():
        if inner not in entry or value != old.get(inner):
            _put(entry, inner, _node(value))


def _remove(parent: CommentedMap, parent_key: Any, section: CommentedMap, name: str) -> None:
    """Without this entry, but with the comments between it and the next one, which are about the next one."""
    key = _key(section, name)
    if key is None:
        return  # somebody has edited the file
    keys = list(section)
    at = keys.index(key)
    below = _cut_below(section, key)
    del section[key]
    if at:
        _append_below(section, keys[at - 1], below)
        return
    slots = parent.ca.items.setdefault(parent_key, [None, None, None, None])
    lines = [*(token.value.strip() for token in slots[_FIRST] or []), *map(str.strip, below.splitlines())]
    slots[_FIRST] = None
    mark = CommentMark(section.lc.col)
    if section:
        slots[_FIRST] = [CommentToken(line + "\n", mark, None) for line in lines]
    else:
        section.fa.set_flow_style()
        slots[_BEHIND] = CommentToken("\n".join(["", *lines, ""]), mark, None)


def _last(section: Any, key: Any) -> tuple[Any, Any, int]:
    """Where the comment behind an entry is kept: container, key in it, and place."""
    value = section[key]
    if isinstance(value, CommentedMap | CommentedSeq) and value and not value.fa.flow_style():
        return _last(value, list(value)[-1] if isinstance(value, CommentedMap) else len(value) - 1)
    return section, key, 0 if isinstance(section, CommentedSeq) else _BEHIND


def _cut_below(section: CommentedMap, key: Any) -> str:
    """Take away the lines between an entry and the next; what stands on the entry's last line stays with it."""
    holder, inner, place = _last(section, key)
    slots = holder.ca.items.get(inner)
    token = slots[place] if slots and len(slots) > place else None
    if token is None:
        return ""
    behind, newline, below = token.value.partition("\n")
    token.value = behind + newline
    return str(below)


def _append_below(section: CommentedMap, key: Any, below: str) -> None:
    if not below:
        return
    holder, inner, place = _last(section, key)
    slots = holder.ca.items.setdefault(inner, [None] * (place + 2))
    if slots[place] is None:
        slots[place] = CommentToken("\n", CommentMark(0), None)
    slots[place].value += below


def _entry(given: dict[str, Any]) -> Any:
    return _node(given["url"] if given.keys() == {"url"} else given)


def _node(value: Any) -> Any:
    """A new value as it is to be written: in one line, texts in quotes but for single plain words."""
    if isinstance(value, dict):
        node = CommentedMap({key: _node(item) for key, item in value.items()})
        node.fa.set_flow_style()
        return node
    if isinstance(value, list):
        items = CommentedSeq([_node(item) for item in value])
        items.fa.set_flow_style()
        return items
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        return DoubleQuotedScalarString(value)
    return value
