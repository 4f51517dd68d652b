"""What an examination of a farm found: one line per check, with what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class FindingStatus(StrEnum):
    """How a check ended, the worst first: the order in which they are shown."""

    FAILED = "failed"
    WARNING = "warning"
    UNKNOWN = "unknown"
    OK = "ok"


class Group(StrEnum):
    """What a check is about, in the order in which the groups are shown."""

    CLUSTER = "Cluster"
    OPERATOR = "Operator"
    DATABASE = "Database"
    KEYS = "Keys"
    QUEUES = "Queues"
    RECORDINGS = "Recordings"
    NODES = "Nodes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check's result.

    ``check`` is its name in CamelCase, ``object`` what it is about as ``kind/name``, empty for the whole.
    ``message`` is one line and holds no secret; ``remedy`` says what to do, a command where there is one, and is empty
    when all is well. ``namespace`` is empty for what belongs to none.
    """

    group: Group
    check: str
    status: FindingStatus
    message: str
    object: str = ""
    remedy: str = ""
    namespace: str = ""

    def document(self) -> dict[str, str]:
        """Return the finding as an item of the operator's document and of ``-o json``."""
        return {
            "group": str(self.group),
            "check": self.check,
            "namespace": self.namespace,
            "object": self.object,
            "status": str(self.status),
            "message": self.message,
            "remedy": self.remedy,
        }

    @classmethod
    def from_document(cls, item: Mapping[str, Any]) -> Finding:
        """Return the finding that an item says; a group or status of a newer operator counts as unknown.

        Raises:
            ValueError: The item is none.
        """
        try:
            texts = {name: str(item[name]) for name in ("check", "message")}
        except (KeyError, TypeError):
            raise ValueError("this is no finding: it lacks check or message") from None
        groups, statuses = {str(group) for group in Group}, {str(status) for status in FindingStatus}
        group, status = str(item.get("group", "")), str(item.get("status", ""))
        return cls(
            group=Group(group) if group in groups else Group.CLUSTER,
            status=FindingStatus(status) if status in statuses else FindingStatus.UNKNOWN,
            **texts,
            **{name: str(item.get(name) or "") for name in ("object", "remedy", "namespace")},
        )


@dataclass(frozen=True, slots=True)
class Check:
    """A named check of a group; its methods make its findings."""

    group: Group
    name: str

    def ok(self, message: str, **about: str) -> Finding:
        """Return that all is well; ``about`` are object and namespace."""
        return self._finding(FindingStatus.OK, message, **about)

    def warning(self, message: str, *, remedy: str, **about: str) -> Finding:
        """Return that something will fail, or is less than it could be."""
        return self._finding(FindingStatus.WARNING, message, remedy=remedy, **about)

    def failed(self, message: str, *, remedy: str, **about: str) -> Finding:
        """Return that something does not work."""
        return self._finding(FindingStatus.FAILED, message, remedy=remedy, **about)

    def unknown(self, message: str, *, remedy: str = "", **about: str) -> Finding:
        """Return that it could not be found out, and why."""
        return self._finding(FindingStatus.UNKNOWN, message, remedy=remedy, **about)

    def _finding(self, status: FindingStatus, message: str, **about: str) -> Finding:
        return Finding(group=self.group, check=self.name, status=status, message=message, **about)


def sorted_findings(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings by group, the worst of each group first."""
    groups, statuses = list(Group), list(FindingStatus)
    return sorted(
        findings,
        key=lambda item: (
            groups.index(item.group),
            statuses.index(item.status),
            item.check,
            item.namespace,
            item.object,
        ),
    )
