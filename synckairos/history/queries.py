"""Execution of the named queries in `queries.sql`, with a time limit for each query."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from functools import cache
from typing import Any, TypeVar

import psycopg
from psycopg.errors import InsufficientPrivilege, QueryCanceled
from psycopg_pool import PoolTimeout

from synckairos.errors import DatabaseNotMigrated, StoreRefused, StoreUnavailable
from synckairos.limits.fair_queue import FairQueue
from synckairos.limits.running_request import charge_report, charge_task, idle_wait, query_place
from synckairos.postgres.access import cross_tenant_access, tenant_access
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.time_limits import TimeLimitedQueries
from synckairos.postgres.transaction import Row

T = TypeVar("T")

RunQuery = Callable[[str, Mapping[str, Any]], Awaitable[list[Row]]]
"""A function that runs the query with the given name and values, and returns its rows."""

TIMEOUT_S = 2.0
"""Seconds after which a query fails, if the caller of `HistoryQueries.run` does not set another limit."""

REPORT_TIMEOUT_S = 10.0
"""Seconds after which the query of a report fails."""

_PAUSE_AFTER_FAULT_S = 0.5
"""Seconds after an outage was seen in which further queries fail at once, without an attempt to reach Postgres.

Only a connection that cannot be made counts as an outage. A slow query says nothing about the queries of other callers.
"""

_FROM_LABELS = b"FROM sync_labels AS l JOIN sync_sessions AS s USING (tenant, session_id, created_at)\n"
_HAS_LABEL = b"WHERE l.tenant = %(tenant)s AND l.name = %(label_name)s AND l.value = %(label_value)s\n"

_FROM_REACHED = b"""FROM (
    SELECT session.*
    FROM (
        SELECT named.session_id FROM unnest(%(reached_ids)s::uuid[]) AS named (session_id)
        UNION
        SELECT labelled.session_id
        FROM unnest(%(reached_keys)s::text[], %(reached_values)s::text[]) AS wanted (name, value)
        CROSS JOIN LATERAL (
            SELECT l.session_id
            FROM sync_labels AS l JOIN sync_sessions AS s USING (tenant, session_id, created_at)
            WHERE l.tenant = %(tenant)s AND l.name = wanted.name AND l.value = wanted.value AND s.deleted_at IS NULL
                AND (%(status)s::sync_status IS NULL OR s.status = %(status)s::sync_status)
                AND (%(sync_mode)s::sync_mode IS NULL OR s.sync_mode = %(sync_mode)s::sync_mode)
                AND (%(only_unfinished)s IS NOT TRUE OR s.status IN ('pending', 'running', 'paused'))
                AND (%(labels)s::jsonb IS NULL OR s.labels @> %(labels)s::jsonb)
                AND (l.created_at, l.session_id) < (%(before_at)s::timestamptz, %(before_id)s::uuid)
            ORDER BY l.created_at DESC, l.session_id DESC
            LIMIT %(limit)s
        ) AS labelled
    ) AS reached
    JOIN sync_sessions AS session ON session.tenant = %(tenant)s AND session.session_id = reached.session_id
) AS s
"""
"""The sessions with some ids or labels. Of each label, one page is enough, because the result is one page.

