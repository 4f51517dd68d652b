"""What the pod of a render gets: memory, CPU, disk and time, by profile, queue and recording; pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from b3lb.recordings.render_needs import RenderNeeds
from b3lb.resources import BBBQueueSpec, BBBRecordProfileSpec
from b3lb.resources.queue import QueueResources
from b3lb_operator.covers import quantity

MIB = 2**20
FFMPEG_BYTES = 1229 * MIB
"""What FFmpeg 7.1, that of the images, and its helpers take beside Python for the largest common profile, 1080p: its
threads keep queues of raw frames. FFmpeg 5.1 takes half of it."""

MEMORY_STEP = Fraction(3, 2)
"""By so much more memory a render gets once that ran out of it."""

_RESERVE = Fraction(1, 5)
"""Share of the memory limit that Python's collector leaves free: it looks at its limit between collections only."""

_LEAST_HEAP = Fraction(1, 4)
"""Share that is left to Python where FFmpeg would take nearly all; who limits memory so closely must measure."""

_DISK_BYTES = 2 * 2**30
_DISK_SHARE = Fraction(6, 5)
_DEFAULT_REQUESTS = {"cpu": "1", "memory": "8Gi"}
_DEFAULT_LIMITS = {"memory": "10Gi"}
_FIXED_SECONDS = 600
_SECONDS_PER_SECOND = 4

Amounts = Mapping[str, int | str]


@dataclass(frozen=True, slots=True)
class Level:
    """What somebody says of requests and limits; what they do not say is not in it."""

    requests: Amounts
    limits: Amounts


def render_resources(needs: RenderNeeds, profile: BBBRecordProfileSpec, queue: BBBQueueSpec) -> QueueResources:
    """Return requests and limits: what the profile says, else the queue, else the defaults, memory by its steps.

    A request and a limit that come from different levels and contradict each other both get the amount of the one that
    goes before.
    """
    disk = disk_bytes(needs.archive_bytes)
    levels = (_of_profile(profile), _of_queue(queue), _defaults(disk))
    requests: dict[str, int | str] = {}
    limits: dict[str, int | str] = {}
    for name in ("cpu", "memory", "ephemeral-storage"):
        request, limit = _agreed(name, levels)
        if request is not None:
            requests[name] = request
        if limit is not None:
            limits[name] = limit
    if needs.memory_steps:
        for amounts in (requests, limits):
            amounts["memory"] = _mebibytes(quantity(amounts["memory"]) * _factor(needs.memory_steps))
    return QueueResources(requests=requests, limits=limits)


def disk_bytes(archive_bytes: int) -> int:
    """Return the disk that a render needs for the unpacked archive and the video, from the archive's size in bytes."""
    return _DISK_BYTES + math.ceil(archive_bytes * _DISK_SHARE)


def deadline_seconds(seconds: float | None, longest: int) -> int:
    """Return how long a render may be at work: ten minutes and four times the recording, at most ``longest``.

    Args:
        seconds: Length of the recording, None if it is not known.
        longest: The queue's limit in seconds.
    """
    if seconds is None:
        return longest
    return min(longest, _FIXED_SECONDS + math.ceil(_SECONDS_PER_SECOND * max(0.0, seconds)))


def heap_mebibytes(limit: int | str, *, ffmpeg: int = FFMPEG_BYTES) -> int:
    """Return how many MiB PyPy's heap may have in a pod with a memory limit: what FFmpeg and a reserve leave of it.

    With it PyPy raises MemoryError, which says what happened, before the kernel kills the pod
    (https://doc.pypy.org/en/latest/gc_info.html#environment-variables).

    Args:
        limit: A quantity of Kubernetes.
        ffmpeg: Bytes that FFmpeg takes.
    """
    total = Fraction(quantity(limit))
    return max(1, math.floor(max(total - ffmpeg - total * _RESERVE, total * _LEAST_HEAP) / MIB))


def _of_profile(profile: BBBRecordProfileSpec) -> Level:
    given = profile.resources.model_dump(by_alias=True, exclude_none=True)
    return Level(given["requests"], given["limits"])


def _of_queue(queue: BBBQueueSpec) -> Level:
    given = queue.resources or QueueResources()
    return Level(given.requests, given.limits)


def _defaults(disk: int) -> Level:
    storage = {"ephemeral-storage": _mebibytes(Decimal(disk))}
    return Level(_DEFAULT_REQUESTS | storage, _DEFAULT_LIMITS | storage)


def _agreed(name: str, levels: tuple[Level, ...]) -> tuple[int | str | None, int | str | None]:
    """Return request and limit of a resource, None for none."""
    asked = next((place for place, level in enumerate(levels) if name in level.requests), None)
    limited = next((place for place, level in enumerate(levels) if name in level.limits), None)
    request = None if asked is None else levels[asked].requests[name]
    limit = None if limited is None else levels[limited].limits[name]
    if asked is None or limited is None or request is None or limit is None or quantity(request) <= quantity(limit):
        return request, limit
    return (request, request) if asked < limited else (limit, limit)


def _factor(steps: int) -> Decimal:
    factor = MEMORY_STEP**steps
    return Decimal(factor.numerator) / Decimal(factor.denominator)


def _mebibytes(amount: Decimal) -> str:
    return f"{math.ceil(amount / MIB)}Mi"
