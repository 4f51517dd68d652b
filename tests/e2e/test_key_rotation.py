"""The encryption key is changed by the documented commands, while the farm is polled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from b3lb.crypto import KeyRing
from dev.environment import Installation
from dev.farm.process import Farm
from dev.helm import CHART
from dev.scenario import SEAM_SECONDS, TICK_SECONDS, Scenario, bbb_node, bbb_secret, bbb_tenant, secret
from dev.toolchain import kubectl_path
from tests.e2e.documented import Shell, command_blocks, shell_environment

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

NEXT_TICK = TICK_SECONDS + SEAM_SECONDS


@pytest.fixture
def polled(installation: Installation, start_farm: Callable[..., Farm]) -> Scenario:
    """A farm whose pods tick, a tenant with an API secret; a node and an API secret were deleted, their rows remain."""
    scenario = Scenario(installation, start_farm(nodes=4, frozen=True))
    *kept, gone = scenario.farm.nodes
    scenario.declare(kept)
    scenario.apply(secret(gone.name, gone.secret), bbb_node(gone))
    scenario.apply(bbb_tenant("UNI"), bbb_secret("UNI", 1), bbb_secret("UNI", 2))
    for node in scenario.farm.nodes:
        scenario.expect_condition(node.name, "Ready", "True/Responding", within=10)
    for name in ("uni-001", "uni-002"):
        scenario.expect_condition(name, "Accepted", "True/Accepted", of="bbbsecret", within=10)
    installation.kubectl("annotate", "bbbnode", gone.name, "b3lb.io/force-delete=true")
    installation.kubectl("delete", f"bbbnode/{gone.name}", "bbbsecret/uni-002", "--timeout=20s")
    scenario.start_job()
    return scenario


@pytest.fixture
def shell(installation: Installation, tmp_path: Path) -> Shell:
    """A shell in the namespace of the release."""
    plane = installation.environment.control_plane
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(plane.kubeconfig.read_text(encoding="utf-8"), encoding="utf-8")
    kubeconfig.chmod(0o600)
    plane.kubectl("config", "set-context", "--current", f"--namespace={installation.namespace}", kubeconfig=kubeconfig)
    return Shell(tmp_path, shell_environment(kubeconfig, [kubectl_path()]))


def keys_in_rows(installation: Installation) -> dict[str, list[str]]:
    """Return the IDs of the keys in all tables that have a column for one, deleted rows included."""
    found: dict[str, list[str]] = {}
    with psycopg.connect(installation.database_url) as connection:
        columns = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND column_name LIKE '%key\\_id'"
        ).fetchall()
        for table, column in columns:
            statement = sql.SQL("SELECT {0} FROM {1} WHERE {0} IS NOT NULL")
            rows = connection.execute(statement.format(sql.Identifier(column), sql.Identifier(table)))
            found[table] = [row[0] for row in rows]
    return found


def ready_since(scenario: Scenario) -> dict[str, str]:
    """Return since when each node is Ready; one that is not, or was not for a moment, differs."""
    return {
        node.name: f"{condition['status']} since {condition['lastTransitionTime']}"
        for node in scenario.farm.nodes[:-1]
        for condition in scenario.get("bbbnode", node.name)["status"]["conditions"]
        if condition["type"] == "Ready"
    }


def all_polled(scenario: Scenario) -> None:
    """Wait until every node was polled anew, which takes its decrypted secret."""
    scenario.farm.control.reset_counters()
    for node in scenario.farm.nodes[:-1]:
        scenario.expect(
            f"{node.name} is polled",
            lambda: scenario.requests(node.name) >= 2,  # noqa: B023 - called at once
            within=NEXT_TICK,
        )


def only_new_pods(scenario: Scenario) -> None:
    """End the pods that know the keys of before, as a minute does, and start one."""
    scenario.installation.kubectl("delete", "jobs", "--all", "--timeout=30s", "--cascade=foreground")
    scenario.start_job()


def test_a_key_changed_as_documented_is_in_no_row_any_more_and_no_node_misses_a_tick_or_leaves_ready(
    polled: Scenario, shell: Shell
) -> None:
    installation = polled.installation
    if not installation.environment.isolated:
        pytest.skip("the operator in the Deployment's pod takes root")
    append, move, drop = command_blocks("docs/upgrade.md", "Changing the encryption key")
    value = polled.get("secret", "uni-001-api-secret")["data"]
    old = installation.encryption_keys
    since = ready_since(polled)
    assert len(since) == 3
    assert keys_in_rows(installation) == {"clusters": [], "nodes": ["k1"] * 4, "secrets": ["k1"] * 2}
    all_polled(polled)

    shell.run(append)
    assert KeyRing.parse(installation.encryption_keys).key_ids == ("k1", "k2")
    assert keys_in_rows(installation) == {"clusters": [], "nodes": ["k1"] * 4, "secrets": ["k1"] * 2}
    only_new_pods(polled)
    all_polled(polled)

    shell.run(move)
    assert KeyRing.parse(installation.encryption_keys).key_ids == ("k2", "k1")
    assert keys_in_rows(installation) == {"clusters": [], "nodes": ["k2"] * 4, "secrets": ["k2"] * 2}
    all_polled(polled)

    keys = installation.encryption_keys
    installation.helm("upgrade", str(CHART), "--reset-then-reuse-values", "--set=log.level=debug")
    installation.kubectl("rollout", "status", "deployment/b3lb-operator", "--timeout=60s")
    assert installation.encryption_keys == keys

    shell.run(drop)
    assert KeyRing.parse(installation.encryption_keys).key_ids == ("k2",)
    assert old not in installation.encryption_keys
    only_new_pods(polled)
    all_polled(polled)
    assert keys_in_rows(installation) == {"clusters": [], "nodes": ["k2"] * 4, "secrets": ["k2"] * 2}
    assert polled.get("secret", "uni-001-api-secret")["data"] == value
    assert_readable(installation)
    assert ready_since(polled) == since
    cannot = [log for log in installation.logs() if "cannot be decrypted" in log.read_text(errors="replace")]
    assert cannot == []


def assert_readable(installation: Installation) -> None:
    """The keys of now decrypt every row, those of deleted objects, too."""
    keys = KeyRing.parse(installation.encryption_keys)
    with psycopg.connect(installation.database_url) as connection:
        for table in ("nodes", "secrets"):
            statement = sql.SQL("SELECT namespace, name, secret_ciphertext, secret_key_id FROM {}")
            for namespace, name, ciphertext, key_id in connection.execute(statement.format(sql.Identifier(table))):
                assert keys.decrypt(ciphertext, key_id, context=f"{table}/{namespace}/{name}")
