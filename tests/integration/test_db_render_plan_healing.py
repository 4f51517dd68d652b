"""Recordings for which there was no profile, on real PostgreSQL: each is rendered once there is one, and none hangs."""

import pytest

from tests.integration.database_farm import Farm
from tests.integration.render_plan_stage import Stage

pytestmark = pytest.mark.integration


@pytest.fixture
def stage(farm: Farm) -> Stage:
    return Stage(farm)


def half_rendered(stage: Stage) -> None:
    """Let r-1 be FAILED: hd is RENDERED, and there is no profile ``gone``."""
    stage.farm.run("UPDATE secrets SET record_profile_names = '{gone,hd}'")
    stage.upload()
    stage.plan()
    stage.farm.run(
        "UPDATE records SET state = 'RENDERED', finished_at = now(), nonce = 'n', file_key = 'k', file_bytes = 1, "
        "file_sha256 = repeat('a', 64) WHERE profile = 'hd'"
    )
    stage.farm.run("UPDATE record_sets SET state = 'FAILED', failed_at = now(), reason = 'NoProfile'")
    stage.farm.run("UPDATE task_runs SET state = 'SUCCESS', finished_at = now()")


def test_another_upload_does_not_open_a_recording_that_still_lacks_a_profile(stage: Stage) -> None:
    half_rendered(stage)
    stage.upload("r-2")
    stage.plan()
    assert stage.states() == ("FAILED", {"gone": "FAILED", "hd": "RENDERED"})
    assert stage.states("r-2") == ("UPLOADED", {"gone": "FAILED", "hd": "PENDING"})


def test_a_reference_that_was_mended_leaves_no_failure_of_the_wrong_one(stage: Stage) -> None:
    stage.farm.run("UPDATE secrets SET record_profile_names = '{typo}'")
    stage.upload()
    stage.plan()
    assert stage.states() == ("FAILED", {"typo": "FAILED"})
    stage.farm.run("UPDATE secrets SET record_profile_names = '{hd}'")
    stage.plan()
    assert stage.states() == ("UPLOADED", {"hd": "PENDING"})


def test_a_reference_that_was_taken_away_makes_what_is_left_a_whole(stage: Stage) -> None:
    half_rendered(stage)
    stage.farm.run("UPDATE secrets SET record_profile_names = '{hd}'")
    stage.plan()
    assert stage.states() == ("RENDERED", {"hd": "RENDERED"})


def test_a_retry_without_a_profile_runs_nothing_and_the_recording_still_heals(stage: Stage) -> None:
    stage.farm.run("UPDATE secrets SET record_profile_names = '{later}'")
    stage.upload()
    stage.plan()
    before = stage.farm.rows("SELECT failed_at FROM record_sets")
    stage.wish(retry=1)
    assert stage.states() == ("FAILED", {"later": "FAILED"})
    assert stage.farm.rows("SELECT failed_at FROM record_sets") > before, "whoever waits sees that it failed again"
    assert stage.runs() == []
    stage.profiles("hd", "later")
    stage.plan()
    assert stage.states() == ("UPLOADED", {"later": "PENDING"})


def test_an_object_that_cancels_from_the_beginning_keeps_its_recording_from_being_planned(stage: Stage) -> None:
    stage.upload()
    stage.wish(cancel=True)
    assert stage.states() == ("FAILED", {})
    assert stage.runs() == []
