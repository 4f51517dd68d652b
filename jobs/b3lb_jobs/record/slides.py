"""shapes.svg: which slide is shown when, and what BBB up to 2.5 drew on it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from b3lb_jobs.record.bounded_xml import Element, XmlDocument
from b3lb_jobs.record.drawings import ShapeVersion
from b3lb_jobs.record.failures import SkippedShapeError, WarningCode, WarningLog
from b3lb_jobs.record.legacy_shapes import drawing_of
from b3lb_jobs.record.values import number, picture_path, positive

MAXIMUM_SLIDES = 10_000
MAXIMUM_SHAPES = 100_000
SCREEN_SHARE_HREF = "presentation/deskshare.png"
_NUMBER = re.compile(r"image(\d{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Slide:
    """A slide, shown from ``begin`` until ``end``; width and height in its own pixels.

    ``href`` is the picture's path in the recording, None for one outside of it. ``number`` is the N of its id imageN.
    """

    number: int
    begin: float
    end: float
    href: str | None
    width: float
    height: float
    shapes: tuple[ShapeVersion, ...] = ()

    @property
    def is_screen_share(self) -> bool:
        """Whether it only holds the place of the screen share."""
        return self.href == SCREEN_SHARE_HREF


def read_slides(path: Path, log: WarningLog) -> tuple[Slide, ...]:
    """Return the slides by time, with their shapes.

    Raises:
        RecordError: ``XML_INVALID``: shapes.svg is no sound XML or too large.
        OSError: it cannot be read.
    """
    reader = _SlideReader(log)
    with path.open("rb") as stream:
        for element in XmlDocument(stream, path.name).children():
            if element.tag == "image":
                reader.add_slide(element)
            elif element.tag == "g":
                reader.add_canvas(element)
    return reader.slides()


class _SlideReader:
    def __init__(self, log: WarningLog) -> None:
        self._log = log
        self._slides: dict[str, Slide] = {}
        self._shapes: dict[str, list[ShapeVersion]] = {}
        self._count = 0

    def add_slide(self, element: Element) -> None:
        identity = element.get("id")
        if len(self._slides) >= MAXIMUM_SLIDES:
            self._log.add(WarningCode.SLIDE_MISSING, f"more than {MAXIMUM_SLIDES} slides")
            return
        begin, end = number(element.get("in")), number(element.get("out"))
        width, height = positive(element.get("width")), positive(element.get("height"))
        if begin is None or end is None or width is None or height is None:
            self._log.add(WarningCode.SLIDE_MISSING, "a slide without its times or its size")
            return
        # Older recordings list slides that were shown for no time at all.
        if max(begin, 0.0) < end:
            found = _NUMBER.fullmatch(identity)
            slide_number = int(found[1]) if found else len(self._slides) + 1
            href = picture_path(element.get("href"))
            self._slides[identity] = Slide(slide_number, max(begin, 0.0), end, href, width, height)

    def add_canvas(self, element: Element) -> None:
        shapes = self._shapes.setdefault(element.get("image"), [])
        for child in element.children:
            if child.tag != "g":
                continue
            self._count += 1
            if self._count > MAXIMUM_SHAPES:
                self._log.add(WarningCode.SHAPE_SKIPPED, f"more than {MAXIMUM_SHAPES} shapes")
                continue
            try:
                shapes.append(_shape(child))
            except SkippedShapeError as error:
                self._log.add(WarningCode.SHAPE_SKIPPED, str(error))

    def slides(self) -> tuple[Slide, ...]:
        slides = [
            replace(slide, shapes=tuple(self._shapes.get(identity, ()))) for identity, slide in self._slides.items()
        ]
        return tuple(sorted(slides, key=lambda slide: slide.begin))


def _shape(element: Element) -> ShapeVersion:
    begin, undo = number(element.get("timestamp")), number(element.get("undo", "-1"))
    shape = element.get("shape") or element.get("id")
    if begin is None or undo is None or not shape:
        raise SkippedShapeError("a shape without its times or its name")
    return ShapeVersion(shape[:200], begin, None if undo < 0 else undo, drawing_of(element))
