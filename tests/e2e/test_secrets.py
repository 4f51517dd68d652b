"""A secret value stands in core Secrets only: not in etcd elsewhere, the database, logs, Events or messages."""

from __future__ import annotations

import base64

import pytest

from dev.scenario import SEAM_SECONDS, Scenario, bbb_secret, bbb_tenant, secret
from tests.e2e.leaks import known_values, leaks

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]


def test_no_secret_value_is_found_outside_core_secrets(scenario: Scenario) -> None:
    scenario.declare()
    given = "a-given-api-secret-that-must-not-leak"
    reference = {"secretRef": {"name": "given"}}
    scenario.apply(bbb_tenant("UNI"), secret("given", given), bbb_secret("UNI", 1), bbb_secret("UNI", 2, **reference))
    for name in ("uni-001", "uni-002"):
        scenario.expect_condition(name, "Accepted", "True/Accepted", of="bbbsecret", within=10)
    generated = base64.b64decode(scenario.get("secret", "uni-001-api-secret")["data"]["secret"]).decode()
    node = scenario.farm.nodes[0]
    wrong = "a-wrong-value-that-must-not-leak"
    scenario.expect_condition(node.name, "Ready", "True/Responding", within=5)
    job = scenario.start_job()
    scenario.expect("the job polls", lambda: scenario.requests(node.name) >= 4, within=SEAM_SECONDS)
    scenario.apply(secret(node.name, wrong))
    scenario.expect_condition(node.name, "Ready", "False/ChecksumError", within=5)
    scenario.expect("the job ends", lambda: scenario.get("job", job)["status"].get("succeeded") == 1, within=75)
    installation = scenario.installation
    password = installation.database_url.split(":")[2].split("@")[0]
    keys = installation.encryption_keys.split(":", 1)[1]
    values = [given, generated, wrong, password, keys, *(simulated.secret for simulated in scenario.farm.nodes)]
    everything = [*values, *known_values(installation)]
    assert {given, generated} <= known_values(installation)
    assert leaks(installation, everything) == []
    # The search would find what stands there.
    assert {place for place, _ in leaks(installation, [node.api_url])} >= {"etcd", "the database"}
