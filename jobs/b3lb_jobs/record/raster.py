"""Draws the stage's states, one after the other, into one surface."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path

import cairocffi

from b3lb_jobs.record.drawings import Colour, Drawing, Outline, Picture, TextBlock
from b3lb_jobs.record.failures import WarningCode, WarningLog
from b3lb_jobs.record.pictures import PictureError, load_picture
from b3lb_jobs.record.plan import Plan, PlannedSlide
from b3lb_jobs.record.stage import StageState, View
from b3lb_jobs.record.text import draw_text
from b3lb_jobs.record.values import clamp

_BASES = 6
_PICTURES = 4
_CACHED_PIXELS = 32_000_000
_LARGEST_ZOOM = 3.0
# cairo counts in 24 bits before the point.
_FARTHEST = 1_000_000.0


class Rasteriser:
    """Turns a plan's states into pictures; memory is bounded by the caches of a few surfaces.

    Args:
        plan: What to draw.
        recording: The unpacked recording.
        log: Takes what cannot be drawn.
    """

    def __init__(self, plan: Plan, recording: Path, log: WarningLog) -> None:
        self._plan, self._recording, self._log = plan, recording, log
        self._surface = cairocffi.ImageSurface(cairocffi.FORMAT_RGB24, plan.stage_width, plan.stage_height)
        self._bases: OrderedDict[tuple[int | None, View | None], cairocffi.ImageSurface] = OrderedDict()
        self._pictures: OrderedDict[str, cairocffi.ImageSurface | None] = OrderedDict()
        self._zooms: dict[int, float] = {}
        self._missing: frozenset[str] = frozenset()
        for state in plan.states:
            if state.slide is not None and state.view is not None:
                zoom = plan.slides[state.slide].width / state.view.width
                self._zooms[state.slide] = min(max(self._zooms.get(state.slide, 1.0), zoom), _LARGEST_ZOOM)

    def pictures(self) -> Iterator[tuple[int, memoryview]]:
        """Yield the first frame and the pixels of each state; the pixels are valid until the next one is asked for."""
        before: StageState | None = None
        seen: set[int] = set()
        topmost = -1
        for state in self._plan.states:
            seen.difference_update(state.vanish)
            seen.update(state.appear)
            if before is not None and _only_adds(before, state, topmost):
                self._draw(state, state.appear)
            else:
                self._paint_base(state)
                self._draw(state, sorted(seen))
                topmost = max(seen, default=-1)
            topmost = max(topmost, *state.appear) if state.appear else topmost
            before = state
            self._surface.flush()
            yield state.frame, memoryview(self._surface.get_data())

    def _paint_base(self, state: StageState) -> None:
        context = cairocffi.Context(self._surface)
        context.set_operator(cairocffi.OPERATOR_SOURCE)
        context.set_source_surface(self._base(state), 0, 0)
        context.paint()

    def _base(self, state: StageState) -> cairocffi.ImageSurface:
        """Return the stage with nothing but the slide on it."""
        key = (state.slide, state.view)
        found = self._bases.pop(key, None) or self._new_base(state)
        self._bases[key] = found
        if len(self._bases) > _BASES:
            # Pixels are no objects of the interpreter: its garbage collection does not know how much is waiting for it.
            self._bases.popitem(last=False)[1].finish()
        return found

    def _new_base(self, state: StageState) -> cairocffi.ImageSurface:
        plan = self._plan
        base = cairocffi.ImageSurface(cairocffi.FORMAT_RGB24, plan.stage_width, plan.stage_height)
        context = cairocffi.Context(base)
        _set_colour(context, plan.backdrop)
        context.paint()
        if state.slide is None or state.view is None:
            return base
        slide = plan.slides[state.slide]
        self._enter(context, state.view)
        context.rectangle(0, 0, slide.width, slide.height)
        context.set_source_rgb(1, 1, 1)
        context.fill()
        picture = self._slide_picture(state.slide, slide)
        if picture is not None:
            context.scale(slide.width / picture.get_width(), slide.height / picture.get_height())
            context.set_source_surface(picture, 0, 0)
            # Beyond its border the picture goes on, lest its edge fades into the white below.
            context.get_source().set_extend(cairocffi.EXTEND_PAD)
            context.get_source().set_filter(cairocffi.FILTER_GOOD)
            context.rectangle(0, 0, picture.get_width(), picture.get_height())
            context.fill()
        return base

    def _enter(self, context: cairocffi.Context, view: View) -> float:
        """Let the context draw in the slide's pixels, within the view only; return the scale."""
        scale = min(self._plan.stage_width / view.width, self._plan.stage_height / view.height)
        context.scale(scale, scale)
        context.translate(-view.x, -view.y)
        context.rectangle(view.x, view.y, view.width, view.height)
        context.clip()
        return scale

    def _slide_picture(self, index: int, slide: PlannedSlide) -> cairocffi.ImageSurface | None:
        scale = min(self._plan.stage_width / slide.width, self._plan.stage_height / slide.height)
        return None if slide.href is None else self._picture(slide.href, slide.width * scale * self._zooms[index])

    def _picture(self, href: str, width: float) -> cairocffi.ImageSurface | None:
        if href in self._pictures:
            self._pictures.move_to_end(href)
            return self._pictures[href]
        try:
            picture = load_picture(self._recording / href, width)
        except PictureError as error:
            self._log.add(WarningCode.SLIDE_MISSING, str(error))
            picture = None
        self._pictures[href] = picture
        while len(self._pictures) > 1 and (len(self._pictures) > _PICTURES or self._cached_pixels() > _CACHED_PIXELS):
            _, dropped = self._pictures.popitem(last=False)
            if dropped is not None:
                dropped.finish()
        return picture

    def _cached_pixels(self) -> int:
        return sum(one.get_width() * one.get_height() for one in self._pictures.values() if one is not None)

    def _draw(self, state: StageState, indexes: Sequence[int]) -> None:
        if state.view is None:
            return
        context = cairocffi.Context(self._surface)
        scale = self._enter(context, state.view)
        for index in indexes:
            try:
                self._draw_one(context, self._plan.drawings[index], scale)
            except cairocffi.CairoError as error:
                self._log.add(WarningCode.SHAPE_SKIPPED, str(error))
                # A context that has failed once draws nothing any more.
                context = cairocffi.Context(self._surface)
                self._enter(context, state.view)

    def _draw_one(self, context: cairocffi.Context, drawing: Drawing, scale: float) -> None:
        for part in drawing:
            context.save()
            if isinstance(part, Outline):
                _draw_outline(context, part, _FARTHEST / scale)
            elif isinstance(part, TextBlock):
                _set_colour(context, part.colour)
                self._note_missing(draw_text(context, part))
            else:
                self._draw_picture(context, part, scale)
            context.restore()

    def _note_missing(self, letters: frozenset[str]) -> None:
        """Warn of each character without a font once, however often it is drawn."""
        for letter in sorted(letters - self._missing):
            self._log.add(WarningCode.FONT_SUBSTITUTED, f"no font has U+{ord(letter):04X}")
        self._missing |= letters

    def _draw_picture(self, context: cairocffi.Context, part: Picture, scale: float) -> None:
        picture = self._picture(part.href, part.width * scale)
        if picture is None:
            return
        context.translate(part.x, part.y)
        context.scale(part.width / picture.get_width(), part.height / picture.get_height())
        context.set_source_surface(picture, 0, 0)
        context.paint()


