"""Execution of the named queries in `queries.sql`, with a time limit for each query."""

import time
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.errors import InsufficientPrivilege

from synckairos.errors import StoreRefused, StoreUnavailable
from synckairos.postgres.named_sql import load_statements
from synckairos.postgres.pool import BoundedQueries, PostgresPool
from synckairos.postgres.transaction import Row

TIMEOUT_S = 2.0
"""Seconds after which a query fails, if the call does not set another limit."""

_PAUSE_AFTER_FAULT_S = 0.5
"""Seconds after an outage was seen in which further queries fail at once, without an attempt to reach Postgres."""


class HistoryQueries:
    """Runner of named queries on one connection pool."""

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool
        self._bounded = BoundedQueries()
        self._fail_until_s = 0.0

    async def run(self, name: str, values: Mapping[str, Any], timeout_s: float = TIMEOUT_S) -> list[Row]:
        """Run the query `name` with `values` and return its rows. Return or raise within `timeout_s` seconds.

        Raises: StoreUnavailable if Postgres is unreachable, too slow or not migrated.
        """
        if time.monotonic() < self._fail_until_s:
            raise StoreUnavailable("Postgres is not reachable; try again shortly")
        try:
            return await self._bounded.run(timeout_s, self._fetch(name, values))
        except StoreUnavailable:
            self._fail_until_s = time.monotonic() + _PAUSE_AFTER_FAULT_S
            raise
        except psycopg.OperationalError as fault:
            self._fail_until_s = time.monotonic() + _PAUSE_AFTER_FAULT_S
            raise StoreUnavailable("Postgres is not reachable; try again shortly", setting="DATABASE_URL") from fault
        except InsufficientPrivilege as fault:
            raise StoreRefused("Postgres does not permit this", setting="DATABASE_URL") from fault
        except psycopg.ProgrammingError as fault:
            if (fault.sqlstate or "").startswith("42"):
                raise StoreUnavailable("The database isn't up to date: run `synckairos migrate`") from fault
            raise

    async def _fetch(self, name: str, values: Mapping[str, Any]) -> list[Row]:
        return await self._pool.fetch(load_statements("queries.sql", "synckairos.history")[name], values, binary=True)
