"""Meetings belong to tenants and secrets by the prefix of their IDs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.meetings.attribution import MeetingName, attribute, node_meeting_id, split_meeting_id


@pytest.mark.parametrize(
    ("meeting_id", "name"),
    [
        ("AB-000-x", MeetingName("AB", 0, "x")),
        ("TENLETTERS-999-room", MeetingName("TENLETTERS", 999, "room")),
        ("UNI-001-UNI-002-room", MeetingName("UNI", 1, "UNI-002-room")),
        ("UNI-001--", MeetingName("UNI", 1, "-")),
        ("UNI-001- Räume/ß €\n", MeetingName("UNI", 1, " Räume/ß €\n")),
        ("UNI-001-" + "x" * 240, MeetingName("UNI", 1, "x" * 240)),
        ("UNI-001-" + "x" * 241, None),
        ("UNI-001-" + "x" * 240 + "\n", None),
        ("UNI-001-", None),
        ("UNI-01-room", None),
        ("UNI-0001-room", None),
        ("UNI-\u0660\u0660\u0661-room", None),
        ("A-001-room", None),
        ("ELEVENLETTR-001-room", None),
        ("uni-001-room", None),
        ("ÜNI-001-room", None),
        (" UNI-001-room", None),
        ("UNI_001_room", None),
        ("room", None),
        ("", None),
    ],
)
def test_a_prefix_is_slug_and_three_digits(meeting_id: str, name: MeetingName | None) -> None:
    assert split_meeting_id(meeting_id) == name


@given(st.from_regex(r"\A[A-Z]{2,10}\Z"), st.integers(0, 999), st.text(min_size=1, max_size=240))
def test_what_is_put_together_is_taken_apart_again(slug: str, sub_id: int, client_id: str) -> None:
    assert split_meeting_id(node_meeting_id(slug, sub_id, client_id)) == (slug, sub_id, client_id)


@pytest.mark.parametrize(
    ("slug", "sub_id", "client_id"),
    [("a", 1, "x"), ("UNI\n", 1, "x"), ("UNI", -1, "x"), ("UNI", 1000, "x"), ("UNI", 1, ""), ("UNI", 1, "x" * 241)],
)
def test_an_id_that_would_be_taken_apart_otherwise_is_not_made(slug: str, sub_id: int, client_id: str) -> None:
    with pytest.raises(ValueError, match=r"slug|sub-id|characters"):
        node_meeting_id(slug, sub_id, client_id)


def test_a_meeting_belongs_to_the_secret_of_its_prefix_and_to_no_other() -> None:
    attribution = {("UNI", 0): 10, ("UNI", 1): 11, ("LAB", 1): 21}
    assert attribute("UNI-001-room", attribution) == 11
    assert attribute("LAB-001-room", attribution) == 21
    assert attribute("UNI-000-room", attribution) == 10
    assert attribute("UNI-002-room", attribution) is None
    assert attribute("room", attribution) is None
