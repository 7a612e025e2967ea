"""YAML with positions: every value knows its line and column, and nothing is guessed.

Three habits of plain YAML loaders that have cost users hours are off here: `yes`, `no`, `on` and `off` stay texts,
a key that stands twice is an error, and `${NAME}` takes a secret from the environment or fails.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]
Position = tuple[int, int]  # line and column, from 1

# Aliases let a small file stand for a huge one ("billion laughs"); no real configuration comes near this.
_MAX_NODES = 20_000
_MAX_DEPTH = 16
_PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
_ENV = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class _Loader(yaml.SafeLoader):
    """SafeLoader with the booleans of YAML 1.2: only `true` and `false`."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")
)


@dataclass(slots=True)
class Document:
    """A parsed document: plain data, where each path stands, and what was wrong already."""

    data: Any = None
    values: dict[Path, Position] = field(default_factory=dict)  # where the value of a path begins
    keys: dict[Path, Position] = field(default_factory=dict)  # where the key of a path begins
    problems: list[tuple[Position, str]] = field(default_factory=list)

    def position(self, path: Path, *, key: bool = False) -> Position:
        """Where `path` stands; the nearest parent's place for a path that the text does not have."""
        for end in range(len(path), -1, -1):
            if key and end == len(path) and path in self.keys:
                return self.keys[path]
            if path[:end] in self.values:
                return self.values[path[:end]]
        return (1, 1)


def parse(text: str, environ: Mapping[str, str] = os.environ) -> Document:
    """Parse `text`; syntax errors, double keys and unset variables become `problems`."""
    document = Document()
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is not None:
            document.data = _Builder(loader, document, environ).build(node, ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        document.problems.append((place, f"not valid YAML: {error.problem or error.context}"))
    except yaml.YAMLError as error:
        document.problems.append(((1, 1), f"not valid YAML: {' '.join(str(error).split())}"))
    except RecursionError:
        document.problems.append(((1, 1), "not valid YAML: nested far too deep"))
    return document


def _place(node: yaml.Node) -> Position:
    return (node.start_mark.line + 1, node.start_mark.column + 1)


class _Builder:
    """Turns nodes into plain data and notes where everything stood."""

    def __init__(self, loader: _Loader, document: Document, environ: Mapping[str, str]) -> None:
        self._loader, self._document, self._environ = loader, document, environ
        self._left = _MAX_NODES

    def build(self, node: yaml.Node, path: Path) -> Any:
        self._left -= 1
        if self._left < 0:
            raise yaml.YAMLError(f"more than {_MAX_NODES} values")
        if len(path) > _MAX_DEPTH:
            raise yaml.YAMLError(f"nested deeper than {_MAX_DEPTH} levels")
        if isinstance(node, yaml.CollectionNode) and node.tag not in _PLAIN_TAGS:
            raise yaml.YAMLError(f"tag {node.tag} in line {_place(node)[0]} is not allowed")
        self._document.values[path] = _place(node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        try:
            value = self._loader.construct_object(node, deep=True)
        except (ValueError, KeyError):  # looks like a date or a number, or is tagged as one, and is none
            self._problem(node, f"{_dotted(path)}: is no {node.tag.rpartition(':')[2]}; put it in quotes")
            return node.value
        return self._expanded(value, node) if isinstance(value, str) else value

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            if key in result:
                first = self._document.keys[(*path, key)]
                self._problem(key_node, f"{_dotted((*path, key))}: stands twice; first in line {first[0]}")
                continue
            self._document.keys[(*path, key)] = _place(key_node)
            result[key] = self.build(value_node, (*path, key))
        return result

    def _expanded(self, text: str, node: yaml.Node) -> str:
        def lookup(match: re.Match[str]) -> str:
            if match[1] not in self._environ:
                self._problem(node, f"environment variable {match[1]} is not set")
            return self._environ.get(match[1], "")

        return _ENV.sub(lookup, text)

    def _problem(self, node: yaml.Node, text: str) -> None:
        self._document.problems.append((_place(node), text))


def _dotted(path: Path) -> str:
    return ".".join(str(part) for part in path)
