"""Schedules of queues: what of cron the API server takes, and what it says of the rest."""

from __future__ import annotations

from b3lb.resources.base import Rule

_MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"
_WEEKDAYS = "SUN MON TUE WED THU FRI SAT"


def _cron_field(number: str, names: str = "") -> str:
    """Return the pattern of a field of cron: a list of ``*``, numbers and ranges, each of which may have a step."""
    value = f"({number}|(?i:{names.replace(' ', '|')}))" if names else f"({number})"
    entry = f"([*?]|{value}(-{value})?)(/(0?[1-9]|[1-9][0-9]))?"
    return f"{entry}(,{entry})*"


SCHEDULE_PATTERN = (
    "^"
    + " +".join(
        (
            _cron_field("[0-5]?[0-9]"),
            _cron_field("[01]?[0-9]|2[0-3]"),
            _cron_field("0?[1-9]|[12][0-9]|3[01]"),
            _cron_field("0?[1-9]|1[0-2]", _MONTHS),
            _cron_field("0?[0-6]", _WEEKDAYS),
        )
    )
    + "$"
)
"""The five fields of cron as Kubernetes reads them (https://pkg.go.dev/github.com/robfig/cron/v3#hdr-CRON_Expression_Format):
Sunday is 0, not 7. That a range does not run backwards is a rule of its own."""

SCHEDULE_RULE = Rule(
    f"self.matches('{SCHEDULE_PATTERN}') || "
    "self in ['@hourly', '@daily', '@midnight', '@weekly', '@monthly', '@yearly', '@annually']",
    "schedule must have the five fields of cron: minute (0-59), hour (0-23), day of month (1-31), month (1-12 or "
    "JAN-DEC), day of week (0-6 or SUN-SAT; Sunday is 0), each as *, number, range (1-5), list (1,3) or with a step "
    '(*/5), e.g. "*/5 * * * *"; or be one of @hourly, @daily, @weekly, @monthly, @yearly; a time zone is written in '
    "timeZone",
)
RANGE_RULE = Rule(
    "self.findAll('[0-9]{1,2}-[0-9]{1,2}').all(range, int(range.split('-')[0]) <= int(range.split('-')[1])) && "
    "self.upperAscii().findAll('[A-Z]{3}-[A-Z]{3}').all(range, "
    f"'{_MONTHS} {_WEEKDAYS}'.indexOf(range.substring(0, 3)) <= '{_MONTHS} {_WEEKDAYS}'.indexOf(range.substring(4)))",
    "a range in schedule must not run backwards: write two, e.g. 22-23,0-5 for 22-5",
)
