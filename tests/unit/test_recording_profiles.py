"""With which profiles a recording is rendered."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.recordings.profiles import Profile, choose_profiles, missing_message

HD, SD, AUDIO = Profile("hd", is_default=True), Profile("sd"), Profile("audio", usable=False)


@pytest.mark.parametrize(
    ("references", "profiles", "chosen", "missing"),
    [
        ((), [SD, HD], ["hd"], []),
        ((), [SD, Profile("a")], ["a", "sd"], []),
        ((), [], [], []),
        ((), [AUDIO], [], []),
        ((), [Profile("hd", is_default=True, usable=False), SD], ["sd"], []),
        (["sd"], [SD, HD], ["sd"], []),
        (["sd", "hd", "sd"], [HD, SD], ["sd", "hd"], []),
        (["sd", "gone"], [SD, HD], ["sd"], ["gone"]),
        (["audio"], [HD, AUDIO], [], ["audio"]),
    ],
)
def test_the_references_win_then_the_defaults_then_all(
    references: Sequence[str], profiles: list[Profile], chosen: list[str], missing: list[str]
) -> None:
    choice = choose_profiles(references, profiles)
    assert [profile.name for profile in choice.chosen] == chosen
    assert list(choice.missing) == missing


def test_the_message_names_what_is_missing() -> None:
    assert "a, b" in missing_message("a", "b")
    assert "no BBBRecordProfile" in missing_message()


NAMES = st.sampled_from(["a", "b", "c", "d"])
PROFILES = st.lists(
    st.builds(Profile, NAMES, is_default=st.booleans(), usable=st.booleans()), unique_by=lambda item: item.name
)


@given(st.lists(NAMES), PROFILES)
def test_nothing_is_rendered_twice_or_with_what_cannot_be_used_and_no_reference_is_lost(
    references: list[str], profiles: list[Profile]
) -> None:
    choice = choose_profiles(references, profiles)
    names = [profile.name for profile in choice.chosen]
    assert len(set(names)) == len(names)
    assert all(profile.usable for profile in choice.chosen)
    if references:
        assert {*names, *choice.missing} == set(references)
    else:
        assert bool(names) == any(profile.usable for profile in profiles)


@given(st.lists(NAMES), PROFILES)
def test_the_order_of_the_rows_decides_nothing(references: list[str], profiles: list[Profile]) -> None:
    assert choose_profiles(references, profiles) == choose_profiles(references, profiles[::-1])
