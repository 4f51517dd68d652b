"""Writes of ``status``: only what changed, conditions at once, numbers at most every so often."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from b3lb_operator.events import EventRecorder
from b3lb_operator.instruments import Instruments
from b3lb_operator.kinds import QUEUE, RECORDING, Key, Kind
from b3lb_operator.kube import ConflictError, Kube, NotFoundError
from b3lb_operator.store import Store

NUMBERS_SECONDS = 30.0
QUEUE_NUMBERS_SECONDS = 60.0
RECORDING_NUMBERS_SECONDS = 10.0
REPLICAS_SECONDS = 10.0
"""Autoscalers, and people who scale, look at how many pods a queue may have."""

_REMEMBERED = 2000


class StatusWriter:
    """Compares the status that an object should have with the one it has, and writes the difference when it is due."""

    def __init__(
        self,
        kube: Kube,
        store: Store,
        events: EventRecorder,
        *,
        clock: Callable[[], float],
        instruments: Instruments | None = None,
    ) -> None:
        """Take the parts.

        Args:
            kube: Where to write.
            store: The live objects; the answer to a write goes back into it.
            events: Told of every written transition.
            clock: Monotonic seconds.
            instruments: What counts the writes; absent: nobody asks.
        """
        self._instruments = instruments or Instruments()
        self._kube = kube
        self._store = store
        self._events = events
        self._clock = clock
        self._numbers_written: dict[tuple[Kind, Key], float] = {}

    async def write(self, kind: Kind, key: Key, desired: Mapping[str, Any]) -> float | None:
        """Give an object its status.

        Returns:
            The seconds after which a change of numbers alone may be written; None when there is nothing to do.

        Raises:
            KubeError: it could not be written.
        """
        live = self._store.get(kind, key)
        if live is None:
            return None
        old = live.get("status") or {}
        if not is_wanted(old, desired, generation=int(live["metadata"].get("generation", 0))):
            self._instruments.status_patches_avoided.inc()
            return None
        urgent = is_urgent(old, desired)
        delay = 0.0 if urgent else self._delay(kind, key, scaled=old.get("replicas") != desired.get("replicas"))
        if delay > 0:
            self._instruments.status_patches_avoided.inc()
            return delay
        try:
            answer = await self._kube.patch_status(
                kind, key, uid=live["metadata"]["uid"], status=merge_patch(old, desired)
            )
        except (NotFoundError, ConflictError):
            # The object went or was replaced; the watch will tell.
            return None
        self._instruments.status_patches.inc()
        # A queue's run ends every minute: with numbers in between it would be written twice as often.
        if not urgent or kind == RECORDING or _run_ended(old, desired):
            self._note_numbers(kind, key)
        self._store.accept(kind, answer)
        self._events.record(kind, answer, old)
        return None

    def _note_numbers(self, kind: Kind, key: Key) -> None:
        now = self._clock()
        if len(self._numbers_written) >= _REMEMBERED:
            recent = {item: at for item, at in self._numbers_written.items() if now - at < QUEUE_NUMBERS_SECONDS}
            self._numbers_written = recent
        self._numbers_written[(kind, key)] = now

    def _delay(self, kind: Kind, key: Key, *, scaled: bool) -> float:
        written = self._numbers_written.get((kind, key))
        return 0.0 if written is None else written + _period(kind, scaled=scaled) - self._clock()


def _period(kind: Kind, *, scaled: bool) -> float:
    """Return the least seconds between two writes of numbers alone."""
    if kind == QUEUE:
        return REPLICAS_SECONDS if scaled else QUEUE_NUMBERS_SECONDS
    return RECORDING_NUMBERS_SECONDS if kind == RECORDING else NUMBERS_SECONDS


def is_wanted(old: Mapping[str, Any], new: Mapping[str, Any], *, generation: int) -> bool:
    """Whether ``new`` says anything else than ``old``, and is not made from an older generation of the object.

    An ``observedGeneration`` that the object, now of ``generation``, never had says nothing: somebody else wrote it, or
    the object was restored with the status of a later one.
    """
    observed = int(old.get("observedGeneration", 0))
    return new != old and (int(new.get("observedGeneration", 0)) >= observed or observed > generation)


def is_urgent(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a condition, a phase, the observed generation, a count of nodes or secrets, a reference or a run changed.

    Those change seldom, and are what one looks for; messages of the same condition and other numbers are no hurry.
    """
    return _marks(old) != _marks(new)


_SELDOM = ("observedGeneration", "nodes", "lastSuccessTime", "failed", "secrets", "secretRef", "phase")


def _run_ended(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a queue's run ended meanwhile; the first status of a queue tells of none."""
    return old.get("lastSuccessTime") != new.get("lastSuccessTime") or old.get("failed", 0) != new.get("failed", 0)


def _marks(status: Mapping[str, Any]) -> list[Any]:
    fields = ("type", "status", "reason", "observedGeneration")
    conditions = [tuple(condition.get(field) for field in fields) for condition in status.get("conditions", ())]
    return [*(status.get(field) for field in _SELDOM), *sorted(conditions, key=str)]


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON merge patch (RFC 7396) that turns ``old`` into ``new``; lists are replaced as a whole."""
    patch: dict[str, Any] = dict.fromkeys(old.keys() - new.keys())
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            inner = merge_patch(before, value)
            if inner:
                patch[name] = inner
        elif name not in old or before != value:
            patch[name] = value
    return patch
