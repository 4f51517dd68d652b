"""The task ``work``: as long as it is told, and with the end that it is told."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, Literal

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field

from b3lb_jobs.errors import PermanentError, SoftTimeLimitError, TransientError
from b3lb_jobs.on_demand import OnDemandTask, RunContext


class WorkArguments(BaseModel):
    model_config = ConfigDict(extra="forbid")

    seconds: float = Field(default=0.0, ge=0)
    statement_seconds: float = Field(default=0.0, ge=0)
    end: Literal["success", "transient", "permanent", "bug", "memory", "stubborn", "hog"] = "success"
    countdown: float | None = None
    catch: bool = False
    recover_at: int = 1_000_000
    items: list[int] = Field(default_factory=list)
    before: dict[str, Any] | None = None
    number: int = 0


def work(context: RunContext, arguments: WorkArguments) -> Mapping[str, Any]:
    began = time.monotonic()
    try:
        time.sleep(arguments.seconds)
        if arguments.statement_seconds:
            with context.database.transaction() as connection:
                connection.execute(sa.select(sa.func.pg_sleep(arguments.statement_seconds)))
    except SoftTimeLimitError:
        if arguments.end == "stubborn":
            time.sleep(arguments.seconds)
        if not arguments.catch:
            raise
        return {"partial": True, "seconds": time.monotonic() - began}
    if arguments.end == "transient" and context.attempt < arguments.recover_at:
        raise TransientError("the other side is away", countdown=arguments.countdown)
    if arguments.end == "permanent":
        raise PermanentError("the archive is damaged")
    if arguments.end == "bug":
        raise RuntimeError("token=geheim")
    if arguments.end == "hog":
        held = b"x" * 1_000_000_000
        time.sleep(60)
        return {"bytes": len(held)}
    if arguments.end == "memory":
        raise MemoryError
    return _result(context, arguments)


def _result(context: RunContext, arguments: WorkArguments) -> Mapping[str, Any]:
    if arguments.items:
        return {"items": arguments.items, "attempt": context.attempt}
    if arguments.before is not None:
        return {"number": arguments.number + arguments.before["number"]}
    if arguments.number:
        return {"number": arguments.number}
    side_by_side = os.environ.get("B3LB_CONCURRENCY")
    return {"attempt": context.attempt, "left": context.seconds_left() > 0, "side_by_side": side_by_side}


WORK = OnDemandTask(function=work, arguments=WorkArguments)
