"""``b3lb doctor``: its command line, and how findings are shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from b3lb.findings import Finding, FindingStatus, Group, sorted_findings
from b3lb_cli.arguments import Commands, add_command, lazily
from b3lb_cli.table import shown

_DESCRIPTION = """\
Examine the installation: definitions, rights, operator, schedules, database, keys, and each server's certificate,
clock, checksum algorithm and load. What is wrong comes first, each with what to do about it. While the operator does
not answer, it says what the API server knows. Exit code 1 if something failed; with warnings alone it is 0.
"""

_MARKS = {
    FindingStatus.FAILED: "FAILED",
    FindingStatus.WARNING: "WARNING",
    FindingStatus.UNKNOWN: "UNKNOWN",
    FindingStatus.OK: "ok",
}
_MARK_COLUMNS = max(len(mark) for mark in _MARKS.values())
_LONGEST_TEXT = 400
_INDENT = "  "


def add_commands(commands: Commands) -> None:
    """Add the command."""
    add_command(
        commands,
        "doctor",
        summary="examine the installation: what is wrong, and what to do",
        description=_DESCRIPTION,
        examples=("b3lb doctor", "b3lb doctor -o json | jq '.items[] | select(.status == \"failed\")'"),
        execute=lazily("b3lb_cli.examination:doctor"),
    )


def as_text(findings: Iterable[Finding]) -> str:
    """Return findings for people: groups with something failed first, and in each group the worst first."""
    ordered = sorted_findings(findings)
    statuses = list(FindingStatus)
    groups: dict[Group, list[Finding]] = {}
    for finding in ordered:
        groups.setdefault(finding.group, []).append(finding)
    # Of equally ill groups the order of the first sorting stays.
    ill_first = sorted(groups, key=lambda group: statuses.index(groups[group][0].status))
    parts = [f"{group}\n{''.join(_lines(finding) for finding in groups[group])}" for group in ill_first]
    return "\n".join([*parts, f"{summary(ordered)}\n"])


def summary(findings: Sequence[Finding]) -> str:
    """Return how many findings there are of each status."""
    counts = Counter(finding.status for finding in findings)
    words = {
        FindingStatus.FAILED: ("failed", "failed"),
        FindingStatus.WARNING: ("warning", "warnings"),
        FindingStatus.UNKNOWN: ("unknown", "unknown"),
        FindingStatus.OK: ("ok", "ok"),
    }
    return ", ".join(
        f"{counts[status]} {one if counts[status] == 1 else many}" for status, (one, many) in words.items()
    )


def _lines(finding: Finding) -> str:
    mark = _MARKS[finding.status].ljust(_MARK_COLUMNS)
    about = finding.object + (f" in {finding.namespace}" if finding.namespace and finding.object else "")
    subject = f"{finding.check} {about}:" if about else f"{finding.check}:"
    lines = [f"{_INDENT}{mark}  {shown(f'{subject} {finding.message}', _LONGEST_TEXT)}"]
    if finding.remedy:
        space = " " * (_MARK_COLUMNS + 2)
        lines.append(f"{_INDENT}{space}do: {shown(finding.remedy, _LONGEST_TEXT)}")
    return "".join(f"{line}\n" for line in lines)
