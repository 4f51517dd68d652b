"""How kopf is set up: as an engine that watches, and nothing else."""

from __future__ import annotations

import itertools
from collections import defaultdict
from pathlib import Path
from typing import Any

import kopf
import pytest
import yaml

from b3lb_operator import main
from b3lb_operator.kinds import CRON_JOB, CUSTOM_KINDS, JOB, KINDS, LEASE, NODE, SECRET
from tests.unit.operator_fakes import node_manifest

RBAC = Path(__file__).resolve().parents[2] / "deploy" / "rbac.yaml"


def test_kopf_keeps_trying_for_ever_with_pauses_of_at_most_three_seconds() -> None:
    for _ in range(2):
        pauses = list(itertools.islice(main.Backoffs(), 1000))
        assert all(0 < pause <= 3 for pause in pauses)
    assert not hasattr(main.Backoffs(), "__len__")


def test_kopf_posts_nothing_scans_nothing_and_has_no_peers() -> None:
    settings = main.kopf_settings()
    assert (settings.posting.enabled, settings.scanning.disabled, settings.peering.standalone) == (False, True, True)
    assert settings.watching.server_timeout is not None
    assert settings.watching.client_timeout is not None
    assert settings.watching.server_timeout < settings.watching.client_timeout


def test_watches_ask_only_for_what_is_needed() -> None:
    watching = main.kopf_settings().watching
    assert watching.field_selectors[SECRET.group_version_plural] == "type!=helm.sh/release.v1"
    assert watching.field_selectors[LEASE.group_version_plural] == "metadata.name=b3lb-operator"
    for kind in (CRON_JOB, JOB):
        assert watching.label_selectors[kind.group_version_plural] == "app.kubernetes.io/part-of=b3lb"


def test_there_are_only_handlers_that_leave_no_trace_on_objects() -> None:
    registry = main.REGISTRY
    assert len(registry._watching.get_all_handlers()) == len(KINDS)
    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()
    assert not registry._indexing.get_all_handlers()
    assert not registry._webhooks.get_all_handlers()


async def test_an_event_is_handed_over_and_nothing_else() -> None:
    seen: list[Any] = []

    class Operator:
        def observe(self, *arguments: Any) -> None:
            seen.append(arguments)

    (handler,) = (item for item in main.REGISTRY._watching.get_all_handlers() if item.id == NODE.plural)
    event = {"type": "ADDED", "object": node_manifest()}
    function: Any = handler.fn
    assert await function(event=event, memo=kopf.Memo(operator=Operator()), logger=None) is None
    assert seen == [(NODE, "ADDED", node_manifest())]


@pytest.mark.looptime
async def test_refused_credentials_are_read_again_and_never_equal_the_ones_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """kopf ends the process when it is handed equal ones."""
    config = tmp_path / "config"
    config.write_text(
        yaml.safe_dump(
            {
                "current-context": "c",
                "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:9"}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
            }
        )
    )
    monkeypatch.setenv("KUBECONFIG", str(config))
    log_in: Any = main.login
    memo = kopf.Memo()
    first, second = [await log_in(memo=memo, settings=main.kopf_settings(), logger=None) for _ in range(2)]
    assert (first.server, first.token) == (second.server, second.token) == ("https://127.0.0.1:9", "t")
    assert first != second


def test_the_rights_are_the_verbs_that_are_used_and_no_wildcard() -> None:
    _account, role, binding = yaml.safe_load_all(RBAC.read_text())
    granted: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for rule in role["rules"]:
        for group, resource in itertools.product(rule["apiGroups"], rule["resources"]):
            granted[(group, resource)] |= set(rule["verbs"])
    text = str(role["rules"])
    assert "*" not in text
    assert [resource for resource, verbs in granted.items() if "delete" in verbs] == [
        ("b3lb.io", "bbbrecordings"),
        ("batch", "jobs"),
    ]
    assert granted[("", "pods")] == {"list"}
    assert granted[("", "secrets")] == {"get", "list", "watch", "create"}
    for kind in CUSTOM_KINDS:
        assert granted[("b3lb.io", f"{kind.plural}/status")] == {"patch"}
    for kind in KINDS:
        group, _, plural = kind.group_version_plural
        assert {"list", "watch"} <= granted[(group, plural)]
    assert binding["subjects"][0]["name"] == "b3lb-operator"
