"""Recordings in the database for tests on real PostgreSQL: a tenant, two of its secrets, and record sets."""

from typing import Any
from uuid import UUID

from tests.integration.database_farm import Farm

_RECORD_SET = """
    INSERT INTO record_sets (namespace, record_id, meeting_id, secret_id, tenant_slug, sub_id, state, archive_key,
        archive_bytes, ended_at, rendering_at, rendered_at, failed_at, deleting_at, reason, legal_hold, install_id)
    VALUES (:namespace, :record_id, :meeting_id, :secret_id, 'UNI', 1, :state, 'archive', 1000,
        now() - make_interval(secs => :age * 86400), now(), now(), now(), now(), 'NoProfile', :legal_hold,
        (SELECT id FROM installation))
    RETURNING id
"""
_RECORD = """
    INSERT INTO records (record_set_id, profile, state, nonce, file_key, file_bytes, file_sha256, finished_at)
    VALUES (:id, 'standard', 'RENDERED', :nonce, 'video', 500, :sha256, now())
"""


class Recordings:
    """A farm with the secrets ``uni-001`` and ``uni-002`` and as many record sets as a test adds."""

    def __init__(self, farm: Farm, *, tenant_days: int = 14, secret_days: int = 0) -> None:
        self.farm = farm
        tenant = farm.tenant()
        self.secrets = farm.fill_tenants([tenant], [farm.api_secret(sub_id=1), farm.api_secret(sub_id=2)])
        farm.run("UPDATE tenants SET hold_days = :days", days=tenant_days)
        farm.run("UPDATE secrets SET hold_days = :days", days=secret_days)

    def add(
        self,
        record_id: str,
        *,
        age: float = 0,
        state: str = "RENDERED",
        legal_hold: bool = False,
        of: str | None = "uni-001",
        namespace: str = "default",
    ) -> UUID:
        """Add a record set with a video whose meeting ended so many days ago; return its ID."""
        parameters: dict[str, Any] = {
            "namespace": namespace,
            "record_id": record_id,
            "meeting_id": f"UNI-001-{record_id}",
            "secret_id": None if of is None else self.secrets[of],
            "state": state,
            "age": age,
            "legal_hold": legal_hold,
        }
        ((found,),) = self.farm.rows(_RECORD_SET, **parameters)
        self.farm.run(_RECORD, id=found, nonce=f"nonce-{namespace}-{record_id}", sha256="0" * 64)
        return UUID(str(found))

    def states(self) -> dict[str, str]:
        """Return the states of the record sets by record ID."""
        return {str(name): str(state) for name, state in self.farm.rows("SELECT record_id, state FROM record_sets")}
