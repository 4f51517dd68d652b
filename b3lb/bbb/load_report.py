"""What a node's ``/b3lb/load`` says: one number from 0 to 10000 as text."""

from __future__ import annotations

import re
from http import HTTPStatus

from b3lb.bbb.text import printable, status_text
from b3lb.health import LoadReason, LoadReport
from b3lb.load import CPU_BASE

LOAD_BODY_BYTES = 4096

_NUMBER = re.compile(r"[+-]?[0-9]{1,12}(?:\.[0-9]{1,12})?")


def read_load(status: int, body: bytes) -> LoadReport:
    """Return the report in an HTTP answer.

    Args:
        status: The HTTP status.
        body: The first bytes of the body, more than ``LOAD_BODY_BYTES`` if it is longer than that.
    """
    if status == HTTPStatus.NOT_FOUND:
        return LoadReport(None, LoadReason.NOT_FOUND, status_text(status))
    if status != HTTPStatus.OK:
        return LoadReport(None, LoadReason.HTTP_STATUS, status_text(status))
    if len(body) > LOAD_BODY_BYTES:
        return LoadReport(None, LoadReason.NOT_A_NUMBER, f"the answer is longer than {LOAD_BODY_BYTES} bytes")
    return _read_number(body.decode("utf-8", "replace").strip())


def _read_number(text: str) -> LoadReport:
    if not _NUMBER.fullmatch(text):
        return LoadReport(None, LoadReason.NOT_A_NUMBER, f"not a number: {printable(text, 40)!r}")
    value = round(float(text))
    if value < 0:
        return LoadReport(None, LoadReason.NEGATIVE, f"{value} is below 0")
    if value > CPU_BASE:
        return LoadReport(None, LoadReason.TOO_HIGH, f"{value} is above {CPU_BASE}")
    return LoadReport(value)
