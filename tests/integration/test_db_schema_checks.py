"""The schema itself refuses what must not be stored, whoever writes it."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
import sqlalchemy.exc

from b3lb.db.engine import create_engine
from tests.integration.database_farm import Farm

pytestmark = pytest.mark.integration

CLUSTER = {"namespace": "'n'", "name": "'c'", "uid": "'u'", "generation": "1"}
NODE = {
    "namespace": "'n'",
    "name": "'x'",
    "uid": "'u'",
    "generation": "1",
    "created_at": "now()",
    "api_url": "'a'",
    "load_url": "'l'",
    "blocked_reason": "'SecretNotFound'",
}
QUEUE = {**CLUSTER, "tasks": "'{a}'"}
RUN = {
    "id": "gen_random_uuid()",
    "namespace": "'n'",
    "queue": "'q'",
    "task": "'t'",
    "pod": "'p'",
    "state": "'STARTED'",
}
STATE = {
    "node_id": "1",
    "revision": "1",
    "ready": "true",
    "proven": "true",
    "reason": "''",
    "message": "''",
    "ready_changed_at": "now()",
    "load_reason": "''",
    "load_message": "''",
    "load": "0",
}
RECORD_SET = {
    "id": "'00000000-0000-0000-0000-000000000002'",
    "namespace": "'n'",
    "record_id": "'r'",
    "meeting_id": "'m'",
    "ended_at": "now()",
    "install_id": "gen_random_uuid()",
}
RECORD = {"record_set_id": "'00000000-0000-0000-0000-000000000001'", "profile": "'full-hd'"}
AUDIT = {
    "namespace": "'n'",
    "action": "'delete'",
    "kind": "'record-set'",
    "subject": "'r'",
    "actor": "'housekeeping'",
    "reason": "'PastHold'",
}
TABLES = {
    "clusters": CLUSTER,
    "nodes": NODE,
    "queues": QUEUE,
    "task_runs": RUN,
    "node_states": STATE,
    "record_sets": RECORD_SET,
    "records": RECORD,
    "audit": AUDIT,
}


def insert(connection: sa.Connection, table: str, **changes: str) -> None:
    values = {**TABLES.get(table, {}), **changes}
    statement = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(values.values())})"  # noqa: S608 - ours
    connection.execute(sa.text(statement.replace(":", "\\:")))


@pytest.fixture(scope="module")
def module_engine(module_database_url: str) -> Iterator[sa.Engine]:
    engine = create_engine(module_database_url, application_name="b3lb-tests")
    with engine.begin() as connection:
        insert(connection, "nodes")
        insert(connection, "record_sets", id="'00000000-0000-0000-0000-000000000001'", record_id="'first'")
    yield engine
    engine.dispose()


@pytest.fixture
def with_node(module_engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction in which the node 1 exists; nothing of it stays."""
    with module_engine.connect() as connection:
        yield connection


@pytest.mark.parametrize("table", list(TABLES))
def test_the_least_row_of_each_table_is_accepted_with_its_defaults(with_node: sa.Connection, table: str) -> None:
    insert(with_node, table, **({"name": "'other'"} if table == "nodes" else {}))


