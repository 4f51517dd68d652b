"""Where the presenter's cursor is in the picture, and when."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from b3lb_jobs.record.documents import Cursor
from b3lb_jobs.record.slides import Slide
from b3lb_jobs.record.stage import Segment, StageState, View, first_frame

# BBB before 0.9 wrote pixels of a stage of 800 by 600, later ones shares of the slide.
_OLD_STAGE = (800.0, 600.0)
_LARGEST_SHARE = 2.0


@dataclass(frozen=True, slots=True)
class PointerSpan:
    """In the frames [begin, end) the cursor is at x, y, in pixels of the picture."""

    begin: int
    end: int
    x: float
    y: float


def pointer_spans(
    cursor: Cursor,
    *,
    states: Sequence[StageState],
    parts: Sequence[Segment],
    frames: int,
    rate: int,
    stage: tuple[int, int],
    camera: Callable[[Slide], float],
    hidden: Sequence[tuple[int, int]] = (),
) -> list[PointerSpan]:
    """Return where the cursor is seen: it stays at a place of the slide until its next move, whatever the view.

    Args:
        cursor: The moves.
        states: What is on the stage; their slides are indexes of ``parts``.
        parts: Who has the stage when.
        frames: Frames of the video.
        rate: Frames per second.
        stage: Width and height of the stage in pixels.
        camera: For positions on tldraw's page: how many of its units a slide's pixel is.
        hidden: Frames [begin, end) without a cursor, sorted and apart from each other.
    """
    is_old = not cursor.is_tldraw and any(
        move.position and max(move.position) > _LARGEST_SHARE for move in cursor.moves
    )
    moves = {first_frame(move.time, rate): move.position for move in cursor.moves}
    move_frames, state_frames = sorted(moves), [state.frame for state in states]
    borders = sorted({*move_frames, *state_frames, *(frame for span in hidden for frame in span), frames})
    hidden_begins = [begin for begin, _ in hidden]
    spans: list[PointerSpan] = []
    for begin, end in pairwise(borders):
        move, at = bisect_right(move_frames, begin) - 1, bisect_right(state_frames, begin) - 1
        covered = bisect_right(hidden_begins, begin) - 1
        if begin >= frames or move < 0 or at < 0 or (covered >= 0 and begin < hidden[covered][1]):
            continue
        position, state = moves[move_frames[move]], states[at]
        slide = None if state.slide is None else parts[state.slide].slide
        if position is None or slide is None or state.view is None:
            continue
        place = _on_slide(position, slide, camera if cursor.is_tldraw else None, is_old=is_old)
        seen = _on_stage(place, state.view, stage)
        if seen is None:
            continue
        if spans and (spans[-1].end, spans[-1].x, spans[-1].y) == (begin, *seen):
            spans[-1] = PointerSpan(spans[-1].begin, min(end, frames), *seen)
        else:
            spans.append(PointerSpan(begin, min(end, frames), *seen))
    return spans


def _on_slide(
    position: tuple[float, float], slide: Slide, camera: Callable[[Slide], float] | None, *, is_old: bool
) -> tuple[float, float]:
    """Return a position in pixels of the slide."""
    x, y = position
    if camera is not None:
        return x / camera(slide), y / camera(slide)
    if is_old:
        x, y = x / _OLD_STAGE[0], y / _OLD_STAGE[1]
    return x * slide.width, y * slide.height


def _on_stage(place: tuple[float, float], view: View, stage: tuple[int, int]) -> tuple[float, float] | None:
    """Return a position in pixels of the picture, None outside of the view."""
    x, y = place[0] - view.x, place[1] - view.y
    if not (0 <= x <= view.width and 0 <= y <= view.height):
        return None
    scale = min(stage[0] / view.width, stage[1] / view.height)
    return round(x * scale, 1), round(y * scale, 1)
