"""The plan of a sync: exactly what differs is written, and a new revision comes only with a reason to poll anew."""

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.crypto import Encrypted, KeyRing
from b3lb.db.configuration import (
    Action,
    ClusterRow,
    Difference,
    Existing,
    NodeRow,
    Plan,
    QueueRow,
    Write,
    block_duplicates,
    node_comparison,
    normalized_url,
    plan,
    resolve_clusters,
    secret_context,
)
from b3lb.db.planning import cleaned, cluster_comparison, compare_rows, upload_secret_context
from b3lb.health import GuardPolicy
from b3lb.load import LoadFormula

EPOCH = datetime(2026, 11, 1, tzinfo=UTC)
OLD = KeyRing({"old": b"o" * 32})
NEW = KeyRing({"new": b"n" * 32, "old": b"o" * 32})
SECRET = "8cd8ef52e8e1"


def node(name: str = "bbb-1", **changes: Any) -> NodeRow:
    row = NodeRow(
        name=name,
        uid=f"uid-{name}",
        generation=1,
        cluster="default",
        api_url=f"https://{name}.example.org/bigbluebutton/api",
        load_url=f"https://{name}.example.org/b3lb/load",
        secret=SECRET,
        created_at=EPOCH,
    )
    return dataclasses.replace(row, **changes)


def stored(row: NodeRow, *, keys: KeyRing = OLD, **changes: Any) -> Existing[NodeRow]:
    """Return ``row`` as the database gives it back."""
    sealed = None if row.secret is None else keys.encrypt(row.secret, context=secret_context("default", row.name))
    existing = Existing(id=7, row=dataclasses.replace(row, secret=None), revision=4, secret=sealed)
    return dataclasses.replace(existing, **changes)


def plan_nodes(
    desired: Sequence[NodeRow], existing: Sequence[Existing[NodeRow]], *, complete: bool = True, keys: KeyRing = OLD
) -> Plan[NodeRow]:
    return plan(desired, existing, complete=complete, compare=node_comparison("default", keys))


def test_a_new_node_is_inserted_at_revision_one() -> None:
    row = node()
    assert plan_nodes([row], []) == Plan(
        writes=(Write(Action.INSERT, row, None, revision=1, repoll=True, seal=True, anew=True),), deletes=()
    )


def test_an_equal_node_is_not_written() -> None:
    assert plan_nodes([node()], [stored(node())]) == Plan()


POLL_CHANGES: list[dict[str, Any]] = [
    {"api_url": "https://other.example.org/bigbluebutton/api"},
    {"load_url": "https://other.example.org/b3lb/load"},
    {"cluster": "second"},
    {"uid": "uid-of-the-next-object"},
]
QUIET_CHANGES: list[dict[str, Any]] = [
    {"generation": 2},
    {"state": "Cordoned"},
    {"state": "Draining"},
    {"state": "Disabled"},
    {"weight_percent": 200},
    {"max_meetings": 10},
    {"max_attendees": 100},
    {"created_at": EPOCH + timedelta(days=1)},
    {"blocked_reason": "SecretNotFound", "blocked_message": "there is no Secret bbb-1"},
]


@pytest.mark.parametrize("change", POLL_CHANGES)
def test_what_a_poll_depends_on_gives_a_new_revision_and_another_server_is_judged_anew(change: dict[str, Any]) -> None:
    existing = stored(node())
    wanted = node(**change)
    assert plan_nodes([wanted], [existing]) == Plan(
        writes=(Write(Action.UPDATE, wanted, existing, 5, repoll=True, seal=False, anew="api_url" in change),)
    )


@pytest.mark.parametrize("change", QUIET_CHANGES)
def test_everything_else_is_written_at_the_same_revision(change: dict[str, Any]) -> None:
    existing = stored(node())
    wanted = node(**change)
    assert plan_nodes([wanted], [existing]) == Plan(
        writes=(Write(Action.UPDATE, wanted, existing, revision=4, repoll=False, seal=False),)
    )


def test_another_secret_is_encrypted_at_a_new_revision() -> None:
    existing = stored(node())
    wanted = node(secret="another")
    assert plan_nodes([wanted], [existing]) == Plan(
        writes=(Write(Action.UPDATE, wanted, existing, revision=5, repoll=True, seal=True, anew=True),)
    )


def test_the_same_secret_under_an_old_key_is_encrypted_again_at_the_same_revision() -> None:
    existing = stored(node(), keys=OLD)
    assert plan_nodes([node()], [existing], keys=NEW) == Plan(
        writes=(Write(Action.UPDATE, node(), existing, revision=4, repoll=False, seal=True),)
    )


def test_a_secret_whose_key_was_dropped_is_written_anew() -> None:
    existing = stored(node(), keys=OLD)
    (write,) = plan_nodes([node()], [existing], keys=KeyRing({"third": b"t" * 32})).writes
    assert (write.revision, write.repoll, write.seal) == (5, True, True)


