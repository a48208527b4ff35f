"""The share of each client in the processor time of this instance.

An instance has one event loop, so its processor time is what clients share. The time that the requests of a client use
is measured. If a client has used more than its share while other clients are active, its next requests wait. Presses of
a client never wait: they are short, and other limits bound them. While a press runs, requests of clients with much work
pause. While several tenants are active, all clients of a tenant share the time of the tenant in the same way. Presses
count for this share, and wait if the presses of the tenant alone use all of it.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from synckairos.errors import RateLimitExceeded
from synckairos.limits.large_presses import LargePresses
from synckairos.limits.processor_time_account import ProcessorTimeAccount
from synckairos.limits.running_request import current_account
from synckairos.limits.step_meter import StepMeter
from synckairos.limits.tenant_share import TenantShare
from synckairos.limits.work_limits import PROCESSOR_MS, SETTING, TENANT_PROCESSOR_MS, WorkLimit
from synckairos.principal import tenant_of_client

MAX_CLIENTS = 20_000
"""Maximum number of clients with an account.

Beyond it, the account of the client that was idle for the longest time is dropped. The same holds for tenants.
"""

ACTIVE_S = 0.5
"""Seconds for which a client counts as active after a request."""

MAX_WAIT_S = 5.0
"""Seconds that a request waits for its turn. Then it is refused."""

MAX_UNLIMITED_WAIT_S = 1.0
"""Seconds that a request without rate limit waits for its turn. Then it runs."""

REQUEST_S = 0.000_15
"""Seconds that are charged for each request in addition to its measured time.

