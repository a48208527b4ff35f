"""Transactions with a time limit: result, rollback, limit, and errors without details of the database."""

import asyncio

import psycopg
import pytest

from synckairos.errors import DatabaseNotMigrated, StoreRefused, StoreUnavailable
from synckairos.postgres.access import cross_tenant_access
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.time_limits import TimeLimitedTransactions
from synckairos.postgres.transaction import Row, Transaction
from tests.waiting import eventually

NOWHERE = "postgresql://someone:secret@127.0.0.1:1/hidden"


def create_numbers(database_url: str) -> None:
    """Create a table as the owner of the database, for all roles."""
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE numbers (n int); GRANT ALL ON numbers TO PUBLIC")


async def test_transaction_is_committed_at_its_end_and_rolled_back_by_an_exception(database_url: str) -> None:
    async with PostgresPool(database_url, "test", access=cross_tenant_access(), max_connections=1) as pool:
        transactions = TimeLimitedTransactions(pool)
        create_numbers(database_url)

        async def add(transaction: Transaction) -> list[Row]:
            await transaction.execute(b"INSERT INTO numbers VALUES (1)")
            return await transaction.fetch(b"SELECT n FROM numbers")

        async def fail(transaction: Transaction) -> None:
            await add(transaction)
            raise LookupError("none")

        assert await transactions.transact(cross_tenant_access(), add) == [(1,)]
        with pytest.raises(LookupError, match="none"):
            await transactions.transact(cross_tenant_access(), fail)
        assert await transactions.fetch(cross_tenant_access(), b"SELECT n FROM numbers", {}) == [(1,)]


async def test_transaction_beyond_its_limit_raises_and_changes_nothing(database_url: str) -> None:
    async with PostgresPool(database_url, "test", access=cross_tenant_access(), max_connections=2) as pool:
        transactions = TimeLimitedTransactions(pool)
        create_numbers(database_url)
        has_ended = asyncio.Event()

        async def wait_forever(transaction: Transaction) -> None:
            await transaction.execute(b"INSERT INTO numbers VALUES (1)")
            try:
                await asyncio.Event().wait()
            finally:
                has_ended.set()

        with pytest.raises(StoreUnavailable, match=r"^Postgres did not answer within 0\.2 s; try again shortly$"):
            await transactions.transact(cross_tenant_access(), wait_forever, timeout_s=0.2)
        async with asyncio.timeout(10):
            await has_ended.wait()

        async def is_idle() -> bool:
            return pool.in_use == 0

        await eventually(is_idle)
        assert await transactions.fetch(cross_tenant_access(), b"SELECT n FROM numbers", {}) == []


@pytest.mark.parametrize(
    ("statement", "kind", "message"),
    [
        (b"SELECT 1 FROM hidden", DatabaseNotMigrated, "The database is not up to date: run `synckairos migrate`"),
        (b"SELECT 1 / 0", StoreUnavailable, "Postgres cannot execute this now; try again later"),
        (b"DO $$ BEGIN RAISE insufficient_privilege; END $$", StoreRefused, "Postgres does not permit this"),
    ],
)
async def test_error_of_a_statement_has_a_text_without_details(
    database_url: str, statement: bytes, kind: type[StoreUnavailable], message: str
) -> None:
    async with PostgresPool(database_url, "test", access=cross_tenant_access(), max_connections=1) as pool:
        with pytest.raises(StoreUnavailable) as caught:
            await TimeLimitedTransactions(pool).fetch(cross_tenant_access(), statement, {})
    assert (type(caught.value), caught.value.message) == (kind, message)


async def test_unreachable_database_is_not_named() -> None:
    async with PostgresPool(NOWHERE, "test", access=cross_tenant_access(), max_connections=1, timeout_s=0.2) as pool:
        with pytest.raises(StoreUnavailable) as caught:
            await TimeLimitedTransactions(pool).fetch(cross_tenant_access(), b"SELECT", {})
    assert caught.value.message == "Postgres is not reachable; try again shortly"
