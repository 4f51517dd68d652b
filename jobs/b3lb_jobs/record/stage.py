"""What is on the stage when: slides, the part of them that is seen, and the shapes on them.

Everything stands on the grid of the video's frames: what changes between two frames is never seen, so there are never
more states than frames.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from b3lb_jobs.record.documents import PanZoom
from b3lb_jobs.record.drawings import Drawing, ShapeVersion
from b3lb_jobs.record.slides import Slide
from b3lb_jobs.record.values import clamp

# Times have a tenth of a second; an event that belongs to a slide may come one of them before it.
_TICK = 0.1 + 1e-6
_SMALLEST_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class View:
    """The part of a slide that fills the stage, in the slide's pixels."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class StageState:
    """From ``frame`` on this is on the stage.

    Attributes:
        frame: The first frame, counted from 0.
        slide: Index of the slide, None for an empty stage.
        view: The part of the slide that is seen; None without a slide.
        appear: Drawings that are seen from now on beside those before; indexes, in the order of drawing.
        vanish: Drawings that are seen no more.
    """

    frame: int
    slide: int | None
    view: View | None
    appear: tuple[int, ...] = ()
    vanish: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """A slide's time on the stage; ``slide`` is None while nothing is shown."""

    begin: int
    end: int
    slide: Slide | None


@dataclass(frozen=True, slots=True)
class Stage:
    """All states by time, and the drawings that they name; drawings are drawn in the order of their indexes."""

    states: tuple[StageState, ...]
    drawings: tuple[Drawing, ...]


def first_frame(time: float, rate: int) -> int:
    """Return the first frame at or after a time in seconds."""
    return math.ceil(time * rate - 1e-6)


def segments(slides: Sequence[Slide], frames: int, rate: int) -> list[Segment]:
    """Return who has the stage when: each slide until the next one, the last one until the end."""
    begins = [min(first_frame(slide.begin, rate), frames) for slide in slides]
    found = [Segment(0, begins[0] if begins else frames, None)]
    for slide, (begin, end) in zip(slides, pairwise([*begins, frames]), strict=True):
        found.append(Segment(begin, end, None if slide.is_screen_share else slide))
    return [segment for segment in found if segment.begin < segment.end]


def stage(
    parts: Sequence[Segment],
    panzooms: Sequence[PanZoom],
    rate: int,
    *,
    camera: Callable[[Slide], float] | None = None,
    annotations: bool = True,
) -> Stage:
    """Return all states of the stage.

    Args:
        parts: Who has the stage when.
        panzooms: What is seen of the slides, by time.
        rate: Frames per second.
        camera: For positions of tldraw's camera: how many units of the page a slide's pixel is.
        annotations: Whether shapes are drawn.
    """
    states: list[StageState] = []
    drawings: list[Drawing] = []
    visible: set[int] = set()
    for index, part in enumerate(parts):
        slide = part.slide
        if slide is None:
            states.append(StageState(part.begin, None, None, (), tuple(sorted(visible))))
            visible = set()
            continue
        views = dict(slide_views(part, slide, panzooms, rate, camera))
        appear, vanish = _shape_changes(slide.shapes if annotations else (), part, rate, drawings)
        view = views[part.begin]
        for frame in sorted({*views, *appear, *vanish}):
            gone = vanish.get(frame, set()) | (visible if frame == part.begin else set())
            come = appear.get(frame, set())
            view = views.get(frame, view)
            states.append(StageState(frame, index, view, tuple(sorted(come)), tuple(sorted(gone))))
            # In place: a copy for each state would make long lessons on one slide quadratic.
            visible -= gone
            visible |= come
    return Stage(tuple(_changes(states)), tuple(drawings))


def _changes(states: Sequence[StageState]) -> Iterator[StageState]:
    """Drop states that change nothing."""
    last: tuple[int | None, View | None] | None = None
    for state in states:
        if (state.slide, state.view) != last or state.appear or state.vanish:
            yield state
        last = (state.slide, state.view)


def slide_views(
    part: Segment,
    slide: Slide,
    panzooms: Sequence[PanZoom],
    rate: int,
    camera: Callable[[Slide], float] | None,
) -> Iterator[tuple[int, View]]:
    """Yield the first frame of each view of a slide; the whole slide until an event says otherwise."""
    yield part.begin, View(0.0, 0.0, slide.width, slide.height)
    first = bisect_left(panzooms, slide.begin - _TICK, key=lambda event: event.time)
    for event in islice(panzooms, first, None):
        frame = max(first_frame(event.time, rate), part.begin)
        if frame >= part.end:
            break
        yield frame, view_of(event, slide, camera)


def view_of(event: PanZoom, slide: Slide, camera: Callable[[Slide], float] | None) -> View:
    """Return what is seen; an event that cannot be meant for this slide shows all of it."""
    x, y = event.x, event.y
    if camera is not None:
        scale = camera(slide)
        x, y = -x / scale, -y / scale
    too_large = event.width > slide.width + 1 or event.height > slide.height + 1
    if event.width <= 0 or event.height <= 0 or too_large:
        return View(0.0, 0.0, slide.width, slide.height)
    # Beyond a hundredth drawings would need numbers that graphics libraries cannot hold.
    width = max(event.width, slide.width * _SMALLEST_SHARE)
    height = max(event.height, slide.height * _SMALLEST_SHARE)
    return View(clamp(x, -slide.width, slide.width), clamp(y, -slide.height, slide.height), width, height)


def _shape_changes(
    shapes: Sequence[ShapeVersion], part: Segment, rate: int, drawings: list[Drawing]
) -> tuple[dict[int, set[int]], dict[int, set[int]]]:
    """Return which drawings appear and vanish at which frames; the ones that are ever seen join ``drawings``."""
    by_shape: dict[str, list[ShapeVersion]] = {}
    for version in shapes:
        by_shape.setdefault(version.shape, []).append(version)
    appear: dict[int, set[int]] = {}
    vanish: dict[int, set[int]] = {}
    for versions in by_shape.values():
        spans = [(version, _span(version, part, rate)) for version in versions]
        known = [(version, span) for version, span in spans if span[0] < span[1] and version.drawing]
        known.sort(key=lambda one: one[0].begin)
        numbers: dict[int, int] = {}
        for index, begin, end in newest_visible([span for _, span in known]):
            if index not in numbers:
                numbers[index] = len(drawings)
                drawings.append(known[index][0].drawing)
            appear.setdefault(begin, set()).add(numbers[index])
            if end < part.end:
                vanish.setdefault(end, set()).add(numbers[index])
    return appear, vanish


def _span(version: ShapeVersion, part: Segment, rate: int) -> tuple[int, int]:
    begin = max(first_frame(version.begin, rate), part.begin)
    end = part.end if version.end is None else min(first_frame(version.end, rate), part.end)
    return begin, end


def newest_visible(spans: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield (index, begin, end) of what is seen of a shape whose versions, oldest first, have these spans.

    At each time the newest of the versions is seen whose span holds that time.
    """
    waiting = sorted(range(len(spans)), key=lambda index: spans[index][0], reverse=True)
    open_versions: list[tuple[int, int]] = []
    shown, since = -1, 0
    for time in sorted({time for span in spans for time in span}):
        while waiting and spans[waiting[-1]][0] <= time:
            index = waiting.pop()
            heapq.heappush(open_versions, (-index, spans[index][1]))
        while open_versions and open_versions[0][1] <= time:
            heapq.heappop(open_versions)
        newest = -open_versions[0][0] if open_versions else -1
        if newest != shown:
            if shown >= 0:
                yield shown, since, time
            shown, since = newest, time
