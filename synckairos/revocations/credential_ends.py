"""Ends of open sockets and streams: expiry, revocation, retired keys, closed tenants, maximum age and disconnection.

All holders of a credential on one instance share one heap and one timer, so an open socket costs no task. A new entry
of the control channel and a key that is retired are compared with each holder.
"""

import asyncio
import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Protocol

from synckairos.errors import Unauthorized
from synckairos.identity.retired_keys import RetiredKeys
from synckairos.principal import CredentialLife, Principal
from synckairos.revocations.channel import ControlChannel
from synckairos.revocations.revocation_set import revocable_subject, revocation_covers
from synckairos.telemetry import log
from synckairos.wire.control_entry import Disconnection, EffectiveEntry, Revocation

WARN_BEFORE_S = 25.0
"""Seconds before the end of a credential at which its holder is warned."""

MIN_MARGIN_MS = 500
"""Milliseconds: a holder is not warned of a revocation that takes effect within this time."""

MAX_AGE_S = 43_200.0
"""Seconds: mean maximum age of a socket with a credential."""

MAX_AGE_SPREAD = 0.1
"""Part of the maximum age by which each socket differs from the mean, so that sockets do not end together."""

ENDS_PER_TURN = 200
"""Number of holders that end before other tasks of the event loop run."""

STALE_ITEMS = 64
"""Number of stale items in the heap that are allowed in addition to one for each holder."""

MAX_DELAY_S = 86_400.0
"""Maximum seconds until the timer runs. Event loops refuse much longer delays."""


logger = log.get_logger(__name__)


class EndReason(Enum):
    """The reason for the end of a socket or a stream."""

    EXPIRED = "token_expired"
    REVOKED = "revoked"
    TOO_OLD = "maximum age"
    DISCONNECTED = "disconnected"
    TENANT_CLOSED = "tenant suspended"


class TenantStates(Protocol):
    """The tenants that an instance knows. See `ActiveTenants`."""

    def require_open(self, tenant: str) -> None:
        """Check that credentials of a tenant are accepted. Raises: TenantSuspended, TenantUnknown, StoreUnavailable."""

    def is_closed(self, tenant: str) -> bool:
        """Return whether a tenant is suspended or deleted."""

    def add_listener(self, listener: Callable[[str], None]) -> None:
        """Register `listener`, which gets the name of each tenant that is closed from now on."""


class CredentialHolder(Protocol):
    """A socket or a stream that a credential opened. The methods are synchronous and must not block or raise."""

    principal: Principal

    def warn_of_end(self, within_ms: int) -> None:
        """Notify the client that its credential ends within `within_ms` milliseconds."""

    def end_with_credential(self, reason: EndReason) -> None:
        """Begin to end. The holder then calls `CredentialEnds.remove`."""

    def apply_rights(self) -> None:
        """End all that the client has no right to any more, because the member rows of its principal have changed."""


class _StreamHolder:
    """The holder of the credential of one stream of a response. `ended` is set when the credential has ended."""

    def __init__(self, principal: Principal, member_changes: int) -> None:
        self.principal = principal
        self.ended = asyncio.Event()
        self._rows = None if principal.members is None else principal.members.rows
        if principal.member_changes != member_changes:
            self.ended.set()

    def warn_of_end(self, within_ms: int) -> None:
        """Do nothing. A stream has no messages about credentials."""

    def end_with_credential(self, reason: EndReason) -> None:
        self.ended.set()

    def apply_rights(self) -> None:
        """End the stream unless its member rows are those at its begin.

        The client can open the stream again if it has the right.
        """
        if self._rows is None or self.principal.members is None or self.principal.members.rows != self._rows:
            self.ended.set()


class _Schedule:
    """The next action for a holder. `number` identifies the valid item of the heap."""

    __slots__ = ("max_age_at_s", "number", "warned_of_ms")

    def __init__(self, max_age_at_s: float) -> None:
        self.max_age_at_s = max_age_at_s
        """Instant of the end by the maximum age, by the time of the event loop. Infinite for streams."""
        self.number = 0
        self.warned_of_ms: int | None = None
        """The end of which the holder was warned, in ms since the Unix epoch. None before a warning."""


