"""What goes wrong with a node's answer."""

from __future__ import annotations

from b3lb.health import Reason


class AnswerError(Exception):
    """A node's answer is not usable; ``message`` is for people and holds no secret."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
