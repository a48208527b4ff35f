"""The work that clients cause on this instance, over REST and sockets together: budgets and the parse queue.

The limits that an operator sets for tenants are in `ClientWorkLimits.tenants`. By default, tenants have no such limits.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress

from synckairos.errors import RateLimitExceeded
from synckairos.limits.fair_queue import FairQueue
from synckairos.limits.parse_queue import ParseQueue
from synckairos.limits.processor_time import ProcessorTime
from synckairos.limits.running_request import idle_wait
from synckairos.limits.tenant_budgets import TenantBudgets
from synckairos.limits.token_bucket import TokenBucket
from synckairos.limits.work_limits import (
    BYTES,
    PROCESSOR_MS,
    SETTING,
    TENANT_BYTES,
    TENANT_PROCESSOR_MS,
    TENANT_VALUES,
    TENANT_WORK_LIMITS,
    VALUES,
    WORK_LIMITS,
    WorkLimit,
)
from synckairos.principal import tenant_of_client

MAX_CLIENTS = 20_000
"""Maximum number of clients with a budget.

Beyond it, the budget of the client that was idle for the longest time is dropped. The same holds for tenants.
"""

_LIMITS_OF_TENANTS = {BYTES.name: TENANT_BYTES, VALUES.name: TENANT_VALUES}
"""The limits of tenants, by the name of the limit of clients that counts the same work."""

MAX_SIMULATIONS = 3
"""Maximum number of simulations that run at the same time. Each takes up to 0.5 ms of a turn of the event loop."""


class WorkBudget:
    """The budget of one client or connection: a token bucket for each limit against which work was charged."""

    __slots__ = ("_buckets", "_refused")

    def __init__(self) -> None:
        self._buckets: dict[str, TokenBucket] = {}
        self._refused: dict[str, float] = {}
        """The amount of the last refused charge, by the name of the limit."""

    def charge(self, limit: WorkLimit, amount: float, now_s: float) -> None:
        """Charge `amount` units of work. `now_s` is the time of a monotonic clock in seconds.

        If `amount` is larger than the size of the bucket, the size of the bucket is charged instead. So such work is
        possible when the bucket is full.

        Raises: RateLimitExceeded if the bucket has fewer tokens than this charge. Nothing is charged then.
        """
        bucket = self._buckets.get(limit.name)
        if bucket is None:
            bucket = self._buckets[limit.name] = TokenBucket(limit.per_s, limit.burst)
        amount = min(amount, bucket.size)
        if not bucket.take(amount, now_s):
            self._refused[limit.name] = amount
            raise self._refusal(limit, amount, now_s)

    def require_refused_amount(self, limit: WorkLimit, now_s: float) -> None:
        """Check that the amount of the last refused charge is possible now. Nothing is charged.

        Raises: RateLimitExceeded if the same charge would be refused again.
        """
        amount = self._refused.get(limit.name, 0)
        if self.tokens_left(limit, now_s) < amount:
            raise self._refusal(limit, amount, now_s)

    def _refusal(self, limit: WorkLimit, amount: float, now_s: float) -> RateLimitExceeded:
        wait_s = self._buckets[limit.name].seconds_until_available(amount, now_s)
        return RateLimitExceeded(limit.description, SETTING, math.ceil(wait_s * 1000))

    def tokens_left(self, limit: WorkLimit, now_s: float) -> float:
        """Return the units of work against this limit that are possible now."""
        bucket = self._buckets.get(limit.name)
        return limit.burst if bucket is None else bucket.tokens_left(now_s)

    def undo_charge(self, limit: WorkLimit, amount: float, now_s: float) -> None:
        """Give back `amount` units that were charged against `limit` before. `now_s` is as in `charge`."""
        if (bucket := self._buckets.get(limit.name)) is not None:  # else the budget is newer than the charge
            bucket.return_tokens(amount, now_s)


class DueCharge:
    """Whether the work in a block of `ClientWorkLimits.charge_if_due` must be charged."""

    __slots__ = ("is_due",)

    def __init__(self) -> None:
        self.is_due = False


class ClientWorkLimits:
    """The budgets of all clients of this instance, and the queue in which their large inputs are parsed."""

    def __init__(self, factor: float = 1, clock: Callable[[], float] = time.monotonic) -> None:
        """Create budgets without charges.

        `factor` multiplies all limits of clients. `clock` returns monotonic seconds.
        """
        self.parse_queue = ParseQueue()
        self.tenants = TenantBudgets(clock=clock)
        limits = (*(each for each in WORK_LIMITS if each.of == "client"), *TENANT_WORK_LIMITS)
        self._limits = {each.name: each.scale(factor) for each in limits}
        self.processor_time = ProcessorTime(
            self._limits[PROCESSOR_MS.name], clock, tenant_limit=self._limits[TENANT_PROCESSOR_MS.name]
        )
        self._clock = clock
        self._simulations: dict[str, tuple[asyncio.Lock, int]] = {}
        """Of each client with simulations: the lock of the one that runs, and the number of all."""
        self._simulation_places = FairQueue(MAX_SIMULATIONS)
        self._budgets: OrderedDict[str, WorkBudget] = OrderedDict()
        self._tenant_budgets: OrderedDict[str, WorkBudget] = OrderedDict()

    @asynccontextmanager
    async def wait_for_simulation_turn(self, client: str) -> AsyncIterator[None]:
        """Wait until a simulation of this client can begin, and reserve its place during the block.

        The simulation must run in the block. At a time, one simulation of each client runs, and at most
        `MAX_SIMULATIONS` of all clients. Tenants that wait take turns.
        """
        own, waiting = self._simulations.get(client, (asyncio.Lock(), 0))
        self._simulations[client] = (own, waiting + 1)
        try:
            with idle_wait():
                await own.acquire()
            try:
                async with AsyncExitStack() as place:
                    with idle_wait():
                        turn = self._simulation_places.turn(client, tenant_of_client(client) or "")
                        await place.enter_async_context(turn)
                    yield
            finally:
                own.release()
        finally:
            own, waiting = self._simulations[client]
            if waiting == 1:
                del self._simulations[client]
            else:
                self._simulations[client] = (own, waiting - 1)

    def require_budget(self, client: str, limit: WorkLimit) -> None:
        """Check that a client has budget for one more unit of this work. Nothing is charged.

        Raises: RateLimitExceeded if the client has no budget for one unit.
        """
        self.charge(client, limit, 1)
        self.undo_charge(client, limit)

    def require_refused_amount(self, client: str, limit: WorkLimit) -> None:
        """Check that the amount of the client's last refused charge is possible now. Nothing is charged.

        With this check, a client that ignores `Retry-After` is refused before its request is parsed.

        Raises: RateLimitExceeded if the same charge would be refused again.
        """
        if (budget := self._budgets.get(client)) is not None:
            budget.require_refused_amount(self.scaled_limit(limit), self._clock())

    def charge(self, client: str, limit: WorkLimit, amount: float = 1) -> None:
        """Charge `amount` units of work to a client, and to its tenant if the tenant has a limit for this work.

        Tenants are charged only while another tenant is active.

        Raises: RateLimitExceeded if the budget of the client or of its tenant is too small. Nothing is charged then.
        """
        budget, scaled, now_s = _find_budget(self._budgets, client), self.scaled_limit(limit), self._clock()
        budget.charge(scaled, amount, now_s)
        if (of_tenant := _LIMITS_OF_TENANTS.get(limit.name)) is None:
            return
        tenant = tenant_of_client(client)
        if tenant is not None and self.processor_time.has_other_tenants(tenant):
            try:
                _find_budget(self._tenant_budgets, tenant).charge(self._limits[of_tenant.name], amount, now_s)
            except RateLimitExceeded:
                budget.undo_charge(scaled, min(amount, scaled.burst), now_s)
                raise

    def charge_at_most(self, client: str, limit: WorkLimit, amount: float) -> None:
        """Charge `amount` units of work that was done already. If the budget is smaller, charge the whole budget."""
        if (budget := self._budgets.get(client)) is not None:
            scaled, now_s = self.scaled_limit(limit), self._clock()
            budget.charge(scaled, min(amount, math.floor(budget.tokens_left(scaled, now_s))), now_s)

    @contextmanager
    def charge_if_due(self, client: str, limit: WorkLimit) -> Iterator["DueCharge"]:
        """Charge one unit of work at the end of the block, if the block sets `DueCharge.is_due`.

        While the budget is less than half full, the unit is charged at the begin, and given back at the end if it is
        not due. So concurrent blocks cannot exceed the budget. If the budget is used up during the block, nothing is
        charged.

        Raises: RateLimitExceeded at the begin if the client has no budget for one unit.
        """
        self.charge(client, limit, 1)
        scaled = self.scaled_limit(limit)
        is_charged = self._budgets[client].tokens_left(scaled, self._clock()) < scaled.burst / 2
        if not is_charged:
            self.undo_charge(client, limit)
        due = DueCharge()
        try:
            yield due
        finally:
            if is_charged and not due.is_due:
                self.undo_charge(client, limit)
            elif due.is_due and not is_charged:
                with suppress(RateLimitExceeded):
                    self.charge(client, limit)

    def undo_charge(self, client: str, limit: WorkLimit) -> None:
        """Give back one unit that was charged to a client before."""
        if (budget := self._budgets.get(client)) is not None:  # else the client left since the charge
            budget.undo_charge(limit, 1, self._clock())

    def scaled_limit(self, limit: WorkLimit) -> WorkLimit:
        """Return a limit of `WORK_LIMITS`, multiplied by the factor of this object.

        Each client has its own budget of this size.

        Raises: KeyError if `limit` is not a limit of clients, such as a limit of connections.
        """
        return self._limits[limit.name]

    @property
    def client_count(self) -> int:
        """Return the number of clients with a budget."""
        return len(self._budgets)


def _find_budget(budgets: OrderedDict[str, WorkBudget], name: str) -> WorkBudget:
    """Return the budget of a client or tenant. A new budget is complete, and replaces the oldest of too many."""
    budget = budgets.get(name)
    if budget is None:
        budget = budgets[name] = WorkBudget()
        if len(budgets) > MAX_CLIENTS:
            budgets.popitem(last=False)
    else:
        budgets.move_to_end(name)
    return budget
