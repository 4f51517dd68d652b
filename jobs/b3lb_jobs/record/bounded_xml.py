"""XML from outside, read with bounds: no entities, no external parts, a limit to everything that takes memory.

expat neither fetches external document type declarations nor expands what it was not told of; entity declarations are
refused as a whole (https://docs.python.org/3/library/xml.html#xml-security).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from xml.parsers import expat

from b3lb_jobs.record.failures import FailureCode, RecordError

_SLICE_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class XmlLimits:
    """How much XML is read at most."""

    file_bytes: int = 64 * 2**20
    elements: int = 2_000_000
    depth: int = 64
    # Of one element below the root, with all that is in it.
    child_nodes: int = 2_000_000
    child_characters: int = 32 * 2**20
    # Text arrives in pieces that are joined one by one.
    child_text: int = 2 * 2**20


@dataclass(slots=True)
class Element:
    """An element without its name space: attributes by local name, children in document order."""

    tag: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    text: str = ""
    tail: str = ""

    def get(self, name: str, default: str = "") -> str:
        """The attribute of that local name."""
        return self.attributes.get(name, default)

    def find(self, path: str) -> Element | None:
        """The first descendant along a path of tags, e.g. ``a/b``."""
        head, _, rest = path.partition("/")
        for child in self.children:
            if child.tag == head:
                found = child.find(rest) if rest else child
                if found is not None:
                    return found
        return None

    def all_text(self) -> str:
        """The text of the element and of all below it."""
        return self.text + "".join(child.all_text() + child.tail for child in self.children)


class _Reader:
    """Builds the children of the root one by one; the root itself keeps none of them."""

    def __init__(self, name: str, limits: XmlLimits) -> None:
        self.root: Element | None = None
        self.ready: list[Element] = []
        self._name, self._limits = name, limits
        self._path: list[Element] = []
        self._elements = self._nodes = self._characters = self._text_characters = 0
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.EntityDeclHandler = self._refuse_entity
        self._parser = parser

    def feed(self, data: bytes, *, last: bool = False) -> None:
        try:
            self._parser.Parse(data, last)
        except expat.ExpatError as error:
            text = expat.ErrorString(error.code)
            raise self.invalid(f"line {error.lineno}: {text}") from None
        except (UnicodeError, LookupError, ValueError) as error:
            # An encoding that Python does not know, or that is none of text.
            raise self.invalid(type(error).__name__) from None

    def invalid(self, reason: str) -> RecordError:
        return RecordError(FailureCode.XML_INVALID, f"{self._name}: {reason}")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        limits = self._limits
        self._elements += 1
        self._nodes += 1 + len(attributes)
        self._characters += sum(len(value) for value in attributes.values())
        if self._elements > limits.elements:
            raise self.invalid(f"more than {limits.elements} elements")
        if len(self._path) >= limits.depth:
            raise self.invalid(f"elements are nested deeper than {limits.depth}")
        self._check_child()
        element = Element(_local(tag), {_local(key): value for key, value in attributes.items()})
        if not self._path:
            self.root = element
        elif len(self._path) > 1:
            self._path[-1].children.append(element)
        self._path.append(element)

    def _end(self, _tag: str) -> None:
        element = self._path.pop()
        if len(self._path) == 1:
            self.ready.append(element)
            self._nodes = self._characters = self._text_characters = 0

    def _text(self, text: str) -> None:
        if len(self._path) < 2:  # noqa: PLR2004 - the root's own text is white space
            return
        self._text_characters += len(text)
        self._check_child()
        parent = self._path[-1]
        if parent.children:
            parent.children[-1].tail += text
        else:
            parent.text += text

    def _check_child(self) -> None:
        limits = self._limits
        if (
            self._nodes > limits.child_nodes
            or self._characters > limits.child_characters
            or self._text_characters > limits.child_text
        ):
            raise self.invalid("one element holds too much")

    def _refuse_entity(self, *_declaration: object) -> None:
        raise self.invalid("entity declarations are not allowed")


def _local(name: str) -> str:
    return name.rpartition(":")[2]


class XmlDocument:
    """A document that is read while its root's children are asked for."""

    def __init__(self, stream: BinaryIO, name: str, limits: XmlLimits | None = None) -> None:
        self._stream = stream
        self._limits = limits or XmlLimits()
        self._reader = _Reader(name, self._limits)

    @property
    def root(self) -> Element | None:
        """The root without its children; None until the first child was read or the document ended."""
        return self._reader.root

    def children(self) -> Iterator[Element]:
        """Yield the root's children, each with everything in it.

        Raises:
            RecordError: ``XML_INVALID``: not well-formed, too large, or with entity declarations.
        """
        size = 0
        while data := self._stream.read(_SLICE_BYTES):
            size += len(data)
            if size > self._limits.file_bytes:
                raise self._reader.invalid(f"larger than {self._limits.file_bytes} bytes")
            self._reader.feed(data)
            yield from self._taken()
        self._reader.feed(b"", last=True)
        yield from self._taken()

    def _taken(self) -> list[Element]:
        taken, self._reader.ready = self._reader.ready, []
        return taken


def read_xml(path: Path, limits: XmlLimits | None = None) -> tuple[Element, list[Element]]:
    """Return a small document's root and the root's children.

    Raises:
        RecordError: ``XML_INVALID``, like ``XmlDocument.children``.
        OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        document = XmlDocument(stream, path.name, limits)
        children = list(document.children())
        root = document.root
    if root is None:
        raise RecordError(FailureCode.XML_INVALID, f"{path.name}: it is empty")
    return root, children
