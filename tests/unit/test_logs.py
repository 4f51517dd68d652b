"""Logs are one JSON object per line, whoever writes them, and hold no secret."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
import structlog

from b3lb import logs

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture(autouse=True)
def _logging_left_as_found() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def lines(stream: io.StringIO) -> Lines:
    logs.configure("json", "info", stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_with_time_level_logger_and_its_keys(lines: Lines) -> None:
    logs.get_logger("b3lb.test").bind(namespace="default").info("node is ready", node="bbb-1", seconds=0.25)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "node is ready",
        "level": "info",
        "logger": "b3lb.test",
        "namespace": "default",
        "node": "bbb-1",
        "seconds": 0.25,
    }


def test_records_of_libraries_have_the_same_form(lines: Lines) -> None:
    logging.getLogger("some.library").warning("%s of %d failed", "one", 3)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "one of 3 failed", "level": "warning", "logger": "some.library"}


def test_context_variables_are_in_the_lines_of_libraries_too(lines: Lines) -> None:
    structlog.contextvars.bind_contextvars(task="check-nodes")
    logging.getLogger("some.library").warning("slow")
    assert lines()[0]["task"] == "check-nodes"


def test_a_record_about_an_object_names_it(lines: Lines) -> None:
    reference = {"kind": "BBBNode", "namespace": "default", "name": "bbb-1", "uid": "u"}
    logging.getLogger("library.objects").info("handled", extra={"k8s_ref": reference, "settings": object()})
    logging.getLogger("library.objects").info("handled", extra={"k8s_ref": {"kind": "Namespace", "name": "x"}})
    assert [line["object"] for line in lines()] == ["BBBNode/default/bbb-1", "Namespace/x"]
    assert "settings" not in lines()[0]


@pytest.mark.parametrize("own", [True, False])
def test_an_exception_is_one_string_in_its_line_without_its_secret(own: bool, lines: Lines) -> None:
    def poll() -> None:
        raise ValueError("no answer from https://node/api/getMeetings?checksum=0a1b2c3d")

    try:
        poll()
    except ValueError:
        if own:
            logs.get_logger("b3lb").exception("poll failed")
        else:
            logging.getLogger("library").exception("poll failed")
    (line,) = lines()
    assert line["event"] == "poll failed"
    assert line["level"] == "error"
    assert line["exception"].startswith("Traceback (most recent call last):")
    assert line["exception"].endswith("ValueError: no answer from https://node/api/getMeetings?checksum=[redacted]")
    assert "0a1b2c3d" not in json.dumps(line)


def test_errors_of_the_database_hold_no_password(lines: Lines, stream: io.StringIO) -> None:
    log = logs.get_logger("b3lb")
    try:
        psycopg.connect("postgresql://b3lb:geheim@127.0.0.1:1/b3lb?connect_timeout=geheim")
    except psycopg.Error:
        log.exception("refused", url="postgresql://b3lb:geheim@127.0.0.1:1/b3lb")
    try:
        sa.make_url("postgresql://b3lb:geheim@127.0.0.1:port/b3lb")
    except (ValueError, sa.exc.ArgumentError):
        log.exception("malformed postgresql://b3lb:geheim@127.0.0.1:port/b3lb")
    assert len(lines()) == 2
    assert "://b3lb:[redacted]@127.0.0.1:1" in stream.getvalue()
    assert "b3lb:geheim" not in stream.getvalue()


def test_secrets_are_removed_from_keys_values_and_messages(lines: Lines, stream: io.StringIO) -> None:
    log = logs.get_logger("b3lb")
    log.info("bearer geheim-geheim", node_secret="geheim", headers={"Authorization": "geheim"}, token=5)
    logging.getLogger("library").warning("password=%s", "geheim")
    assert "geheim" not in stream.getvalue()
    assert lines()[0]["token"] == 5


def test_line_breaks_and_foreign_values_stay_within_one_line(lines: Lines) -> None:
    logs.get_logger("b3lb").info("one\ntwo\u2028", value=object(), name="grüße", bad="\ud800")
    (line,) = lines()
    assert line["event"] == "one\ntwo\u2028"
    assert line["value"].startswith("<object object")


def test_less_than_the_level_is_dropped(lines: Lines) -> None:
    logs.get_logger("b3lb").debug("not this")
    logging.getLogger("library").debug("nor this")
    assert lines() == []


def test_debug_shows_our_events_but_not_the_requests_and_statements_that_libraries_trace(stream: io.StringIO) -> None:
    logs.configure("json", "DEBUG", stream=stream)
    logs.get_logger("b3lb").debug("this")
    for name in ("kubernetes.aio.client.rest", "sqlalchemy.engine.Engine", "aiohttp.client"):
        logging.getLogger(name).debug("response body: c2VjcmV0")
        logging.getLogger(name).info("statement with values")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["this"]


def test_warnings_become_lines(lines: Lines) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    (line,) = lines()
    assert "DeprecationWarning: old" in line["event"]
    assert line["logger"] == "py.warnings"


def test_configuring_twice_does_not_double_the_lines(lines: Lines, stream: io.StringIO) -> None:
    logs.configure("json", "info", stream=stream)
    logs.get_logger("b3lb").info("once")
    assert len(lines()) == 1


def test_the_console_form_is_for_people(stream: io.StringIO) -> None:
    logs.configure("console", "info", stream=stream)
    logs.get_logger("b3lb").info("node is ready", node="bbb-1", secret="geheim")
    logging.getLogger("library").error("failed")
    first, second = stream.getvalue().splitlines()
    assert "node is ready" in first
    assert "bbb-1" in first
    assert "geheim" not in first
    assert "failed" in second


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(KeyError):
        logs.configure("json", "loud")
