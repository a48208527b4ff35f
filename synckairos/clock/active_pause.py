"""A reason for which a session or a clock is paused, and the reasons that only the clock uses."""

from msgspec import Struct

TIMEOUT_REASON = "timeout"
"""Reason of the pause that begins at zero under `on_timeout: pause`. Callers cannot use this reason."""

HOLD_REASON = "hold"
"""Reason of the pause between two turns. The clock adds it, and callers cannot use it."""

REOPENED_REASON = "reopened"
"""Reason of the pause after a reopening. The clock adds it, and callers cannot use it."""

REST_REASON = "rest"
"""Reason of the pause during rest days. The clock adds it, and callers cannot use it."""

RESERVED_REASONS = frozenset({TIMEOUT_REASON, HOLD_REASON, REOPENED_REASON, REST_REASON})
"""Pause reasons that callers cannot use. Sessions of early releases can contain them, except `timeout`."""


class ActivePause(Struct, frozen=True):
    """One reason for which the session is paused. A session can be paused for several reasons at the same time.

    If `max_ms` is given, the reason ends by itself `max_ms` after `paused_at_ms`. `paused_by` is the actor of the pause
    as the audit records it, None if the clock paused the session at zero.
    """

    reason: str
    paused_at_ms: int
    max_ms: int | None = None
    paused_by: str | None = None

    @property
    def lifts_at_ms(self) -> int | None:
        """Return the instant at which this reason ends by itself, None if only a command ends it."""
        return None if self.max_ms is None else self.paused_at_ms + self.max_ms
