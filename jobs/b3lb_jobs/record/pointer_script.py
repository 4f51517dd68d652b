"""The cursor as a script of drawings in ASS, which FFmpeg draws at next to no cost (http://www.tcax.org/docs/ass-specs.htm)."""

from __future__ import annotations

from collections.abc import Iterator

from b3lb_jobs.record.plan import Plan

_RADIUS_SHARE = 0.006
_SMALLEST_RADIUS = 3.0
_KAPPA = 0.5523


def pointer_script(plan: Plan) -> str:
    """Return the script: a red dot for each span of the plan's pointer."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    yield "[Script Info]"
    yield "ScriptType: v4.00+"
    yield f"PlayResX: {plan.width}"
    yield f"PlayResY: {plan.height}"
    yield "YCbCr Matrix: TV.709"
    yield ""
    yield "[V4+ Styles]"
    yield "Format: Name, PrimaryColour, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV"
    yield "Style: Dot,&H000000FF,1,0,0,7,0,0,0"
    yield ""
    yield "[Events]"
    yield "Format: Layer, Start, End, Style, Text"
    radius = max(_SMALLEST_RADIUS, round(plan.height * _RADIUS_SHARE, 1))
    dot = _dot(radius)
    for span in plan.pointer:
        place = rf"{{\an7\pos({span.x - radius:.1f},{span.y - radius:.1f})\p1}}"
        yield f"Dialogue: 0,{_time(span.begin, plan.rate)},{_time(span.end, plan.rate)},Dot,{place}{dot}"


def _dot(radius: float) -> str:
    far, low, high = 2 * radius, radius * (1 - _KAPPA), radius * (1 + _KAPPA)
    curves = [
        (far, high, high, far, radius, far),
        (low, far, 0.0, high, 0.0, radius),
        (0.0, low, low, 0.0, radius, 0.0),
        (high, 0.0, far, low, far, radius),
    ]
    steps = " ".join("b " + " ".join(f"{value:.1f}" for value in curve) for curve in curves)
    return f"m {far:.1f} {radius:.1f} {steps}"


def _time(frame: int, rate: int) -> str:
    # Half a frame early, so that rounding to hundredths never moves a border by a frame.
    hundredths = max(0, round((frame - 0.5) / rate * 100))
    minutes, rest = divmod(hundredths, 6000)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest // 100:02d}.{rest % 100:02d}"
