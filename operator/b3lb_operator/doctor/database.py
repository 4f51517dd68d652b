"""What is wrong with the database, from one look at it: pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from b3lb.db.schema import judge
from b3lb.db.vital_signs import VitalSigns
from b3lb.findings import Check, Finding, Group

OLDEST_VERSION = 140000
"""PostgreSQL 14 as ``server_version_num``."""

SLOW, VERY_SLOW = timedelta(milliseconds=20), timedelta(milliseconds=250)
CLOCK_WARNING, CLOCK_FAILED = timedelta(seconds=2), timedelta(seconds=60)
FEW_CONNECTIONS, TOO_FEW_CONNECTIONS = 10, 3
"""A tick takes one, an enqueued run another, and the operator opens up to its pool's size."""

_REACHABLE = Check(Group.DATABASE, "DatabaseReachable")
_VERSION = Check(Group.DATABASE, "DatabaseVersion")
_SCHEMA = Check(Group.DATABASE, "DatabaseSchema")
_LATENCY = Check(Group.DATABASE, "DatabaseLatency")
_CLOCK = Check(Group.DATABASE, "DatabaseClock")
_CONNECTIONS = Check(Group.DATABASE, "DatabaseConnections")
_SIZE = Check(Group.DATABASE, "DatabaseSize")

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """What a look found; ``error`` is why there is none, without secrets. ``secret`` is the core Secret of the URL."""

    signs: VitalSigns | None
    error: str = ""
    namespace: str = ""
    secret: str = ""


def check_database(facts: DatabaseFacts) -> Iterator[Finding]:
    """Yield a finding for each property of the database, or one that it cannot be reached."""
    signs = facts.signs
    if signs is None:
        remedy = (
            'see docs/operations.md, "The database is lost"; the address is in '
            f"kubectl get -n {facts.namespace} secret {facts.secret}"
        )
        yield _REACHABLE.failed(f"the database cannot be used: {facts.error}", remedy=remedy)
        return
    if signs.in_recovery:
        remedy = "let the address (Secret key url, and directUrl) lead to the primary"
        yield _REACHABLE.failed("the server is a standby, which nothing can be written to", remedy=remedy)
    else:
        yield _REACHABLE.ok("it answers and takes writes")
    yield _version(signs)
    yield _schema(signs)
    yield _latency(signs)
    yield _clock(signs)
    yield _connections(signs)
    yield _SIZE.ok(f"it takes {_size(signs.size_bytes)}")


def _version(signs: VitalSigns) -> Finding:
    if signs.version < OLDEST_VERSION:
        message = f"PostgreSQL {signs.version_text} is older than 14"
        return _VERSION.failed(message, remedy='upgrade the server: docs/production.md, "Database"')
    return _VERSION.ok(f"PostgreSQL {signs.version_text}")


def _schema(signs: VitalSigns) -> Finding:
    problem = judge(signs.schema)
    if problem is not None:
        remedy = "let operator and jobs have one version: kubectl get deployments,cronjobs -o wide"
        return _SCHEMA.failed(problem, remedy=remedy)
    assert signs.schema is not None  # noqa: S101 - judge has a problem with none
    return _SCHEMA.ok(f"schema {signs.schema.version} serves this version")


def _latency(signs: VitalSigns) -> Finding:
    message = f"a statement that does nothing takes {signs.latency / timedelta(milliseconds=1):.1f} ms"
    if signs.latency < SLOW:
        return _LATENCY.ok(message)
    remedy = 'put the database near the cluster, and see whether it lacks CPU: docs/production.md, "Sizing"'
    make = _LATENCY.failed if signs.latency >= VERY_SLOW else _LATENCY.warning
    return make(message, remedy=remedy)


def _clock(signs: VitalSigns) -> Finding:
    difference = signs.clock_difference
    if abs(difference) < CLOCK_WARNING:
        return _CLOCK.ok("its clock is the operator's")
    seconds = difference.total_seconds()
    message = f"its clock is {abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} the operator's"
    make = _CLOCK.failed if abs(difference) >= CLOCK_FAILED else _CLOCK.warning
    return make(message, remedy="synchronise both hosts' clocks: timedatectl status; chronyc tracking")


def _connections(signs: VitalSigns) -> Finding:
    left = signs.connections_left
    message = f"{left} more connections are possible"
    if left >= FEW_CONNECTIONS:
        return _CONNECTIONS.ok(message)
    remedy = 'raise max_connections, or put a pooler in front: docs/production.md, "Database"'
    make = _CONNECTIONS.failed if left < TOO_FEW_CONNECTIONS else _CONNECTIONS.warning
    return make(message, remedy=remedy)


def _size(number: float) -> str:
    for unit in _UNITS:
        if number < _STEP or unit == _UNITS[-1]:
            break
        number /= _STEP
    return f"{number:.0f} {unit}"
