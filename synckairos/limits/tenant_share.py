"""The share of one tenant in the processor time of this instance, for all clients of the tenant together.

Many clients of one tenant, each within its own share, could use the whole processor. The share of the tenant binds
only while other tenants are active. So an installation with one tenant has no such limit.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from synckairos.limits.fair_queue import FairQueue
from synckairos.limits.used_time import UsedTime
from synckairos.limits.work_limits import WorkLimit

MAX_RUNNING_OF_TENANT = 8
"""Requests of a tenant that run at the same time while other tenants are active. Further requests wait."""

MAX_QUERIES_OF_TENANT = 2
"""Queries of a tenant that run in Postgres at the same time while other tenants are active, without reports."""

PRESS_S = 0.000_3
"""Seconds of processor time that a press counts while other tenants are active. It is not measured for each press."""

LITTLE_USE_OF_TENANT_S = 0.005
"""Seconds of recently used processor time up to which the requests of a tenant do not pause for presses."""

REFUSAL_INTERVAL_OF_TENANT_S = 0.002
"""Seconds between two refusals to rate-limited clients of one tenant."""


class TenantShare(UsedTime):
    """The processor time that the clients of one tenant used, and the requests of the tenant that wait."""

    __slots__ = ("_has_other_tenants", "_press_queue", "_presses", "_queries", "_queue", "limit")

    def __init__(self, limit: WorkLimit, clock: Callable[[], float], has_other_tenants: Callable[[], bool]) -> None:
        """Create a share without charges.

        `limit` is the limit of processor time. `clock` returns monotonic seconds. `has_other_tenants` returns whether
        another tenant is active.
        """
        super().__init__(
            limit,
            clock,
            max_running=MAX_RUNNING_OF_TENANT,
            little_use_s=LITTLE_USE_OF_TENANT_S,
            refusal_interval_s=REFUSAL_INTERVAL_OF_TENANT_S,
        )
        self.limit = limit
        self._has_other_tenants = has_other_tenants
        self._queue = FairQueue()
        self._queries = FairQueue(MAX_QUERIES_OF_TENANT)
        self._presses = UsedTime(limit, clock, max_running=1, little_use_s=0, refusal_interval_s=0)
        """The processor time of presses alone. Presses wait only if they use the whole share of the tenant."""
        self._press_queue = FairQueue()

    @property
    def has_much_use(self) -> bool:
        """Return whether the tenant recently used much processor time while another tenant was active."""
        return super().has_much_use and self._has_other_tenants()

    def must_wait(self) -> bool:
        """Return whether a new request of the tenant must wait, because the tenant uses its share or all its places."""
        return (
            self._queue.is_taken or self.running >= self.max_running or self.seconds_to_wait() > 0
        ) and self._has_other_tenants()

    async def wait(self, client: str) -> None:
        """Wait until the tenant has used no more than its share, or no other tenant is active.

        The waiting clients of the tenant take turns.
        """
        if self.must_wait():
            async with self._queue.turn(client):
                await self.wait_while(self._has_other_tenants)

    def charge_press(self) -> bool:
        """Charge a press to the tenant. Return whether the press must wait, see `wait_for_press`.

        The caller must call this only while another tenant is active.
        """
        self.charge(PRESS_S)
        self._presses.charge(PRESS_S)
        return self._press_queue.is_taken or self._presses.seconds_to_wait() > 0

    async def wait_for_press(self, client: str) -> None:
        """Wait until the presses of the tenant have used no more than its share, or no other tenant is active.

        The waiting clients of the tenant take turns.
        """
        async with self._press_queue.turn(client):
            await self._presses.wait_while(self._has_other_tenants)

    @asynccontextmanager
    async def query_place(self, client: str) -> AsyncIterator[None]:
        """Wait until a client of the tenant may run a query in Postgres, and run the query in the block.

        Return without a wait if no other tenant is active.
        """
        if self._has_other_tenants():
            async with self._queries.turn(client):
                yield
        else:
            yield

    def reserve_refusal(self) -> float:
        """Return the seconds to wait before the answer to a refused request, 0 if no other tenant is active."""
        return super().reserve_refusal() if self._has_other_tenants() else 0.0