class CredentialEnds:
    """Ends the holders of this instance when their credentials end.

    A holder whose principal has no credential stays.
    """

    def __init__(
        self,
        now_ms: Callable[[], int],
        channel: ControlChannel | None,
        retired_keys: RetiredKeys | None = None,
        tenants: TenantStates | None = None,
        *,
        max_age_s: float = MAX_AGE_S,
        warn_before_s: float = WARN_BEFORE_S,
    ) -> None:
        """Create a registry without holders.

        - `now_ms`: returns the time of Redis as this instance knows it.
        - `channel`: the revocations. None while authentication is off.
        - `retired_keys`: the keys whose tokens are ended. None: no key is retired while the instance runs.
        - `tenants`: the tenants. Without them, the credentials of all tenants are accepted.
        - `max_age_s`: mean maximum age of sockets in seconds.
        - `warn_before_s`: seconds between the warning and the end of a credential.
        """
        self._now_ms = now_ms
        self._channel = channel
        self._retired_keys = retired_keys
        self._tenants = tenants
        self._max_age_s = max_age_s
        self._warn_before_ms = int(warn_before_s * 1000)
        self._schedules: dict[CredentialHolder, _Schedule] = {}
        self._heap: list[tuple[float, int, CredentialHolder]] = []
        self._numbers = itertools.count(1)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_s = float("inf")
        if channel is not None:
            channel.add_listener(self._apply)
        if retired_keys is not None:
            retired_keys.add_listener(self._end_tokens_of)
        if tenants is not None:
            tenants.add_listener(self._end_holders_of_tenant)

    @property
    def holder_count(self) -> int:
        """Return the number of holders."""
        return len(self._schedules)

    @property
    def holders(self) -> tuple[CredentialHolder, ...]:
        """Return all holders."""
        return tuple(self._schedules)

    def add(self, holder: CredentialHolder, *, has_max_age: bool) -> None:
        """Watch a holder until `remove`.

        If its credential has ended already, the holder is ended in the next turn of the event loop.

        If `has_max_age` is True, the holder also ends at a random age around `max_age_s`.
        """
        if holder.principal.life is None:
            return
        max_age_at_s = float("inf")
        if has_max_age:
            spread = random.uniform(1 - MAX_AGE_SPREAD, 1 + MAX_AGE_SPREAD)  # noqa: S311 - jitter
            max_age_at_s = asyncio.get_running_loop().time() + self._max_age_s * spread
        self._schedules[holder] = _Schedule(max_age_at_s)
        self.reschedule(holder)

    @contextmanager
    def watch_stream(self, principal: Principal, member_changes: int) -> Iterator[asyncio.Event]:
        """Yield an event that is set if the credential of `principal` ends during the block.

        `member_changes` is `principal.member_changes` before the check of its rights. If it differs now, rows that have
        changed since then possibly decided, so the event is set at once.
        """
        holder = _StreamHolder(principal, member_changes)
        self.add(holder, has_max_age=False)
        try:
            yield holder.ended
        finally:
            self.remove(holder)

    def remove(self, holder: CredentialHolder) -> None:
        """Stop to watch a holder. If it is not watched, nothing happens."""
        self._schedules.pop(holder, None)
        self._drop_stale_items()

    def reschedule(self, holder: CredentialHolder) -> None:
        """Plan the warning and the end of a holder again.

        Call this after its principal or the revocations have changed.
        """
        schedule = self._schedules.get(holder)
        if schedule is None:
            return
        due_s = self._next_action_at_s(holder, schedule)
        schedule.number = next(self._numbers)
        heapq.heappush(self._heap, (due_s, schedule.number, holder))
        self._drop_stale_items()
        self._set_timer(due_s)

    def _drop_stale_items(self) -> None:
        """Remove stale items from the heap if they are the larger part of it. They would keep holders in memory."""
        if len(self._heap) <= 2 * len(self._schedules) + STALE_ITEMS:
            return
        valid = self._schedules
        self._heap = [item for item in self._heap if item[2] in valid and valid[item[2]].number == item[1]]
        heapq.heapify(self._heap)

    def expires_in_ms(self, principal: Principal) -> int | None:
        """Return the milliseconds until the credential of a principal ends.

        Return None if it has no credential, or one without an expiry.
        """
        end = self._end_of(principal)
        return None if end is None else max(0, end[0] - self._now_ms())

    def require_not_revoked(self, principal: Principal) -> None:
        """Check that a credential is not revoked, that its key is not retired, and that its tenant is not closed.

        The check reads only memory.

        Raises: Unauthorized, TenantSuspended, TenantUnknown. StoreUnavailable if the revocations or the tenants are not
            known.
        """
        if self._channel is not None and self._channel.is_revoked(principal):
            raise Unauthorized("The token was revoked")
        if principal.life is not None and self._is_of_retired_key(principal.life):
            raise Unauthorized("The key of the token is no longer accepted")
        if self._tenants is not None and principal.life is not None:
            self._tenants.require_open(principal.tenant)

    def require_valid(self, principal: Principal) -> None:
        """Check that the credential of a principal has not ended. The check reads only memory.

        Raises: Unauthorized, TenantSuspended, TenantUnknown. StoreUnavailable if the revocations or the tenants are not
            known.
        """
        if principal.life is None or self._channel is None:
            return
        self._channel.require_current()
        if self._tenants is not None:
            self._tenants.require_open(principal.tenant)
        end = self._end_of(principal)
        # The estimate of the time can be some milliseconds late. A revocation without a margin is effective already.
        if (end is not None and end[0] <= self._now_ms()) or self._channel.is_revoked(principal):
            raise Unauthorized("The credential of this connection has ended")

    # -- planning -----------------------------------------------------------------------------------------------------

    def _end_of(self, principal: Principal) -> tuple[int, EndReason] | None:
        """Return when and why a credential ends, None without an end. The instant is in ms since the Unix epoch."""
        life = principal.life
        if life is None:
            return None
        if self._is_of_retired_key(life):
            return 0, EndReason.REVOKED  # an instant in the past
        if self._tenants is not None and self._tenants.is_closed(principal.tenant):
            return 0, EndReason.TENANT_CLOSED
        revoked_at_ms = None if self._channel is None else self._channel.revocations.ends_at_ms(principal)
        if revoked_at_ms is not None and (life.expires_at_ms is None or revoked_at_ms <= life.expires_at_ms):
            return revoked_at_ms, EndReason.REVOKED
        return None if life.expires_at_ms is None else (life.expires_at_ms, EndReason.EXPIRED)

    def _is_of_retired_key(self, life: CredentialLife) -> bool:
        return self._retired_keys is not None and life.verified_by in self._retired_keys

    def _warn_at_ms(self, end_ms: int, reason: EndReason) -> int:
        if reason is EndReason.EXPIRED:
            return end_ms - self._warn_before_ms
        # A revocation with a margin is a request to authenticate again, so the warning is sent immediately. Without a
        # margin, the end can be in the future only because the estimates of the time of Redis differ.
        now_ms = self._now_ms()
        return now_ms if end_ms - now_ms > MIN_MARGIN_MS else end_ms

    def _next_action_at_s(self, holder: CredentialHolder, schedule: _Schedule) -> float:
        end = self._end_of(holder.principal)
        if end is None:
            return schedule.max_age_at_s
        end_ms, reason = end
        action_ms = end_ms if schedule.warned_of_ms == end_ms else min(end_ms, self._warn_at_ms(end_ms, reason))
        return min(schedule.max_age_at_s, self._loop_time_of(action_ms))

    def _loop_time_of(self, at_ms: int) -> float:
        return asyncio.get_running_loop().time() + (at_ms - self._now_ms()) / 1000

    def _set_timer(self, due_s: float) -> None:
        if due_s >= self._timer_at_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer_at_s = due_s
        self._timer = loop.call_at(min(due_s, loop.time() + MAX_DELAY_S), self._run_due)

    # -- acting -------------------------------------------------------------------------------------------------------

    def _run_due(self) -> None:
        self._timer, self._timer_at_s = None, float("inf")
        now_s = asyncio.get_running_loop().time()
        for _ in range(ENDS_PER_TURN):
            if not self._heap or self._heap[0][0] > now_s:
                break
            _, number, holder = heapq.heappop(self._heap)
            schedule = self._schedules.get(holder)
            if schedule is not None and schedule.number == number:
                try:
                    self._act(holder, schedule, now_s)
                except Exception:  # the failure of one holder must not delay the ends of the others
                    logger.exception("end of a credential not planned", subject=holder.principal.subject)
                    self.end(holder, EndReason.DISCONNECTED)
        if self._heap:
            self._set_timer(self._heap[0][0])

    def _act(self, holder: CredentialHolder, schedule: _Schedule, now_s: float) -> None:
        now_ms, end = self._now_ms(), self._end_of(holder.principal)
        if end is not None and end[0] <= now_ms:
            self.end(holder, end[1])
            return
        if schedule.max_age_at_s <= now_s:
            self.end(holder, EndReason.TOO_OLD)
            return
        if end is not None and schedule.warned_of_ms != end[0] and self._warn_at_ms(*end) <= now_ms:
            schedule.warned_of_ms = end[0]
            holder.warn_of_end(end[0] - now_ms)
        self.reschedule(holder)

    def end(self, holder: CredentialHolder, reason: EndReason) -> None:
        """Stop to watch a holder, and end it. A failure of the holder is only logged, so that the others end too."""
        self.remove(holder)
        try:
            holder.end_with_credential(reason)
        except Exception:
            logger.exception("holder of a credential not ended", subject=holder.principal.subject)

    def _end_tokens_of(self, key_name: str) -> None:
        """End the holders whose tokens the retired key `key_name` verified."""
        for holder in tuple(self._schedules):
            if holder.principal.life is not None and holder.principal.life.verified_by == key_name:
                self.reschedule(holder)

    def _end_holders_of_tenant(self, tenant: str) -> None:
        """End the holders of a tenant that is closed."""
        for holder in tuple(self._schedules):
            if holder.principal.tenant == tenant:
                self.reschedule(holder)

    def _apply(self, entry: EffectiveEntry) -> None:
        """Apply a new entry of the control channel to all holders."""
        if not isinstance(entry, Revocation | Disconnection):
            return
        for holder in tuple(self._schedules):
            if isinstance(entry, Revocation):
                if revocation_covers(entry, holder.principal):
                    self.reschedule(holder)
            elif holder.principal.tenant == entry.tenant and revocable_subject(holder.principal) == entry.subject:
                self.end(holder, EndReason.DISCONNECTED)
