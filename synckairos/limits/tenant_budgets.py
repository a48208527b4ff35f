"""The requests, presses, simulations and sockets of each tenant on this instance, counted against the tenant's limits.

They are counted in the memory of the instance, so a check costs no round trip. Tenants without a limit are not counted.
"""

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable

from synckairos.errors import RateLimitExceeded, TooManyConnections
from synckairos.limits.tenant_labels import TenantLabels
from synckairos.limits.tenant_limits import (
    LIVE_SESSIONS,
    NO_LIMITS,
    OUTBOX_SHARE,
    PRESSES_PER_S,
    REQUESTS_PER_MIN,
    SIMULATIONS_PER_MIN,
    SOCKETS,
    SOCKETS_PER_SUBJECT,
    TenantLimit,
    TenantLimits,
)
from synckairos.limits.token_bucket import TokenBucket
from synckairos.principal import Principal
from synckairos.telemetry.metrics import MAX_TENANT_LABELS, TENANT_REFUSALS, TENANT_REQUESTS, TENANT_SOCKETS

MAX_BUCKETS = 20_000
"""Maximum number of buckets. Beyond it, the bucket that was idle for the longest time is dropped."""

WAIT_WITHOUT_LIMIT_MS = 60_000
"""Milliseconds after which a client should try again if it is unknown when the limit of its tenant has room."""

_PERIOD_S: dict[str, int] = {REQUESTS_PER_MIN.name: 60, PRESSES_PER_S.name: 1, SIMULATIONS_PER_MIN.name: 60}


