"""What counts as drift of an object, and what replaces it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb_operator.covers import covers, quantity, replacement

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(_JSON)
def test_everything_covers_itself(value: Any) -> None:
    assert covers(value, value)


@given(st.dictionaries(st.text(max_size=5), _JSON), st.text(min_size=6), _JSON)
def test_a_live_map_may_hold_more(value: dict[str, Any], name: str, extra: Any) -> None:
    assert covers(value, {**value, name: extra})


@pytest.mark.parametrize(
    ("desired", "live"),
    [
        ({"a": 1}, {}),
        ({"a": 1}, {"a": 2}),
        ({"a": 1}, {"a": True}),
        ({"a": {"b": 1}}, {"a": None}),
        ([1, 2], [1]),
        ([1], [1, 2]),
        ([1, 2], [2, 1]),
        ([1], None),
        ({"limits": {"cpu": "1"}}, {"limits": {}}),
        ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "2"}}),
        ({"limits": {"cpu": "nonsense"}}, {"limits": {"cpu": "1"}}),
    ],
)
def test_drift_is_seen(desired: Any, live: Any) -> None:
    assert not covers(desired, live)


def test_defaults_inside_of_list_entries_are_no_drift() -> None:
    desired = {"containers": [{"name": "job", "args": ["core"]}]}
    assert covers(desired, {"containers": [{"name": "job", "args": ["core"], "terminationMessagePolicy": "File"}]})


@pytest.mark.parametrize(("written", "stored"), [("0.5", "500m"), (1, "1"), ("1024Mi", "1Gi"), ("1000m", "1")])
def test_amounts_are_compared_as_numbers(written: Any, stored: str) -> None:
    """The API server writes amounts in its own form; that is no drift."""
    assert covers({"requests": {"cpu": written}}, {"requests": {"cpu": stored}})


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("1.5", "1.5"),
        (".5", "0.5"),
        ("100m", "0.1"),
        ("1k", 1000),
        ("1Ki", 1024),
        ("1E", 10**18),
        ("1e3", 1000),
    ],
)
def test_quantities(text: str, number: Any) -> None:
    assert quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "Gi", "1Xi", "one"])
def test_what_is_no_quantity_raises(text: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        quantity(text)


def test_a_replacement_keeps_labels_and_annotations_of_others_and_the_version() -> None:
    live = {
        "metadata": {
            "name": "b3lb-core",
            "resourceVersion": "7",
            "uid": "u",
            "labels": {"team": "x", "app": "old"},
            "annotations": {"note": "mine"},
            "managedFields": [{}],
        },
        "spec": {"schedule": "changed", "foreign": 1},
        "status": {"active": []},
    }
    desired = {"metadata": {"name": "b3lb-core", "labels": {"app": "b3lb"}}, "spec": {"schedule": "* * * * *"}}
    assert replacement(desired, live) == {
        "metadata": {
            "name": "b3lb-core",
            "resourceVersion": "7",
            "uid": "u",
            "labels": {"team": "x", "app": "b3lb"},
            "annotations": {"note": "mine"},
        },
        "spec": {"schedule": "* * * * *"},
    }