def _only_adds(before: StageState, state: StageState, topmost: int) -> bool:
    """Whether the state is the one before with something drawn on top."""
    is_same = (before.slide, before.view) == (state.slide, state.view)
    return is_same and not state.vanish and (not state.appear or state.appear[0] > topmost)


def _draw_outline(context: cairocffi.Context, part: Outline, farthest: float) -> None:
    # A path outlives save and restore.
    context.new_path()
    for name, points in part.path:
        near = [clamp(value, -farthest, farthest) for value in points]
        match name:
            case "M":
                context.move_to(*near)
            case "L":
                context.line_to(*near)
            case "C":
                context.curve_to(*near)
            case _:
                context.close_path()
    if part.fill is not None:
        _set_colour(context, part.fill)
        context.fill_preserve()
    if part.stroke is not None:
        _set_colour(context, part.stroke)
        context.set_line_width(part.width)
        context.set_line_cap(cairocffi.LINE_CAP_ROUND)
        context.set_line_join(cairocffi.LINE_JOIN_ROUND)
        if part.dash and math.fsum(part.dash) > 0:
            context.set_dash(part.dash)
        context.stroke()


def _set_colour(context: cairocffi.Context, colour: Colour) -> None:
    context.set_source_rgba(colour.red / 255, colour.green / 255, colour.blue / 255, colour.opacity)