They stand for the work of protocols and the turns of the event loop, which cannot be measured for one request.
"""

RESPONSE_BYTE_S = 3e-9
"""Seconds that are charged for each byte of a response body, for work in the stores and on the way to the client."""

_RECENT_WEIGHT = 0.2  # weight of the newest request in the mean of a client

T = TypeVar("T")


class ProcessorTime:
    """The accounts of all clients of this instance."""

    def __init__(
        self,
        limit: WorkLimit = PROCESSOR_MS,
        clock: Callable[[], float] = time.monotonic,
        *,
        tenant_limit: WorkLimit = TENANT_PROCESSOR_MS,
    ) -> None:
        """Create the accounts.

        `limit` is the limit of processor time of each client, and `tenant_limit` that of each tenant. `clock` returns
        monotonic seconds.
        """
        self._limit = limit
        self._tenant_limit = tenant_limit
        self._clock = clock
        self._accounts: OrderedDict[str, ProcessorTimeAccount] = OrderedDict()
        self._tenants: OrderedDict[str, TenantShare] = OrderedDict()
        self._last_client = ""
        self._last_at_s = self._other_at_s = float("-inf")
        self._last_tenant: str | None = None
        self._last_tenant_at_s = self._other_tenant_at_s = float("-inf")
        self.steps = StepMeter()
        self.press_priority = self.steps.press_priority
        self.large_presses = LargePresses(limit, clock, self.has_other_clients)

    def note_activity(self, client: str) -> None:
        """Mark a client as active now, because it sent a request. It stays active for `ACTIVE_S` seconds."""
        now_s = self._clock()
        if client != self._last_client:
            self._last_client, self._other_at_s = client, self._last_at_s
        self._last_at_s = now_s
        if (tenant := tenant_of_client(client)) is not None:
            if tenant != self._last_tenant:
                self._last_tenant, self._other_tenant_at_s = tenant, self._last_tenant_at_s
            self._last_tenant_at_s = now_s

    def has_other_tenants(self, tenant: str) -> bool:
        """Return whether a client of at least one tenant other than `tenant` is active.

        Clients without a credential belong to no tenant.
        """
        at_s = self._other_tenant_at_s if tenant == self._last_tenant else self._last_tenant_at_s
        return self._clock() - at_s < ACTIVE_S

    def has_other_clients(self, client: str) -> bool:
        """Return whether at least one client other than `client` is active."""
        at_s = self._other_at_s if client == self._last_client else self._last_at_s
        return self._clock() - at_s < ACTIVE_S

    async def run(self, client: str, work: Callable[[], Coroutine[Any, Any, T]], *, is_rate_limited: bool = True) -> T:
        """Wait until the client has a place and a share of the processor, then await `work()` and charge its time.

        The call does not wait if no other client is active. If `is_rate_limited` is False, `work` is always called,
        after a wait of at most `MAX_UNLIMITED_WAIT_S` seconds.

        Raises: RateLimitExceeded if the wait takes more than `MAX_WAIT_S` seconds. `work` is not called then.
        """
        account = self._account(client)
        if account.must_wait():
            await self._wait(client, account, MAX_WAIT_S if is_rate_limited else MAX_UNLIMITED_WAIT_S, is_rate_limited)
        return await self._charge_while_running(account, work)

    async def run_press(
        self, client: str, tenant: str, session_id: str, work: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        """Await `work()`, which is a press of a client of `tenant` on a session of this tenant.

        The press waits only if its session is large, see `LargePresses`, or if the presses of the tenant use its whole
        share beside other tenants.

        Raises: RateLimitExceeded if the wait takes too long. `work` is not called then.
        """
        if (session_name := self.large_presses.find_large(tenant, session_id)) is not None:
            return await self.run_large_press(client, session_name, work)
        if self._charge_press(client):
            await self._wait_for_press(client)
        self.press_priority.begin_press()
        try:
            return await work()
        finally:
            self.press_priority.end_press()

    def _charge_press(self, client: str) -> bool:
        """Charge a press that begins to the tenant of its client. Return whether the press must wait.

        Nothing is charged while no other tenant is active.
        """
        tenant = tenant_of_client(client)
        if tenant is None or not self.has_other_tenants(tenant):
            return False
        return self._tenant_share(tenant).charge_press()

    async def _wait_for_press(self, client: str) -> None:
        """Wait until the presses of the client's tenant have used no more than its share.

        Raises: RateLimitExceeded if the wait takes more than `MAX_WAIT_S` seconds.
        """
        if (tenant := tenant_of_client(client)) is None:
            return
        try:
            async with asyncio.timeout(MAX_WAIT_S):
                await self._tenant_share(tenant).wait_for_press(client)
        except TimeoutError:
            raise RateLimitExceeded(self._tenant_limit.description, SETTING, int(MAX_WAIT_S * 1000)) from None

    async def run_large_press(self, client: str, session_name: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Wait for the turn of a press of a large session, see `LargePresses`. Then await `work()` and charge its time.

        The press is no press for `PressPriority`: other work does not wait for it, and it waits for other presses.

        Raises: RateLimitExceeded if the wait takes too long. `work` is not called then.
        """
        async with self.large_presses.turn(client, session_name) as seconds:
            account = self._account(client)
            if account.tenant is not None and account.tenant.must_wait():
                await self._wait(client, account, MAX_WAIT_S, is_rate_limited=True)
            account.charge(seconds)  # during the press, so that its steps wait for other presses
            try:
                return await self._charge_while_running(account, work)
            finally:
                account.charge_client(-seconds)  # the turn of the client's next press counts them

    async def pace(self, client: str, stream: AsyncIterable[bytes]) -> AsyncGenerator[bytes, None]:
        """Yield the pieces of a response body. Charge the processor time of each piece to the client.

        Before each piece, wait until the client has used no more than its share. The wait ends when no other client is
        active. The caller must close the result and `stream`.
        """
        pieces = aiter(stream)

        async def next_piece() -> bytes | None:
            return await anext(pieces, None)

        while True:
            account = self._account(client)
            if account.must_wait():
                await self._wait(client, account, None, is_rate_limited=False)
            piece = await self._charge_while_running(account, next_piece)
            if piece is None:
                return
            account.charge(len(piece) * RESPONSE_BYTE_S)
            yield piece
            await asyncio.sleep(0)  # if the client reads fast, the sending does not end the turn of the event loop

    async def _charge_while_running(
        self, account: ProcessorTimeAccount, work: Callable[[], Coroutine[Any, Any, T]]
    ) -> T:
        """Await `work()` and charge its processor time to an account."""
        reserved_s = account.mean_s
        account.charge(reserved_s + REQUEST_S)
        account.enter_place()
        token = current_account.set(account)
        spent = [REQUEST_S]
        try:
            return await self.steps.run(work(), account, spent)
        finally:
            current_account.reset(token)
            account.leave_place()
            account.charge(-reserved_s)
            account.mean_s += (spent[0] - account.mean_s) * _RECENT_WEIGHT

    def charge_response(self, client: str, size_bytes: int) -> None:
        """Charge the estimated processor time for sending a response body of `size_bytes` bytes to a client."""
        self._account(client).charge(size_bytes * RESPONSE_BYTE_S)

    async def delay_refusal(self, client: str) -> None:
        """Wait at least `REFUSAL_DELAY_S` seconds, before the answer to a refused request of a rate-limited client.

        A client with many refused requests gets one answer each `REFUSAL_INTERVAL_S` seconds. Return immediately if no
        other client is active.
        """
        if (delay_s := self.reserve_refusal(client)) > 0:
            await asyncio.sleep(delay_s)

    def reserve_refusal(self, client: str) -> float:
        """Return the seconds for which the answer to a refused request is held back, 0 if no other client is active.

        Each call for one client reserves a later instant than the call before, up to a maximum. The same holds for the
        calls for clients of one tenant.
        """
        if not self.has_other_clients(client):
            return 0.0
        account = self._account(client)
        delay_s = account.reserve_refusal()
        return delay_s if account.tenant is None else max(delay_s, account.tenant.reserve_refusal())

    @property
    def account_count(self) -> int:
        """Return the number of clients with an account."""
        return len(self._accounts)

    @property
    def waiting_count(self) -> int:
        """Return the number of requests and pieces of responses that wait because of the shares of their clients."""
        return sum(account.waiting for account in self._accounts.values())

    def _account(self, client: str) -> ProcessorTimeAccount:
        account = self._accounts.get(client)
        if account is None:
            share = None if (tenant := tenant_of_client(client)) is None else self._tenant_share(tenant)
            account = self._accounts[client] = ProcessorTimeAccount(self._limit, self._clock, self.steps, share, client)
            if len(self._accounts) > MAX_CLIENTS:
                self._accounts.popitem(last=False)
        else:
            self._accounts.move_to_end(client)
        return account

    def _tenant_share(self, tenant: str) -> TenantShare:
        share = self._tenants.get(tenant)
        if share is None:
            share = TenantShare(self._tenant_limit, self._clock, partial(self.has_other_tenants, tenant))
            self._tenants[tenant] = share
            if len(self._tenants) > MAX_CLIENTS:
                self._tenants.popitem(last=False)
        else:
            self._tenants.move_to_end(tenant)
        return share

    async def _wait(
        self, client: str, account: ProcessorTimeAccount, max_wait_s: float | None, is_rate_limited: bool
    ) -> None:
        """Wait until the client has a place and has used no more than its share, or no other client is active.

        Then wait in the same way for its tenant, or until no other tenant is active. The requests of a client wait in
        the order of their arrival. The wait ends after `max_wait_s` seconds; None is no limit.

        Raises: RateLimitExceeded if `is_rate_limited` and the wait takes more than `max_wait_s` seconds.
        """
        if account.turns is None:
            account.turns = asyncio.Lock()
        account.waiting += 1
        try:
            async with asyncio.timeout(max_wait_s), account.turns:
                await account.wait_while(partial(self.has_other_clients, client))
                if account.tenant is not None:
                    await account.tenant.wait(client)
        except TimeoutError:
            if is_rate_limited:
                limit, wait_s = self._limit, account.seconds_to_wait()
                if wait_s == 0 and account.tenant is not None and account.running < account.max_running:
                    limit, wait_s = self._tenant_limit, account.tenant.seconds_to_wait()
                raise RateLimitExceeded(limit.description, SETTING, max(1, math.ceil(wait_s * 1000))) from None
        finally:
            account.waiting -= 1
            if not account.waiting:
                account.turns = None
