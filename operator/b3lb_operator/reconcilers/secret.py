"""BBBSecret: the core Secret with a generated API secret is there, whoever deletes it, and never overwritten.

The value of one that somebody deleted is gone with it, which is the way to a new one; an Event says that it came.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable

import structlog

from b3lb.resources import BBBSecretSpec
from b3lb.resources.conditions import ConditionStatus, SecretCondition, SecretReason, find_condition
from b3lb.resources.secret import generated_secret_name
from b3lb_operator.events import WARNING, EventRecorder, Happening
from b3lb_operator.kinds import API_SECRET, SECRET, Key, Manifest, is_deleting
from b3lb_operator.kube import ConflictError, ForbiddenError, Kube, NotFoundError, RefusedError
from b3lb_operator.manifests.api_secret import build_generated_secret
from b3lb_operator.manifests.facts import Block
from b3lb_operator.resolve import parse_spec
from b3lb_operator.store import Store

LENGTH = 48
"""Characters of a generated API secret: 285 bits."""

REFUSED_SECONDS = 30.0
"""When to try again what the API server refused, for quotas and rights change without an event here."""

SECRET_REGENERATED = "SecretRegenerated"  # noqa: S105 - a reason, not a password
_GENERATED = "Generated"
_LATER_REASONS = frozenset({SecretReason.DISABLED, SecretReason.TENANT_DISABLED})
"""Reasons not to accept a BBBSecret that speak of one with a value."""

_ALPHABET = string.ascii_letters + string.digits

_log = structlog.stdlib.get_logger(__name__)


def new_api_secret() -> str:
    """Return a random API secret of letters and digits."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(LENGTH))


class ApiSecretReconciler:
    """Generates API secrets where none is given; a Secret that exists already is never touched, whosever it is."""

    def __init__(self, *, kube: Kube, store: Store, events: EventRecorder, on_problem: Callable[[Key], None]) -> None:
        """Take the parts; ``on_problem`` is told of every BBBSecret whose ``problem`` changed."""
        self._kube = kube
        self._store = store
        self._events = events
        self._on_problem = on_problem
        self._problems: dict[Key, str] = {}

    def problem(self, key: Key) -> str:
        """Return why the Secret of a BBBSecret could not be generated; empty when there was no trouble."""
        return self._problems.get(key, "")

    async def reconcile(self, key: Key) -> float | None:
        """Make sure that one BBBSecret has an API secret; return after how many seconds to look again."""
        manifest = self._store.get(API_SECRET, key)
        if manifest is None or is_deleting(manifest) or not _is_generated(manifest):
            self._note(key, "")
            return None
        try:
            await self._ensure(Key(key.namespace, generated_secret_name(key.name)), manifest)
        except (RefusedError, ForbiddenError) as error:
            self._note(key, str(error))
            return REFUSED_SECONDS
        self._note(key, "")
        return None

    async def _ensure(self, name: Key, owner: Manifest) -> None:
        if self._store.get(SECRET, name) is not None or await self._exists(name):
            return
        try:
            created = await self._kube.create(SECRET, build_generated_secret(owner, new_api_secret()))
        except ConflictError:
            # Another operator, or the user, was faster.
            return
        _log.info("API secret generated", namespace=name.namespace, name=name.name)
        if _had_value(owner):
            note = (
                f"Secret {name.name} was gone, so a new API secret was generated: whoever uses the old one is refused; "
                "give them the new one"
            )
            happening = Happening(_GENERATED, WARNING, SECRET_REGENERATED, note)
            self._events.tell(happening, kind=API_SECRET, manifest=owner, occasion=created["metadata"]["uid"])

    async def _exists(self, name: Key) -> bool:
        """Whether the API server has it, although no watch showed it yet."""
        try:
            await self._kube.get(SECRET, name)
        except NotFoundError:
            return False
        return True

    def _note(self, key: Key, problem: str) -> None:
        if self.problem(key) == problem:
            return
        if problem:
            _log.warning("API secret not generated", namespace=key.namespace, name=key.name, error=problem)
            self._problems[key] = problem
        else:
            del self._problems[key]
        self._on_problem(key)


def _had_value(manifest: Manifest) -> bool:
    """Whether what is said of a BBBSecret is said of one that had an API secret."""
    conditions = (manifest.get("status") or {}).get("conditions", ())
    accepted = find_condition(conditions, SecretCondition.ACCEPTED) or {}
    return accepted.get("status") == ConditionStatus.TRUE or accepted.get("reason") in _LATER_REASONS


def _is_generated(manifest: Manifest) -> bool:
    spec = parse_spec(BBBSecretSpec, manifest)
    return not isinstance(spec, Block) and spec.secret_ref is None and spec.object_name == manifest["metadata"]["name"]
