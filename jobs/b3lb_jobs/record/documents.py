"""The small documents of a recording: metadata.xml, panzooms.xml, cursor.xml, deskshare.xml.

All times are seconds from the begin of the recorded time, without its pauses.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from b3lb.recordings.metadata import MOST_BYTES, MetadataError, RecordingMetadata, parse_metadata
from b3lb_jobs.record.bounded_xml import Element, XmlLimits, read_xml
from b3lb_jobs.record.failures import FailureCode, RecordError, WarningCode, WarningLog
from b3lb_jobs.record.values import number, numbers

_EVENT_NODES = XmlLimits(child_nodes=100, child_characters=10_000, child_text=10_000)
_NAME_CHARACTERS = 500
# Whoever is moved that far is hidden: BBB writes -1.
_HIDDEN = -0.5


@dataclass(frozen=True, slots=True)
class PanZoom:
    """From ``time`` on the slide shows this part, in its pixels; for tldraw x and y are the camera's."""

    time: float
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class CursorMove:
    """From ``time`` on the cursor is there; None: it is hidden."""

    time: float
    position: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class ScreenShare:
    """The screen share is shown from ``begin`` until ``end``."""

    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class PanZooms:
    """The content of panzooms.xml; with tldraw x and y are a camera's."""

    events: tuple[PanZoom, ...] = ()
    is_tldraw: bool = False


@dataclass(frozen=True, slots=True)
class Cursor:
    """The content of cursor.xml; with tldraw the positions are in units of the page."""

    moves: tuple[CursorMove, ...] = ()
    is_tldraw: bool = False


def read_metadata(path: Path) -> RecordingMetadata:
    """Read metadata.xml, the one document that has to be sound.

    Raises:
        RecordError: ``XML_INVALID``.
    """
    with path.open("rb") as file:
        text = file.read(MOST_BYTES + 1)
    try:
        return parse_metadata(text)
    except MetadataError as error:
        raise RecordError(FailureCode.XML_INVALID, str(error)) from None


def read_panzooms(path: Path, log: WarningLog) -> PanZooms:
    """Read panzooms.xml; a broken one is a warning and the whole slides are shown."""
    parsed = _events(path, log, WarningCode.PANZOOM_MISSING)
    if parsed is None:
        return PanZooms()
    root, elements = parsed
    events = []
    for element in elements:
        time, box = _time(element, "timestamp"), numbers(_text(element, "viewBox"), 4)
        if time is None or box is None:
            log.add(WarningCode.PANZOOM_MISSING, "an event without a time or four numbers")
        else:
            events.append(PanZoom(time, *box))
    return PanZooms(tuple(sorted(events, key=lambda event: event.time)), root.get("tldraw") == "true")


def read_cursor(path: Path, log: WarningLog) -> Cursor:
    """Read cursor.xml; a broken one is a warning and there is no cursor."""
    parsed = _events(path, log, WarningCode.CURSOR_MISSING)
    if parsed is None:
        return Cursor()
    root, elements = parsed
    moves = []
    for element in elements:
        time, position = _time(element, "timestamp"), numbers(_text(element, "cursor"), 2)
        if time is None or position is None:
            log.add(WarningCode.CURSOR_MISSING, "an event without a time or two numbers")
        else:
            x, y = position
            moves.append(CursorMove(time, None if x <= _HIDDEN and y <= _HIDDEN else (x, y)))
    return Cursor(tuple(sorted(moves, key=lambda move: move.time)), root.get("tldraw") == "true")


def read_screen_shares(path: Path, log: WarningLog) -> tuple[ScreenShare, ...] | None:
    """Read deskshare.xml; None when it is missing or broken, for then the slides tell."""
    parsed = _events(path, log, WarningCode.SCREEN_SHARE_MISSING)
    if parsed is None:
        return None
    shares = []
    for element in parsed[1]:
        begin, end = _time(element, "start_timestamp"), _time(element, "stop_timestamp")
        if begin is None or end is None:
            log.add(WarningCode.SCREEN_SHARE_MISSING, "an event without its times")
        elif begin < end:
            shares.append(ScreenShare(begin, end))
    return tuple(sorted(shares, key=lambda share: share.begin))


def _events(path: Path, log: WarningLog, code: WarningCode) -> tuple[Element, list[Element]] | None:
    try:
        root, children = read_xml(path, _EVENT_NODES)
    except FileNotFoundError:
        log.add(code, f"{path.name} is missing")
        return None
    except RecordError as error:
        log.add(code, str(error))
        return None
    return root, [child for child in children if child.tag == "event"]


def _text(element: Element, path: str) -> str:
    found = element.find(path)
    return found.all_text().strip()[:_NAME_CHARACTERS] if found else ""


def _time(element: Element, name: str) -> float | None:
    time = number(element.get(name))
    return None if time is None else max(time, 0.0)