def test_a_secret_that_vanished_is_dropped_without_a_new_revision() -> None:
    existing = stored(node())
    wanted = node(secret=None, blocked_reason="SecretNotFound", blocked_message="there is no Secret bbb-1")
    (write,) = plan_nodes([wanted], [existing]).writes
    assert (write.row, write.revision, write.seal) == (wanted, 4, False)
    assert plan_nodes([wanted], [stored(wanted)]) == Plan()


def test_a_node_that_can_be_polled_again_gets_a_new_revision() -> None:
    blocked = node(secret=None, blocked_reason="SecretNotFound", blocked_message="…")
    for existing in (stored(blocked), stored(node(state="Disabled")), stored(node(blocked_reason="DuplicateURL"))):
        (write,) = plan_nodes([node()], [existing]).writes
        assert (write.action, write.revision, write.repoll, write.anew) == (Action.UPDATE, 5, True, True)


def test_another_reason_for_being_blocked_is_no_reason_to_poll() -> None:
    existing = stored(node(blocked_reason="DuplicateURL"))
    (write,) = plan_nodes([node(blocked_reason="SecretNotFound")], [existing]).writes
    assert (write.revision, write.repoll) == (4, False)


def test_a_deleted_node_that_comes_back_is_revived_at_a_new_revision_even_if_nothing_else_changed() -> None:
    existing = stored(node(), deleted=True)
    assert plan_nodes([node()], [existing]) == Plan(
        writes=(Write(Action.REVIVE, node(), existing, revision=5, repoll=True, seal=False, anew=True),)
    )


def test_only_a_complete_list_deletes_and_only_what_is_not_deleted_yet() -> None:
    gone, buried = stored(node("gone")), stored(node("buried"), deleted=True)
    existing = [stored(node()), gone, buried]
    assert plan_nodes([node()], existing, complete=True) == Plan(deletes=(gone,))
    assert plan_nodes([node()], existing, complete=False) == Plan()
    assert plan_nodes([], [gone, buried]) == Plan(deletes=(gone,))


def test_a_name_may_occur_only_once() -> None:
    with pytest.raises(ValueError, match="same name"):
        plan_nodes([node(), node()], [])


def cluster(**changes: Any) -> ClusterRow:
    return dataclasses.replace(ClusterRow(name="default", uid="u", generation=1), **changes)


@pytest.mark.parametrize(
    ("change", "repoll"),
    [
        ({"checksum_algorithm": "sha1"}, True),
        ({"timeout_seconds": 10}, True),
        ({"ca_certificates": "PEM"}, True),
        ({"load": LoadFormula(meeting_factor=1)}, False),
        ({"guard": GuardPolicy(share_percent=10)}, False),
        ({"unhealthy_after": 5}, False),
        ({"healthy_after": 5}, False),
        ({"generation": 2}, False),
        ({"uid": "v"}, False),
    ],
)
def test_a_cluster_asks_for_new_polls_only_if_its_requests_change(change: dict[str, Any], repoll: bool) -> None:
    existing = Existing(id=1, row=cluster())
    assert cluster_comparison("default", OLD)(cluster(), existing) == Difference(changed=False)
    assert cluster_comparison("default", OLD)(cluster(**change), existing) == Difference(changed=True, repoll=repoll)


def test_the_end_of_a_clusters_block_asks_for_new_polls_and_its_beginning_does_not() -> None:
    free = ClusterRow(name="c", uid="u", generation=1)
    blocked = dataclasses.replace(free, blocked_reason="CASecretNotFound", blocked_message="no Secret")
    begins = cluster_comparison("default", OLD)(blocked, Existing(1, free))
    assert (begins.changed, begins.repoll) == (True, False)
    ends = cluster_comparison("default", OLD)(free, Existing(1, blocked))
    assert (ends.changed, ends.repoll, ends.anew) == (True, True, True)


@pytest.mark.parametrize(
    ("secret", "keys", "difference"),
    [
        ("nonce", OLD, Difference(changed=False)),
        ("other", OLD, Difference(changed=True, seal=True)),
        ("nonce", NEW, Difference(changed=True, seal=True)),
        (None, OLD, Difference(changed=True)),
    ],
)
def test_a_clusters_upload_secret_is_written_when_it_differs_and_concerns_no_poll(
    secret: str | None, keys: KeyRing, difference: Difference
) -> None:
    row = ClusterRow(name="c", uid="u", generation=1, secret=secret)
    sealed = OLD.encrypt("nonce", context=upload_secret_context("default", "c"))
    assert cluster_comparison("default", keys)(row, Existing(1, row, secret=sealed)) == difference


