"""How a dry run puts changes into words."""

from __future__ import annotations


def arrow(old: object, new: object) -> str:
    """Return ``old → new``, or the value alone if it stays."""
    if old == new:
        return str(new)
    return f"{'-' if old is None else old} → {new}"
