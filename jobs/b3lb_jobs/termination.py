"""The end of a run for Kubernetes: a JSON summary in the termination message.

https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAXIMUM_BYTES = 4096
VARIABLE = "B3LB_TERMINATION_LOG"
DEFAULT_PATH = "/dev/termination-log"

_TEXT_LENGTHS = (1000, 300, 100, 30)
_DEEPEST = 5
_MOST_ITEMS = 20


def render(summary: Mapping[str, Any]) -> bytes:
    """Return ``summary`` as JSON of at most 4096 bytes: texts are shortened first, then parts are left out.

    Args:
        summary: JSON values; at its top level only texts, numbers and one level of lists and objects matter to people.
    """
    for length in _TEXT_LENGTHS:
        encoded = _encode(_shortened(summary, length))
        if len(encoded) <= MAXIMUM_BYTES:
            return encoded
    plain = {key: value for key, value in summary.items() if not isinstance(value, Mapping | list | tuple)}
    encoded = _encode(_shortened({**plain, "shortened": True}, _TEXT_LENGTHS[-1]))
    return encoded if len(encoded) <= MAXIMUM_BYTES else _encode({"shortened": True})


def write(summary: Mapping[str, Any]) -> bool:
    """Write ``summary`` where Kubernetes looks for it; return whether that was possible.

    Outside of a pod the default file does not exist and is not made; a path in ``B3LB_TERMINATION_LOG`` is.
    """
    chosen = os.environ.get(VARIABLE)
    path = Path(chosen or DEFAULT_PATH)
    if not chosen and not path.exists():
        return False
    try:
        path.write_bytes(render(summary))
    except OSError:
        # The summary is in the log as well; a run does not fail because its message cannot be left.
        return False
    return True


def _encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).encode("utf-8", "replace")


def _shortened(value: Any, length: int, depth: int = 0) -> Any:
    if isinstance(value, str):
        return value if len(value) <= length else value[: length - 1] + "…"
    if isinstance(value, Mapping) and depth < _DEEPEST:
        return {key: _shortened(item, length, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple) and depth < _DEEPEST:
        return [_shortened(item, length, depth + 1) for item in value[:_MOST_ITEMS]]
    return value
