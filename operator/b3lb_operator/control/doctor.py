"""``/doctor``: what an examination of the farms finds, and what to do about it."""

from __future__ import annotations

from b3lb.views.values import Document, listing
from b3lb_operator.control.farms import Farms
from b3lb_operator.control.questions import Question


async def doctor(farms: Farms, question: Question) -> Document:
    """Return the findings of the namespaces that are asked for, and those that belong to none; takes some seconds."""
    namespaces = {"", *question.namespaces(farms.namespaces)}
    examination = await farms.doctor.examine()
    items = [finding.document() for finding in examination.findings if finding.namespace in namespaces]
    return listing("FindingList", items, as_of=examination.at, seconds=round(examination.seconds, 2))
