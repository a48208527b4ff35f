"""Alarms: what somebody has to look at. Told to the log at once, and to whoever else was named to be told.

Never waits and never raises: an alarm is no part of what went wrong. Metrics show the same from the stores, so that a
server's `/metrics` tells of what any worker met.
"""

from typing import Any

from synckairos import log

_log = log.get(__name__)


def sound(what: str, **facts: Any) -> None:
    """Sound an alarm: `what` happened in two or three words, always the same ones, `facts` are of this time."""
    _log.error(what, alarm=True, **facts)
