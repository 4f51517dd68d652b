"""Numbers, times and shares as people read them; what is unknown is a dash."""

from __future__ import annotations

from datetime import UTC, datetime

UNKNOWN = "\u2013"
_NARROW_SPACE = "\u202f"
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_TWO_UNITS_BELOW = 10
_KIBI, _HUNDRED = 1024, 100


def whole(value: float | None) -> str:
    """Return a number without decimals, its thousands apart: ``12 345``."""
    return UNKNOWN if value is None else f"{value:,.0f}".replace(",", _NARROW_SPACE)


def stored(number: int | None) -> str:
    """Return bytes: ``512 B``, ``1.2 GiB``."""
    if number is None:
        return UNKNOWN
    value, units = float(number), ("B", "KiB", "MiB", "GiB", "TiB")
    for unit in units:
        if value < _KIBI or unit == units[-1]:
            break
        value /= _KIBI
    return f"{value:.0f} {unit}" if unit == "B" or value >= _HUNDRED else f"{value:.3g} {unit}"


def span(seconds: float | None) -> str:
    """Return a duration: ``153 ms``, ``4.2 s``, ``3 min 20 s``, ``5 h``, ``12 d``."""
    if seconds is None:
        return UNKNOWN
    seconds = max(seconds, 0.0)
    if seconds < _MINUTE:
        return _seconds(seconds)
    if seconds < _HOUR:
        return _two_units(int(seconds), _MINUTE, "min", 1, "s")
    if seconds < _DAY:
        return _two_units(int(seconds), _HOUR, "h", _MINUTE, "min")
    return _two_units(int(seconds), _DAY, "d", _HOUR, "h")


def _seconds(seconds: float) -> str:
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if 0 < seconds < _TWO_UNITS_BELOW else f"{seconds:.0f} s"


def _two_units(seconds: int, size: int, unit: str, smaller_size: int, smaller_unit: str) -> str:
    many, rest = divmod(seconds, size)
    smaller = rest // smaller_size
    return f"{many} {unit} {smaller} {smaller_unit}" if smaller and many < _TWO_UNITS_BELOW else f"{many} {unit}"


def ago(at: datetime | None, now: datetime | None) -> str:
    """Return how long before ``now`` something was, or how long after it something will be."""
    if at is None or now is None:
        return UNKNOWN
    seconds = (now - at).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{_rough(seconds)} ago" if seconds > 0 else f"in {_rough(-seconds)}"


def _rough(seconds: float) -> str:
    return span(float(int(seconds))).replace(".0 s", " s")


def instant(at: datetime | None) -> str:
    """Return a time in UTC: ``2026-11-23 16:40:03 UTC``."""
    return UNKNOWN if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def machine_time(at: datetime) -> str:
    """Return a time for the attribute ``datetime`` of HTML's ``<time>``."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def share(succeeded: int | None, failed: int | None) -> str:
    """Return the share of what succeeded; never 100 % while something failed, nor 0 % while something succeeded."""
    if succeeded is None or failed is None or succeeded + failed == 0:
        return UNKNOWN
    tenths = round(1000 * succeeded / (succeeded + failed))
    if failed:
        tenths = min(tenths, 999)
    if succeeded:
        tenths = max(tenths, 1)
    return f"{tenths / 10:g} %"