The filters are those of the query `sessions`. Without them here, the page of a label could miss sessions that match.
"""

_REPORT_SHARE = 3
"""Reports get one connection of this many, at least one. So slow reports leave connections to all other queries."""


class HistoryQueries:
    """Runs the named queries of `queries.sql` on one connection pool, each in its own transaction."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool
        self._bounded = TimeLimitedQueries()
        self._fail_until_s = 0.0
        self._report_places = FairQueue(max(1, pool.max_size // _REPORT_SHARE))

    async def run_report(self, tenant: str, report: Callable[[RunQuery], Awaitable[T]]) -> T:
        """Run the queries of a report of a tenant in one transaction, and return the result of `report`.

        `report` is called with a function that runs one query. All its queries see the same state of the database.

        The time limit is ten seconds. Reports share a third of the connections of the pool. Tenants that wait for one
        take turns.

        Raises: the errors of `run`. Also StoreUnavailable if other reports use all these connections during the first
            two seconds of the call.
        """
        async with AsyncExitStack() as place:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await place.enter_async_context(self._report_places.turn(tenant))
            except TimeoutError:
                raise StoreUnavailable("Too many reports are requested at the same time; try again shortly") from None
            with idle_wait(), charge_report():
                return await self._run_within(REPORT_TIMEOUT_S, lambda: self._run_in_snapshot(tenant, report))

    async def run(
        self,
        tenant: str | None,
        name: str,
        values: Mapping[str, Any],
        timeout_s: float = TIMEOUT_S,
        *,
        charges_time: bool = False,
    ) -> list[Row]:
        """Run the query `name` with the parameters `values`, and return all its rows.

        The query reads only rows of `tenant`, which is also its parameter `tenant`. None reads the rows of all tenants.

        The query takes at most `timeout_s` seconds. Before it, the call waits for other queries of the same client, see
        `query_place`, at most two seconds. After an outage of Postgres was seen, calls raise at once for half a second.

        If `charges_time` is True, the time of the query is charged to the client as the time of a report is, see
        `charge_report`. It is for queries that read many bytes.

        Raises:
            StoreUnavailable: Postgres is unreachable or too slow, or the database is not migrated. Or other queries of
                the client did not end in time.
            StoreRefused: The user of the pool lacks a privilege.
        """
        async with AsyncExitStack() as place:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await place.enter_async_context(query_place())
            except TimeoutError:
                raise StoreUnavailable("Too many queries are requested at the same time; try again shortly") from None
            if charges_time:
                place.enter_context(charge_report())
            return await self._run_within(timeout_s, lambda: self._fetch(tenant, name, values))

    async def _run_within(self, timeout_s: float, queries: Callable[[], Coroutine[Any, Any, T]]) -> T:
        began_s = time.monotonic()
        if began_s < self._fail_until_s:
            raise _unreachable()
        try:
            return await self._bounded.run(timeout_s, charge_task(queries))
        except StoreUnavailable as fault:
            if self._note_outage(began_s):
                raise _unreachable() from fault
            raise
        except QueryCanceled as fault:
            raise StoreUnavailable("Postgres needs too long for this; try again later") from fault
        except psycopg.OperationalError as fault:
            if isinstance(fault, PoolTimeout):
                self._note_outage(began_s)
            else:
                self._fail_until_s = time.monotonic() + _PAUSE_AFTER_FAULT_S
            raise _unreachable() from fault
        except InsufficientPrivilege as fault:
            raise StoreRefused("Postgres does not permit this", setting="DATABASE_URL") from fault
        except psycopg.ProgrammingError as fault:
            if (fault.sqlstate or "").startswith("42"):
                raise DatabaseNotMigrated from fault
            raise

    def _note_outage(self, began_s: float) -> bool:
        """Return whether no connection could be made since `began_s`. Then queries fail at once for a short time.

        `began_s` is an instant by `time.monotonic()`.
        """
        if not self._pool.is_unreachable_since(began_s):
            return False
        self._pool.watch_outage()
        self._fail_until_s = time.monotonic() + _PAUSE_AFTER_FAULT_S
        return True

    async def _run_in_snapshot(self, tenant: str, report: Callable[[RunQuery], Awaitable[T]]) -> T:
        access = tenant_access(tenant)
        async with self._pool.transaction(access=access, isolation="REPEATABLE READ", read_only=True) as transaction:

            async def run_query(name: str, values: Mapping[str, Any]) -> list[Row]:
                return await transaction.fetch(load_query(name), {**values, "tenant": tenant}, binary=True)

            return await report(run_query)

    async def _fetch(self, tenant: str | None, name: str, values: Mapping[str, Any]) -> list[Row]:
        access = cross_tenant_access() if tenant is None else tenant_access(tenant)
        return await self._pool.fetch(load_query(name), {**values, "tenant": tenant}, access=access, binary=True)


def _unreachable() -> StoreUnavailable:
    # All errors of one outage name the store, so that the log has one line for their requests.
    return StoreUnavailable("Postgres is not reachable; try again shortly", setting="DATABASE_URL")


@cache
def load_query(name: str) -> bytes:
    """Return the statement of a query. `labelled_sessions` and `reached_sessions` are variants of the query `sessions`.

    `reached_sessions` has only sessions with one of some ids or labels. `labelled_sessions` has a filter by labels. It
    begins with the sessions that have one of the labels, because row-level security keeps Postgres from an index of all
    labels. The sessions are in the order of their creation there too.
    """
    statements = load_statements("queries.sql", "synckairos.history")
    if name == "reached_sessions":
        return statements["sessions"].replace(b"FROM sync_sessions AS s\n", _FROM_REACHED)
    if name != "labelled_sessions":
        return statements[name]
    return (
        statements["sessions"]
        .replace(b"FROM sync_sessions AS s\n", _FROM_LABELS)
        .replace(b"WHERE s.tenant = %(tenant)s\n", _HAS_LABEL)
        .replace(b"(s.created_at, s.session_id) <", b"(l.created_at, l.session_id) <")
        .replace(b"ORDER BY s.created_at DESC, s.session_id DESC\n", b"ORDER BY l.created_at DESC, l.session_id DESC\n")
    )
