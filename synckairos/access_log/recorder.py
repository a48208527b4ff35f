"""The recorder of one instance: keeps acts and numbers of refusals in memory, and writes them to Postgres.

A refusal costs one dictionary operation, so that an attacker with bad credentials cannot load Postgres. Acts and
refusals stay in memory while Postgres is unavailable. The number of acts and of refusals in memory is limited.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from synckairos.access_log.records import AdministrativeAct, RefusalTally
from synckairos.access_log.table import AccessTable
from synckairos.errors import StoreUnavailable
from synckairos.principal import DEFAULT_TENANT, Principal
from synckairos.telemetry import log

FLUSH_INTERVAL_S = 5.0
"""Seconds between two writes of refusals to Postgres."""

KEEP_DAYS = 90
"""Days that Postgres keeps the entries of the access log."""

CLEANUP_INTERVAL_S = 3_600.0
"""Seconds between two deletions of old entries."""

MAX_ACTS = 1_000
"""Maximum number of acts in memory. If more acts are made during an outage of Postgres, the oldest ones are dropped.

Each act is also a log line.
"""

MAX_REFUSAL_ROWS = 10_000
"""Maximum number of addresses and reasons in memory. Further refusals are counted under the empty address."""

_MINUTE_MS = 60_000

logger = log.get_logger(__name__)


class AccessRecorder:
    """Collects administrative acts and refusals in memory, and writes them to the access log in Postgres.

    `now_ms` returns the time of Redis as this instance estimates it, in ms since the Unix epoch.
    """

    def __init__(self, table: AccessTable, now_ms: Callable[[], int]) -> None:
        self._table = table
        self._now_ms = now_ms
        self._acts: deque[AdministrativeAct] = deque(maxlen=MAX_ACTS)
        self._refusals: dict[tuple[str, str, int], int] = {}
        self._act_added = asyncio.Event()

    def record_act(self, principal: Principal, action: str, target: str, status: int) -> None:
        """Log an act and queue it for Postgres. Returns at once. See `AdministrativeAct` for the arguments."""
        act = AdministrativeAct(
            tenant=principal.tenant,
            at_ms=self._now_ms(),
            kind=principal.kind,
            subject=principal.subject,
            role="operator" if principal.is_operator else principal.role,
            address=principal.address,
            action=action,
            target=target,
            status=status,
        )
        logger.info("administrative act", actor=principal.actor, action=action, target=target, status=status)
        self._acts.append(act)
        self._act_added.set()

    def record_refusal(self, address: str, reason: str) -> None:
        """Count a refusal in memory. `address` is the client's address, `reason` the code of the error."""
        minute_ms = self._now_ms() // _MINUTE_MS * _MINUTE_MS
        key = address, reason, minute_ms
        if key not in self._refusals and len(self._refusals) >= MAX_REFUSAL_ROWS:
            key = "", reason, minute_ms
        self._refusals[key] = self._refusals.get(key, 0) + 1

    async def run(self) -> None:
        """Write acts and refusals to Postgres, and delete old entries, until cancelled.

        Acts are written immediately, refusals every `FLUSH_INTERVAL_S` seconds.
        """
        loop = asyncio.get_running_loop()
        next_cleanup_s = loop.time()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_INTERVAL_S):
                    await self._act_added.wait()
            self._act_added.clear()
            try:
                await self.flush()
                if loop.time() >= next_cleanup_s:
                    await self._table.delete_older_than(KEEP_DAYS)
                    next_cleanup_s = loop.time() + CLEANUP_INTERVAL_S
            except StoreUnavailable:
                # The pool logs the outage. The entries stay in memory until the next attempt.
                await asyncio.sleep(FLUSH_INTERVAL_S)

    async def flush(self) -> None:
        """Write all acts and refusals in memory to Postgres. Entries that are not written stay in memory.

        Raises: StoreUnavailable. If the outcome of a write is unknown, its entries can be written a second time later.
        """
        while self._acts:
            act = self._acts[0]
            await self._table.add_act(act)
            if self._acts and self._acts[0] is act:
                self._acts.popleft()
        if self._refusals:
            counted, self._refusals = self._refusals, {}
            try:
                await self._table.add_refusals(
                    [
                        RefusalTally(tenant=DEFAULT_TENANT, address=address, reason=reason, at_ms=at_ms, count=count)
                        for (address, reason, at_ms), count in counted.items()
                    ]
                )
            except StoreUnavailable:
                for (address, reason, at_ms), count in self._refusals.items():
                    counted[address, reason, at_ms] = counted.get((address, reason, at_ms), 0) + count
                self._refusals = counted
                raise