class TenantBudgets:
    """The budgets of all tenants on this instance. `clock` returns monotonic seconds."""

    def __init__(
        self,
        limits_of: Callable[[str], TenantLimits] = lambda _: NO_LIMITS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create budgets without charges. `limits_of` returns the limits of a tenant; by default there are none."""
        self._limits_of = limits_of
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, str], TokenBucket] = OrderedDict()
        self._sockets: Counter[str] = Counter()
        self._sockets_of_subject: Counter[tuple[str, str, str]] = Counter()
        self._labels = TenantLabels(MAX_TENANT_LABELS)
        self._counters: dict[str, Callable[[float], None]] | None = None
        """The counters of requests by tenant. None if nothing is counted, because there are no tenants."""

    def use_limits(self, limits_of: Callable[[str], TenantLimits]) -> None:
        """Use these limits from now on, and count the requests and sockets of each tenant for the metrics."""
        self._limits_of = limits_of
        self._counters = {}

    # -- rates --------------------------------------------------------------------------------------------------------

    def charge_requests(self, tenant: str, *, are_presses: bool = False, count: int = 1) -> None:
        """Charge requests or presses to a tenant.

        If `count` is larger than the limit, the limit is charged instead. So such a request is possible after a pause.

        Raises: RateLimitExceeded if the limit is reached. Nothing is charged then.
        """
        limits = self._limits_of(tenant)
        if self._counters is not None:
            if (add := self._counters.get(label := self._labels.label_of(tenant))) is None:
                add = self._counters[label] = TENANT_REQUESTS.labels(label).inc
            add(count)
        limit, value = PRESSES_PER_S, limits.presses_per_s
        if not are_presses:
            limit, value = REQUESTS_PER_MIN, limits.requests_per_min
        if value is not None:
            self._charge(tenant, limit, value, count)

    def charge_simulation(self, tenant: str) -> None:
        """Charge a simulation to a tenant. Raises: RateLimitExceeded if the limit is reached."""
        self._charge(tenant, SIMULATIONS_PER_MIN, self._limits_of(tenant).simulations_per_min, 1)

    def undo_request(self, tenant: str, *, is_press: bool = False) -> None:
        """Give back one request or press that was charged before, because it was a replay."""
        limit = PRESSES_PER_S if is_press else REQUESTS_PER_MIN
        if (bucket := self._buckets.get((tenant, limit.name))) is not None:
            bucket.return_tokens(1, self._clock())

    def _charge(self, tenant: str, limit: TenantLimit, value: int | None, count: int) -> None:
        if value is None:
            return
        now_s, period_s = self._clock(), _PERIOD_S[limit.name]
        wait_ms = WAIT_WITHOUT_LIMIT_MS
        if value > 0:
            bucket = self._find_bucket(tenant, limit, value, value / period_s)
            count = min(count, value)
            if bucket.take(count, now_s):
                return
            wait_ms = math.ceil(bucket.seconds_until_available(count, now_s) * 1000)
        self._note_refusal(tenant, limit)
        raise RateLimitExceeded(_describe(limit, value), limit.name, wait_ms)

    def _note_refusal(self, tenant: str, limit: TenantLimit) -> None:
        TENANT_REFUSALS.labels(self._labels.label_of(tenant), limit.name).inc()

    def _find_bucket(self, tenant: str, limit: TenantLimit, size: int, per_s: float) -> TokenBucket:
        key = tenant, limit.name
        bucket = self._buckets.get(key)
        if bucket is None or bucket.size != size:  # an operator changed the limit
            bucket = self._buckets[key] = TokenBucket(per_s, size)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return bucket

    # -- sessions -----------------------------------------------------------------------------------------------------

    def limits_sessions_of(self, tenant: str) -> bool:
        """Return whether a tenant has a limit of sessions that have not ended."""
        return self._limits_of(tenant).live_sessions is not None

    def require_session(self, tenant: str, count: int) -> None:
        """Check that a tenant with `count` sessions that have not ended can create one more.

        Raises: RateLimitExceeded if the limit is reached.
        """
        value = self._limits_of(tenant).live_sessions
        if value is not None and count >= value:
            self._note_refusal(tenant, LIVE_SESSIONS)
            raise RateLimitExceeded(_describe(LIVE_SESSIONS, value), LIVE_SESSIONS.name, WAIT_WITHOUT_LIMIT_MS)

    # -- outbox -------------------------------------------------------------------------------------------------------

    def outbox_share_of(self, tenant: str) -> int | None:
        """Return the part of the outbox that a tenant may fill, in percent. None: no limit."""
        return self._limits_of(tenant).outbox_share

    def note_outbox_refusal(self, tenant: str) -> None:
        """Count a commit that was refused because the tenant has reached its part of the outbox."""
        self._note_refusal(tenant, OUTBOX_SHARE)

    # -- sockets ------------------------------------------------------------------------------------------------------

    def require_socket(self, principal: Principal) -> None:
        """Check that a further socket, event stream or live tail of a principal is within the limits of its tenant.

        Principals without a credential have no limit here. Nothing is counted, see `add_socket`.

        Raises: TooManyConnections.
        """
        if principal.life is None:
            return
        limits = self._limits_of(principal.tenant)
        for limit, value, count in (
            (SOCKETS, limits.sockets, self._sockets[principal.tenant]),
            (SOCKETS_PER_SUBJECT, limits.sockets_per_subject, self._sockets_of_subject[_subject_key(principal)]),
        ):
            if value is not None and count >= value:
                self._note_refusal(principal.tenant, limit)
                raise TooManyConnections(f"Too many connections for the {_describe(limit, value)}; close one first")

    def add_socket(self, principal: Principal) -> None:
        """Count a socket. The limits are not checked here. Principals without a credential are not counted."""
        if principal.life is not None:
            self._sockets[principal.tenant] += 1
            self._change_gauge(principal.tenant, 1)
            self._sockets_of_subject[_subject_key(principal)] += 1

    def remove_socket(self, principal: Principal) -> None:
        """Subtract a socket that `add_socket` has counted for a principal with the same tenant, kind and subject."""
        if principal.life is None:
            return
        key = _subject_key(principal)
        self._change_gauge(principal.tenant, -1)
        self._sockets[principal.tenant] -= 1
        self._sockets_of_subject[key] -= 1
        if not self._sockets[principal.tenant]:
            del self._sockets[principal.tenant]
        if not self._sockets_of_subject[key]:
            del self._sockets_of_subject[key]

    def _change_gauge(self, tenant: str, change: int) -> None:
        if self._counters is not None:
            TENANT_SOCKETS.labels(self._labels.label_of(tenant)).inc(change)

    def socket_counts(self) -> dict[str, int]:
        """Return the number of sockets of each tenant that has one."""
        return dict(self._sockets)


def _subject_key(principal: Principal) -> tuple[str, str, str]:
    return principal.tenant, principal.kind, principal.subject


def _describe(limit: TenantLimit, value: int) -> str:
    where = "" if limit.of == "store" else " on this instance"
    return f"limit of {value:,} {limit.unit} of the tenant{where} ({limit.name})"