@pytest.mark.parametrize(
    ("table", "constraint", "changes"),
    [
        ("clusters", "clusters_checksum_algorithm_check", {"checksum_algorithm": "'md5'"}),
        ("clusters", "clusters_timeout_seconds_check", {"timeout_seconds": "0"}),
        ("clusters", "clusters_timeout_seconds_check", {"timeout_seconds": "31"}),
        ("clusters", "clusters_thresholds_check", {"unhealthy_after": "0"}),
        ("clusters", "clusters_thresholds_check", {"healthy_after": "0"}),
        ("clusters", "clusters_load_factors_check", {"attendee_factor": "-1"}),
        ("clusters", "clusters_load_factors_check", {"meeting_factor": "-1"}),
        ("clusters", "clusters_load_factors_check", {"cpu_terms": "0"}),
        ("clusters", "clusters_load_factors_check", {"cpu_maximum": "-1"}),
        ("clusters", "clusters_guard_check", {"guard_share_percent": "101"}),
        ("clusters", "clusters_guard_check", {"guard_minimum_nodes": "0"}),
        ("clusters", "clusters_guard_check", {"guard_maximum_seconds": "-1"}),
        ("nodes", "nodes_state_check", {"state": "'active'"}),
        ("nodes", "nodes_weight_percent_check", {"weight_percent": "0"}),
        ("nodes", "nodes_weight_percent_check", {"weight_percent": "1001"}),
        ("nodes", "nodes_limits_check", {"max_meetings": "-1"}),
        ("nodes", "nodes_limits_check", {"max_attendees": "-1"}),
        ("nodes", "nodes_pollable_check", {"blocked_reason": "NULL"}),
        ("nodes", "nodes_secret_check", {"secret_ciphertext": "'x'"}),
        ("nodes", "nodes_secret_check", {"secret_ciphertext": "'x'", "secret_key_id": "'k'"}),
        ("nodes", "nodes_namespace_name_key", {"name": "'x'"}),
        ("nodes", "nodes_cluster_id_fkey", {"cluster_id": "999", "name": "'y'"}),
        ("queues", "queues_tick_seconds_check", {"tick_seconds": "0"}),
        ("queues", "queues_max_in_flight_check", {"max_in_flight": "0"}),
        ("node_states", "node_states_node_id_fkey", {"node_id": "999"}),
        ("node_states", "node_states_cpu_check", {"cpu": "10001"}),
        ("node_states", "node_states_cpu_check", {"cpu": "-1"}),
        ("node_states", "node_states_counts_check", {"meetings": "-1"}),
        ("node_states", "node_states_counts_check", {"attendees": "-1"}),
        ("task_runs", "task_runs_state_check", {"state": "'DONE'"}),
        ("task_runs", "task_runs_arguments_size_check", {"arguments": "to_jsonb(repeat('x', 65535))"}),
        ("task_runs", "task_runs_result_size_check", {"result": "to_jsonb(repeat('x', 65535))"}),
        (
            "schema_version",
            "schema_version_one_row_check",
            {"singleton": "false", "version": "1", "oldest_program": "1"},
        ),
        ("schema_version", "schema_version_pkey", {"singleton": "true", "version": "1", "oldest_program": "1"}),
        ("cluster_states", "cluster_states_cluster_id_fkey", {"cluster_id": "999"}),
        ("clusters", "clusters_secret_check", {"secret_ciphertext": "'x'"}),
        ("record_sets", "record_sets_namespace_record_id_key", {"record_id": "'first'"}),
        ("record_sets", "record_sets_state_check", {"state": "'UNKNOWN'"}),
        ("record_sets", "record_sets_rendering_at_check", {"state": "'RENDERING'"}),
        ("record_sets", "record_sets_rendered_at_check", {"state": "'RENDERED'"}),
        ("record_sets", "record_sets_failed_at_check", {"state": "'FAILED'", "failed_at": "now()"}),
        ("record_sets", "record_sets_deleting_at_check", {"state": "'DELETING'"}),
        ("record_sets", "record_sets_tenant_check", {"tenant_slug": "'UNI'"}),
        ("record_sets", "record_sets_archive_sha256_check", {"archive_sha256": "'ABC'"}),
        ("record_sets", "record_sets_counts_check", {"archive_bytes": "-1"}),
        ("record_sets", "record_sets_metadata_size_check", {"metadata": "to_jsonb(repeat('x', 65535))"}),
        ("record_sets", "record_sets_secret_id_fkey", {"secret_id": "999"}),
        ("records", "records_record_set_id_fkey", {"record_set_id": "gen_random_uuid()"}),
        ("records", "records_rendered_check", {"state": "'RENDERED'", "finished_at": "now()"}),
        ("records", "records_failed_check", {"state": "'FAILED'", "finished_at": "now()"}),
        ("records", "records_progress_percent_check", {"progress_percent": "101"}),
        ("records", "records_warnings_check", {"warnings": "'{}'"}),
        ("audit", "audit_counts_check", {"bytes": "-1"}),
        ("installation", "installation_pkey", {"singleton": "true"}),
    ],
)
def test_a_bad_value_is_refused_by_its_constraint(
    with_node: sa.Connection, table: str, constraint: str, changes: dict[str, str]
) -> None:
    with pytest.raises(sqlalchemy.exc.IntegrityError, match=constraint):
        insert(with_node, table, **changes)


@pytest.mark.parametrize(
    ("table", "column"),
    [(table, column) for table, values in TABLES.items() for column in values if column != "blocked_reason"],
)
def test_what_is_needed_may_not_be_null(with_node: sa.Connection, table: str, column: str) -> None:
    with pytest.raises(sqlalchemy.exc.IntegrityError, match=f'null value in column "{column}"'):
        insert(with_node, table, **{column: "NULL"})


def test_ids_are_given_by_the_database_only(with_node: sa.Connection) -> None:
    with pytest.raises(sqlalchemy.exc.ProgrammingError, match="cannot insert a non-DEFAULT value"):
        insert(with_node, "clusters", id="5")


def test_a_row_that_others_refer_to_cannot_be_deleted(farm: Farm) -> None:
    farm.fill(1)
    with pytest.raises(sqlalchemy.exc.IntegrityError, match="nodes_cluster_id_fkey"):
        farm.run("DELETE FROM clusters")
