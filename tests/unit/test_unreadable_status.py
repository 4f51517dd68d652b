"""What is said of an object whose spec the operator cannot read."""

from datetime import UTC, datetime, timedelta

from b3lb_operator.manifests.facts import Block
from b3lb_operator.manifests.unreadable import build_unreadable_status

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BLOCK = Block("InvalidSpec", "spec.tickSeconds: must be one of 5, 10")


def test_every_given_condition_is_false_with_reason_and_message_and_nothing_else_is_said() -> None:
    status = build_unreadable_status(BLOCK, types=("Ready", "Schedulable"), old={"load": 7}, generation=3, now=NOW)
    assert status.keys() == {"observedGeneration", "conditions"}
    assert [(item["type"], item["status"], item["reason"], item["message"]) for item in status["conditions"]] == [
        ("Ready", "False", BLOCK.reason, BLOCK.message),
        ("Schedulable", "False", BLOCK.reason, BLOCK.message),
    ]
    assert {status["observedGeneration"], *(item["observedGeneration"] for item in status["conditions"])} == {3}


def test_other_conditions_stay_and_a_status_that_is_built_again_is_the_same() -> None:
    drained = {"type": "Drained", "status": "True", "reason": "NoMeetings", "message": "", "lastTransitionTime": "x"}
    first = build_unreadable_status(BLOCK, types=("Ready",), old={"conditions": [drained]}, generation=3, now=NOW)
    assert first["conditions"][0] == drained
    later = NOW + timedelta(minutes=5)
    assert build_unreadable_status(BLOCK, types=("Ready",), old=first, generation=3, now=later) == first