def test_a_queue_is_written_when_it_differs() -> None:
    row = QueueRow(name="core", uid="u", generation=1, tasks=("check-nodes",), tick_seconds=15)
    assert compare_rows(row, Existing(id=1, row=row)) == Difference(changed=False)
    changed = dataclasses.replace(row, tasks=("check-nodes", "other"))
    assert compare_rows(changed, Existing(id=1, row=row)) == Difference(changed=True)


states = st.sampled_from(["Active", "Cordoned", "Draining", "Disabled"])
rows = st.builds(
    node,
    name=st.sampled_from(["a", "b", "c", "d"]),
    uid=st.sampled_from(["u1", "u2"]),
    generation=st.integers(1, 3),
    cluster=st.sampled_from(["default", "second"]),
    secret=st.sampled_from(["s1", "s2", None]),
    state=states,
    blocked_reason=st.sampled_from([None, "SecretNotFound"]),
    weight_percent=st.sampled_from([100, 200]),
)
row_lists = st.lists(rows, unique_by=lambda row: row.name)


@st.composite
def existing_rows(draw: st.DrawFn) -> list[Existing[NodeRow]]:
    keys = st.sampled_from([OLD, NEW])
    return [
        stored(row, keys=draw(keys), id=number, deleted=draw(st.booleans()), revision=draw(st.integers(1, 9)))
        for number, row in enumerate(draw(row_lists))
    ]


def applied(planned: Plan[NodeRow], existing: Sequence[Existing[NodeRow]], keys: KeyRing) -> list[Existing[NodeRow]]:
    """Return the rows after ``planned``, as the database would hold them."""
    after = {item.row.name: item for item in existing}
    for number, write in enumerate(planned.writes, start=100):
        before = after.get(write.row.name)
        sealed: Encrypted | None = before.secret if before else None
        if write.row.secret is None:
            sealed = None
        elif write.seal:
            sealed = keys.encrypt(write.row.secret, context=secret_context("default", write.row.name))
        after[write.row.name] = Existing(
            id=before.id if before else number,
            row=dataclasses.replace(write.row, secret=None),
            revision=write.revision,
            secret=sealed,
        )
    for item in planned.deletes:
        after[item.row.name] = dataclasses.replace(item, deleted=True)
    return list(after.values())


@given(desired=row_lists, existing=existing_rows(), complete=st.booleans(), keys=st.sampled_from([OLD, NEW]))
def test_an_applied_plan_leaves_nothing_to_do(
    desired: list[NodeRow], existing: list[Existing[NodeRow]], complete: bool, keys: KeyRing
) -> None:
    after = applied(plan_nodes(desired, existing, complete=complete, keys=keys), existing, keys)
    assert plan_nodes(desired, after, complete=complete, keys=keys) == Plan()
    living = {item.row.name: item.row for item in after if not item.deleted}
    wanted = {row.name: dataclasses.replace(row, secret=None) for row in desired}
    assert wanted.items() <= living.items()


@given(desired=row_lists, existing=existing_rows(), complete=st.booleans())
def test_a_complete_list_deletes_exactly_the_living_rows_that_are_not_in_it(
    desired: list[NodeRow], existing: list[Existing[NodeRow]], complete: bool
) -> None:
    planned = plan_nodes(desired, existing, complete=complete)
    living = {item.row.name for item in existing if not item.deleted}
    expected = living - {row.name for row in desired} if complete else set()
    assert {item.row.name for item in planned.deletes} == expected


@given(desired=row_lists, existing=existing_rows(), keys=st.sampled_from([OLD, NEW]))
def test_revisions_never_decrease_and_secrets_are_encrypted_only_for_a_reason(
    desired: list[NodeRow], existing: list[Existing[NodeRow]], keys: KeyRing
) -> None:
    before = {item.row.name: item for item in existing}
    for write in plan_nodes(desired, existing, keys=keys).writes:
        old = before.get(write.row.name)
        if old is None:
            continue
        assert write.revision == old.revision + write.repoll
        if write.row.secret is None or old.secret is None:
            continue
        context = secret_context("default", write.row.name)
        same = NEW.matches(write.row.secret, old.secret.hash, old.secret.key_id, context=context)
        # The ring OLD does not have the key "new", so it cannot compare and has to encrypt.
        assert write.seal == (not same or old.secret.key_id != keys.primary)


def test_a_node_without_its_cluster_is_blocked_unless_it_is_already() -> None:
    blocked = node("c", cluster="missing", blocked_reason="SecretNotFound", blocked_message="…")
    found = resolve_clusters([node("a"), node("b", cluster="missing"), blocked, node("d", cluster=None)], {"default"})
    assert found == [
        node("a"),
        node(
            "b",
            cluster=None,
            blocked_reason="ClusterNotFound",
            blocked_message="BBBCluster missing does not exist",
        ),
        node("c", cluster=None, blocked_reason="SecretNotFound", blocked_message="…"),
        node("d", cluster=None, blocked_reason="ClusterNotFound", blocked_message="no BBBCluster is named"),
    ]


