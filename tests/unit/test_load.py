import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from b3lb.bbb.load_report import LOAD_BODY_BYTES, read_load
from b3lb.health import LoadReason, LoadReport
from b3lb.load import LoadFormula, node_load

DEFAULT = LoadFormula()
COUNTS = st.integers(0, 10_000)
CPU = st.integers(0, 10_000)


@pytest.mark.parametrize(("cpu", "term"), [(0, 0), (2500, 277.7), (5000, 820.3), (10_000, 5000)])
def test_the_cpu_term_grows_steeply_towards_full_use(cpu: int, term: float) -> None:
    assert node_load(DEFAULT, attendees=0, meetings=0, cpu=cpu) == pytest.approx(term, abs=0.05)


def test_attendees_and_meetings_weigh_one_and_thirty() -> None:
    assert node_load(DEFAULT, attendees=7, meetings=2, cpu=0) == 67


def test_an_unknown_cpu_adds_nothing() -> None:
    assert node_load(DEFAULT, attendees=7, meetings=2, cpu=None) == 67


@given(COUNTS, COUNTS, CPU, st.integers(1, 10_000))
def test_the_weight_divides_the_whole_load(attendees: int, meetings: int, cpu: int, weight: int) -> None:
    plain = node_load(DEFAULT, attendees=attendees, meetings=meetings, cpu=cpu)
    weighted = node_load(DEFAULT, attendees=attendees, meetings=meetings, cpu=cpu, weight_percent=weight)
    assert weighted == pytest.approx(plain * 100 / weight)


@given(
    COUNTS,
    COUNTS,
    CPU,
    CPU,
    st.builds(
        LoadFormula,
        attendee_factor=st.integers(0, 1000),
        meeting_factor=st.integers(0, 10_000),
        cpu_terms=st.integers(1, 10),
        cpu_maximum=st.integers(0, 100_000),
    ),
)
def test_more_use_never_lowers_the_load(
    attendees: int, meetings: int, one: int, other: int, formula: LoadFormula
) -> None:
    low, high = sorted((one, other))
    less = node_load(formula, attendees=attendees, meetings=meetings, cpu=low)
    more = node_load(formula, attendees=attendees + 1, meetings=meetings + 1, cpu=high)
    assert 0 <= less <= more
    assert math.isfinite(more)


@given(st.integers(1, 10), st.integers(0, 100_000), CPU)
def test_the_cpu_term_lies_between_zero_and_its_maximum(terms: int, maximum: int, cpu: int) -> None:
    formula = LoadFormula(cpu_terms=terms, cpu_maximum=maximum)
    assert 0 <= node_load(formula, attendees=0, meetings=0, cpu=cpu) <= maximum * (1 + 1e-9)


@pytest.mark.parametrize("cpu", [-1, -(10**9), 10_001, 10**9])
def test_a_cpu_value_out_of_range_is_cut(cpu: int) -> None:
    cut = 0 if cpu < 0 else 10_000
    assert node_load(DEFAULT, attendees=1, meetings=1, cpu=cpu) == node_load(DEFAULT, attendees=1, meetings=1, cpu=cut)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"0", 0),
        (b"2500", 2500),
        (b" 2500\r\n", 2500),
        (b"+17", 17),
        (b"2499.6", 2500),
        (b"10000", 10_000),
        (b"007", 7),
    ],
)
def test_a_number_from_0_to_10000_is_a_report(body: bytes, value: int) -> None:
    assert read_load(200, body) == LoadReport(value, LoadReason.REPORTED, "")


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (404, b"2500", LoadReason.NOT_FOUND),
        (403, b"2500", LoadReason.HTTP_STATUS),
        (500, b"", LoadReason.HTTP_STATUS),
        (302, b"", LoadReason.HTTP_STATUS),
        (204, b"", LoadReason.HTTP_STATUS),
        (200, b"", LoadReason.NOT_A_NUMBER),
        (200, b"<html>", LoadReason.NOT_A_NUMBER),
        (200, b"12 13", LoadReason.NOT_A_NUMBER),
        (200, b"nan", LoadReason.NOT_A_NUMBER),
        (200, b"inf", LoadReason.NOT_A_NUMBER),
        (200, b"1e3", LoadReason.NOT_A_NUMBER),
        (200, b"1_000", LoadReason.NOT_A_NUMBER),
        (200, "٣".encode(), LoadReason.NOT_A_NUMBER),
        (200, b"9" * 400, LoadReason.NOT_A_NUMBER),
        (200, b" " * (LOAD_BODY_BYTES + 1), LoadReason.NOT_A_NUMBER),
        (200, b"-1", LoadReason.NEGATIVE),
        (200, b"10001", LoadReason.TOO_HIGH),
    ],
)
def test_anything_else_says_why_it_is_none(status: int, body: bytes, reason: LoadReason) -> None:
    report = read_load(status, body)
    assert (report.value, report.reason) == (None, reason)
    assert report.message


@given(st.integers(-1000, 1000), st.binary(max_size=300))
def test_no_answer_makes_reading_the_load_fail(status: int, body: bytes) -> None:
    report = read_load(status, body)
    assert (report.value is None) == (report.reason is not LoadReason.REPORTED)
    assert report.value is None or 0 <= report.value <= 10_000
    assert len(report.message) < 120
    assert report.message.isprintable()
