"""Reads charts/b3lb/values.yaml with its comments: each value's description, and what it may be.

The comment in front of a key describes it. In a line ``# @schema …`` stands, as YAML, what the JSON schema says beside
the type that follows from the default; ``$ref: NAME`` takes one of the named schemas of `dev.chart_schema`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

_KEY = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z0-9]+):(?P<value>.*)")
_SCHEMA = "@schema "


class ValuesError(ValueError):
    """The file is not written as it has to be; the message names the line."""


@dataclass(frozen=True, slots=True)
class Value:
    """One key of the file.

    ``children`` are those of a map that is part of the file's structure; a map whose content is the user's is a leaf.
    """

    path: str
    description: str
    default: Any
    schema: dict[str, Any]
    children: list[Value] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]


@dataclass(slots=True)
class _Line:
    path: str
    description: str
    schema: dict[str, Any]


def read_values(text: str) -> list[Value]:
    """Return the keys of the highest level, in the file's order.

    Raises:
        ValuesError: A key has no description.
    """
    lines = {line.path: line for line in _lines(text)}
    return [_value(name, default, lines) for name, default in yaml.safe_load(text).items()]


def leaves(values: list[Value]) -> Iterator[Value]:
    """Yield every key without children, in order."""
    for value in values:
        if value.children:
            yield from leaves(value.children)
        else:
            yield value


def _value(path: str, default: Any, lines: dict[str, _Line]) -> Value:
    line = lines.get(path)
    if line is None:
        raise ValuesError(f"{path} has no description")
    children: list[Value] = []
    if isinstance(default, dict) and default and "$ref" not in line.schema:
        children = [_value(f"{path}.{name}", child, lines) for name, child in default.items()]
    return Value(path, line.description, default, line.schema, children)


def _lines(text: str) -> Iterator[_Line]:
    """Yield the keys that have a comment; one that was read as an empty line begins a comment anew."""
    parents: list[tuple[int, str]] = []
    comment: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped:
            comment = []
        elif stripped.startswith("#"):
            comment.append(stripped.removeprefix("#").strip())
        elif match := _KEY.fullmatch(line):
            indent = len(match["indent"])
            parents = [(depth, name) for depth, name in parents if depth < indent]
            path = ".".join([*(name for _, name in parents), match["key"]])
            parents.append((indent, match["key"]))
            if comment:
                yield _Line(path, *_parse_comment(comment))
            comment = []


def _parse_comment(comment: list[str]) -> tuple[str, dict[str, Any]]:
    schema: dict[str, Any] = {}
    for line in comment:
        if line.startswith(_SCHEMA):
            schema |= yaml.safe_load(line.removeprefix(_SCHEMA))
    return " ".join(line for line in comment if not line.startswith(_SCHEMA)), schema
