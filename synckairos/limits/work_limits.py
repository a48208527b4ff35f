"""The units of work that clients cause, and the limit of each. The page of limits shows this list.

Redis counts requests and presses for all instances together. Each instance counts the units here in its own memory,
because they must be counted before a request is read or parsed, and without a round trip.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Struct

from synckairos.frozen_replace import replace

SETTING = "SYNCKAIROS_CLIENT_WORK_FACTOR"
"""The setting that multiplies all limits of clients and of tenants."""


class WorkLimit(Struct, frozen=True):
    """The limit of one kind of work: `per_s` units in a second on average, and at most `burst` units at the same time.

    `name` is the unit. `of` states what has a budget of its own: each `client`, each `connection`, or each `tenant` for
    all its clients together. `answer` is the text that describes the reaction of the server if the limit is exceeded.
    """

    name: str
    of: Literal["client", "connection", "tenant"]
    per_s: float
    burst: int
    answer: str

    @property
    def description(self) -> str:
        """Return the limit with its value and its setting, for errors."""
        return f"limit of {self.per_s:,.9g} {self.name} a second and {self.of}, {self.burst:,} at once ({SETTING})"

    def scale(self, factor: float) -> "WorkLimit":
        """Return this limit with `per_s` and `burst` multiplied by a factor. `burst` is at least 1."""
        return replace(self, per_s=self.per_s * factor, burst=max(1, int(self.burst * factor)))


WAITS = "the request waits; after 5 s 429 `RATE_LIMIT_EXCEEDED`"
REFUSED = "429 `RATE_LIMIT_EXCEEDED`"
CLOSED = "closed with 1008"
ERROR = "`ERROR` with `RATE_LIMIT_EXCEEDED`"
NO_HANDSHAKE = "429 in place of the handshake"

FREE_BYTES = 1_024
"""Bytes of a body or message up to which it is not counted.

Limits on the number of requests and messages bound small ones.
"""

PROCESSOR_MS = WorkLimit("milliseconds of processor time while other clients are active", "client", 200, 200, WAITS)
BYTES = WorkLimit("bytes in bodies and messages", "client", 2_000_000, 32_000_000, REFUSED)
VALUES = WorkLimit("JSON values in bodies and messages", "client", 40_000, 300_000, REFUSED)
CONNECTION_BYTES = WorkLimit("bytes in messages", "connection", 500_000, 2_000_000, CLOSED)
CONNECTION_VALUES = WorkLimit("JSON values in messages", "connection", 30_000, 100_000, CLOSED)
HANDSHAKES = WorkLimit("handshakes of WebSockets and event streams", "client", 200, 20_000, NO_HANDSHAKE)
SUBSCRIPTIONS = WorkLimit("`SUBSCRIBE` messages", "client", 500, 20_000, ERROR)
FRAME_BATCHES = WorkLimit("requests to `/v3/frames`", "client", 1_000, 20_000, REFUSED)
UNKNOWN_SESSIONS = WorkLimit("subscriptions and presses for unknown sessions", "client", 20, 200, ERROR)
SIMULATION_STEPS = WorkLimit("steps of simulations", "client", 10_000, 250_000, REFUSED)
REPORTS = WorkLimit("time reports, and pages of events as CSV, NDJSON or with snapshots", "client", 10, 100, REFUSED)
COMMANDS_TO_MANY = WorkLimit("sessions of commands to many sessions", "client", 500, 5_000, REFUSED)
SCRAPES = WorkLimit("reads of `/metrics`", "client", 10, 100, REFUSED)
REFUSED_TOKENS = WorkLimit("tokens that are refused", "client", 1, 60, REFUSED)

MAX_LIVE_TAILS = 500
"""Maximum number of open live tails of a client on an instance. Each live tail also counts as a connection."""

WORK_LIMITS = (
    *(PROCESSOR_MS, BYTES, VALUES, CONNECTION_BYTES, CONNECTION_VALUES),
    *(
        HANDSHAKES,
        FRAME_BATCHES,
        SUBSCRIPTIONS,
        UNKNOWN_SESSIONS,
        SIMULATION_STEPS,
        REPORTS,
        COMMANDS_TO_MANY,
        SCRAPES,
        REFUSED_TOKENS,
    ),
)
"""All limits, in the order of the page."""

TENANT_PROCESSOR_MS = WorkLimit(
    "milliseconds of processor time while other tenants are active", "tenant", 250, 250, WAITS
)
TENANT_BYTES = WorkLimit(
    "bytes in bodies and messages while other tenants are active", "tenant", 8_000_000, 128_000_000, REFUSED
)
TENANT_VALUES = WorkLimit(
    "JSON values in bodies and messages while other tenants are active", "tenant", 160_000, 1_200_000, REFUSED
)

TENANT_WORK_LIMITS = (TENANT_PROCESSOR_MS, TENANT_BYTES, TENANT_VALUES)
"""The limits of all clients of a tenant together, in the order of the page. They bind only beside active tenants."""


def render_work_limits_table(limits: Iterable[WorkLimit] = WORK_LIMITS) -> str:
    """Return the table of these limits in Markdown."""
    lines = ["| limit | value | at once | unit | if exceeded | setting |", "|---|---|---|---|---|---|"]
    for each in limits:
        name = f"{each.name}, {each.of}"
        setting = " " if each.of == "connection" else f" `{SETTING}` "
        lines.append(f"| {name} | {each.per_s:,} | {each.burst:,} | a second and {each.of} | {each.answer} |{setting}|")
    return "\n".join(lines)
