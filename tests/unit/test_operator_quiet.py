"""kopf's reports of failed requests: once per resource and half a minute, as warnings."""

from __future__ import annotations

import asyncio
import gc
import logging
from io import StringIO

import pytest
from kopf._cogs.aiokits import aiotasks
from kopf._cogs.clients.errors import APINotFoundError
from kopf._core.reactor import orchestration

from b3lb_operator.quiet import RepeatedFailures, watches_lost

_WATCH = "GET https://10.0.0.1/apis/b3lb.io/v1alpha1/namespaces/farm/bbbnodes?watch=true&resourceVersion="
_ERROR = " -> ClientConnectorError(ConnectionRefusedError(111))"


def record(message: str, name: str = "kopf._cogs.clients.watching") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, message, None, None)


def test_the_first_failure_passes_as_a_warning_and_its_repetitions_do_not() -> None:
    now = 0.0
    quiet = RepeatedFailures(lambda: now)
    first = record(f"Request attempt #1 failed; will retry: {_WATCH}1{_ERROR}")
    assert quiet.filter(first)
    assert (first.levelno, first.levelname) == (logging.WARNING, "WARNING")
    for attempt in range(2, 10):
        now += 3
        assert not quiet.filter(record(f"Request attempt #{attempt} failed; will retry: {_WATCH}2{_ERROR}"))
    now = 31.0
    assert quiet.filter(record(f"Request attempt #11/12 failed; escalating: {_WATCH}3{_ERROR}"))


def test_each_resource_is_reported() -> None:
    quiet = RepeatedFailures(lambda: 0.0)
    assert quiet.filter(record(f"Request attempt #1 failed; will retry: {_WATCH}1{_ERROR}"))
    other = _WATCH.replace("bbbnodes", "bbbqueues")
    assert quiet.filter(record(f"Request attempt #1 failed; will retry: {other}1{_ERROR}"))


def test_everything_else_passes_as_it_is() -> None:
    quiet = RepeatedFailures(lambda: 0.0)
    for item in (record("Watcher has failed"), record(f"Request attempt #1 failed; will retry: {_WATCH}1", "others")):
        assert quiet.filter(item)
        assert quiet.filter(item)
        assert item.levelno == logging.ERROR


async def test_a_watch_whose_definition_went_is_one_warning_by_kopfs_own_names() -> None:
    text = StringIO()
    handler = logging.StreamHandler(text)
    handler.addFilter(watches_lost)
    loggers = [orchestration.logger, logging.getLogger("asyncio")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        await _fail("watcher for bbbnodes.v1alpha1.b3lb.io@b3lb")
        await _fail("multidimensional multitasker")
        gc.collect()
        await asyncio.sleep(0)
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
    assert text.getvalue() == "bbbnodes.v1alpha1.b3lb.io@b3lb is not served any more: all watches begin anew\n"


async def _fail(name: str) -> None:
    """End a task of kopf's as a definition that is gone does; nobody looks at its exception."""

    async def work() -> None:
        raise APINotFoundError(None, status=404, headers={})

    await asyncio.wait([aiotasks.create_guarded_task(coro=work(), name=name, logger=orchestration.logger)])


@pytest.mark.parametrize(
    "message", ["Watcher for bbbnodes has failed: 403 forbidden", "Task exception was never retrieved"]
)
def test_every_other_end_of_a_task_stays_an_error(message: str) -> None:
    item = record(message)
    assert watches_lost(item)
    assert (item.levelno, item.getMessage()) == (logging.ERROR, message)