URL = "https://bbb.example.org/bigbluebutton/api"


def aged(name: str, days: int, **changes: Any) -> NodeRow:
    return node(name, api_url=changes.pop("api_url", URL), created_at=EPOCH + timedelta(days=days), **changes)


def test_of_two_nodes_with_one_server_the_older_keeps_polling() -> None:
    young = aged("a", 2, api_url="HTTPS://BBB.example.org:443/bigbluebutton/api/")
    old, other = aged("b", 1), aged("c", 3, api_url="https://other.example.org/bigbluebutton/api")
    message = "BBBNode b polls the same server already"
    assert block_duplicates([young, old, other]) == [
        dataclasses.replace(young, blocked_reason="DuplicateURL", blocked_message=message),
        old,
        other,
    ]


def test_a_node_that_yields_blocks_no_other_but_is_blocked_by_the_next_one() -> None:
    old, young, last = block_duplicates([aged("a", 1), aged("b", 2), aged("c", 3)], yielding={"a"})
    assert [row.blocked_reason for row in (old, young, last)] == ["DuplicateURL", None, "DuplicateURL"]
    assert old.blocked_message == last.blocked_message == "BBBNode b polls the same server already"
    alone = block_duplicates([aged("a", 1)], yielding={"a"})
    assert alone[0].blocked_reason is None


def test_what_is_to_be_said_of_an_owner_is_in_the_message() -> None:
    rows = block_duplicates([aged("a", 1), aged("b", 2)], hints={"a": "it leaves", "b": "no"})
    assert rows[1].blocked_message == "BBBNode a polls the same server already; it leaves"


def test_of_equal_age_the_first_name_keeps_polling() -> None:
    rows = block_duplicates([aged("b", 1), aged("a", 1), aged("c", 1)])
    assert [row.blocked_reason for row in rows] == ["DuplicateURL", None, "DuplicateURL"]


def test_a_disabled_node_neither_blocks_nor_is_blocked() -> None:
    first, second, third = block_duplicates(
        [aged("a", 1, state="Disabled"), aged("b", 2), aged("c", 3, state="Disabled")]
    )
    assert [row.blocked_reason for row in (first, second, third)] == [None, None, None]


def test_a_blocked_owner_keeps_its_claim_and_a_blocked_duplicate_its_reason() -> None:
    owner = aged("a", 1, secret=None, blocked_reason="SecretNotFound", blocked_message="…")
    twin = aged("b", 2, secret=None, blocked_reason="SecretNotFound", blocked_message="…")
    assert block_duplicates([owner, twin]) == [owner, twin]
    assert block_duplicates([owner, aged("c", 3)])[1].blocked_reason == "DuplicateURL"


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 3), st.sampled_from([URL, URL + "/", "x"]), states))
)
def test_every_server_is_polled_by_exactly_one_node(found: list[tuple[str, int, str, str]]) -> None:
    rows = [aged(name, days, api_url=url, state=state) for name, days, url, state in {f[0]: f for f in found}.values()]
    result = block_duplicates(rows)
    assert block_duplicates(result) == result
    polled = [normalized_url(row.api_url) for row in result if row.state != "Disabled" and row.blocked_reason is None]
    assert sorted(polled) == sorted({normalized_url(row.api_url) for row in rows if row.state != "Disabled"})


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        ("https://b.example/api", "HTTPS://B.Example:443/api/", True),
        ("http://b.example:80/api", "http://b.example./api", True),
        ("https://bücher.example/api", "https://xn--bcher-kva.example/api", True),
        ("https://[2001:DB8::1]:443/api", "https://[2001:db8::1]/api", True),
        ("https://b.example/api", "http://b.example/api", False),
        ("https://b.example/api", "https://b.example:8443/api", False),
        ("https://b.example/a", "https://b.example/b", False),
        ("https://b.example/API", "https://b.example/api", False),
        ("https://[bad", "https://[bad", True),
        ("https://[bad", "https://[worse", False),
    ],
)
def test_spellings_of_one_address_are_equal(first: str, second: str, equal: bool) -> None:
    assert (normalized_url(first) == normalized_url(second)) is equal


@given(st.text(max_size=60))
def test_no_url_is_too_strange_to_be_compared(text: str) -> None:
    assert normalized_url(text) == normalized_url(text)


def test_texts_that_postgresql_cannot_store_are_replaced() -> None:
    assert cleaned(node(blocked_message="a\x00b\ud800")).blocked_message == "a\N{REPLACEMENT CHARACTER}b?"


def test_a_row_does_not_show_its_secret() -> None:
    assert SECRET not in repr(node())
    assert "PEM" not in repr(cluster(ca_certificates="PEM"))
