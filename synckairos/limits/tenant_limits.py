"""The limits of tenants: names, units and defaults. The page of limits shows this list.

An operator sets other values for a tenant. The default tenant has no limits of its own unless an operator sets them,
because it is the only tenant of most installations.
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from synckairos.frozen_replace import replace
from synckairos.principal import DEFAULT_TENANT

TenantLimitName = Literal[
    "live_sessions",
    "sockets",
    "sockets_per_subject",
    "requests_per_min",
    "presses_per_s",
    "simulations_per_min",
    "outbox_share",
    "archive_bytes",
]


class TenantLimit(Struct, frozen=True, kw_only=True):
    """One limit of each tenant.

    - `unit`: what is counted.
    - `of`: `store` if all instances count together, `instance` if each instance counts in its own memory.
    - `default`: the value for all tenants except the default tenant. None: no limit.
    - `answer`: the reaction of the server if the limit is exceeded.
    """

    name: TenantLimitName
    unit: str
    of: Literal["store", "instance"]
    default: int | None
    answer: str


LIVE_SESSIONS = TenantLimit(
    name="live_sessions",
    unit="sessions that have not ended",
    of="store",
    default=100_000,
    answer="429 `RATE_LIMIT_EXCEEDED` for creations",
)
SOCKETS = TenantLimit(
    name="sockets",
    unit="open sockets, event streams and live tails",
    of="instance",
    default=10_000,
    answer="as the limit of connections of an address",
)
SOCKETS_PER_SUBJECT = TenantLimit(
    name="sockets_per_subject",
    unit="open sockets, event streams and live tails of one subject",
    of="instance",
    default=1_000,
    answer="as the limit of connections of an address",
)
REQUESTS_PER_MIN = TenantLimit(
    name="requests_per_min",
    unit="REST requests and socket commands in a minute, without presses",
    of="instance",
    default=60_000,
    answer="429 `RATE_LIMIT_EXCEEDED`",
)
PRESSES_PER_S = TenantLimit(
    name="presses_per_s",
    unit="presses (`switch`, `pause`, `resume`) in a second",
    of="instance",
    default=2_000,
    answer="429 `RATE_LIMIT_EXCEEDED`",
)
SIMULATIONS_PER_MIN = TenantLimit(
    name="simulations_per_min",
    unit="simulations in a minute",
    of="instance",
    default=600,
    answer="429 `RATE_LIMIT_EXCEEDED`",
)
OUTBOX_SHARE = TenantLimit(
    name="outbox_share",
    unit="percent of the bytes and versions that [the outbox](#stores) may have",
    of="store",
    default=50,
    answer="503 `STORE_UNAVAILABLE`, as for a full outbox",
)
ARCHIVE_BYTES = TenantLimit(
    name="archive_bytes",
    unit="bytes of archives",
    of="store",
    default=100 << 30,
    answer="sessions are not archived, and stay in Postgres",
)

TENANT_LIMITS = (
    LIVE_SESSIONS,
    SOCKETS,
    SOCKETS_PER_SUBJECT,
    REQUESTS_PER_MIN,
    PRESSES_PER_S,
    SIMULATIONS_PER_MIN,
    OUTBOX_SHARE,
    ARCHIVE_BYTES,
)
"""All limits of tenants, in the order of the page."""


class TenantLimits(Struct, frozen=True, kw_only=True):
    """The values of all limits of one tenant. None: no limit. See `TENANT_LIMITS` for the units."""

    live_sessions: int | None = None
    sockets: int | None = None
    sockets_per_subject: int | None = None
    requests_per_min: int | None = None
    presses_per_s: int | None = None
    simulations_per_min: int | None = None
    outbox_share: int | None = None
    archive_bytes: int | None = None


NO_LIMITS = TenantLimits()
"""The limits of the default tenant unless an operator sets others."""

DEFAULT_LIMITS = TenantLimits(**{each.name: each.default for each in TENANT_LIMITS})
"""The limits of all other tenants unless an operator sets others."""


def tenant_limits(tenant: str, values: Mapping[str, int]) -> TenantLimits:
    """Return the limits of a tenant. `values` are the values that an operator has set, by the name of the limit.

    Values of unknown limits are ignored, because a later release can have set them.
    """
    defaults = NO_LIMITS if tenant == DEFAULT_TENANT else DEFAULT_LIMITS
    known: Any = {each.name: values[each.name] for each in TENANT_LIMITS if each.name in values}
    return replace(defaults, **known) if known else defaults


def render_tenant_limits_table() -> str:
    """Return the table of all limits of tenants in Markdown."""
    lines = ["| limit | value | unit | counted by | if exceeded | setting |", "|---|---|---|---|---|---|"]
    for each in TENANT_LIMITS:
        counted = "all instances together" if each.of == "store" else "each instance"
        default = "none" if each.default is None else f"{each.default:,}"
        lines.append(f"| `{each.name}` of a tenant | {default} | {each.unit} | {counted} | {each.answer} | |")
    return "\n".join(lines)
