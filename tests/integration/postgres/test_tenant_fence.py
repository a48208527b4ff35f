"""The fence between tenants: what each role of Postgres can do, on all tables that the catalog has."""

import ast
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from psycopg.sql import SQL, Identifier

import synckairos
from synckairos.embedded import Postgres
from synckairos.errors import StoreMisconfigured
from synckairos.postgres.access import SERVER_ROLE, WORKER_ROLE, cross_tenant_access, tenant_access
from synckairos.postgres.migrate import migrate
from synckairos.postgres.pool import PostgresPool
from synckairos.postgres.tenant_roles import TABLES_OF_TENANTS, TABLES_WITHOUT_TENANT, require_roles
from tests.integration.tenants.any_row import insert_row
from tests.pgbouncer import PgBouncer
from tests.waiting import eventually

PACKAGE = Path(synckairos.__file__).parent

CROSS_TENANTS = {
    "access_log/table.py",
    "audit/batch_writer.py",
    "audit/charge_fill.py",
    "audit/verify.py",
    "history/queries.py",
    "jobs/table.py",
    "members/table.py",
    "postgres/pool.py",
    "postgres/tenant_roles.py",
    "revocations/table.py",
    "signing_keys/table.py",
    "stored_credentials/table.py",
    "tenants/table.py",
    "webhooks/delivery_queue.py",
    "webhooks/registry.py",
}
"""Modules that cross tenants. Jobs and drains work for all tenants. The others read metrics, sets that each instance
holds in memory, sessions that a recovery needs, or act for operators."""

INDEXES_WITHOUT_TENANT = {
    "background_jobs": {"background_jobs_due", "background_jobs_finished", "background_jobs_leased"},
    "sync_access": {"sync_access_by_age"},
    "sync_archives": {"sync_archives_removed"},
    "sync_credentials": {"sync_credentials_by_parent"},
    "sync_events": {"sync_events_occurred"},
    "sync_revocations": {"sync_revocations_by_expiry"},
    "webhook_answers": {"webhook_answers_age"},
    "webhook_deliveries": {
        "webhook_deliveries_age",
        "webhook_deliveries_by_session",
        "webhook_deliveries_due",
        "webhook_deliveries_leased",
        "webhook_deliveries_listed",
        "webhook_deliveries_waiting",
    },
}
"""Indexes for workers, which work for all tenants, and for one endpoint, which belongs to one tenant."""

KEYS_WITHOUT_TENANT = {
    "background_jobs": "Postgres makes the id",
    "sync_access": "Postgres makes the id",
    "sync_credentials": "the server makes the id",
    "sync_revocations": "the entry names the tenant",
    "sync_signing_keys": "the server makes the id",
    "webhook_attempts": "the delivery belongs to one tenant",
    "webhook_deliveries": "the id is a hash of the endpoint",
    "webhook_endpoints": "the server makes the id",
    "webhook_secrets": "the endpoint belongs to one tenant",
}
"""Tables of tenants whose primary key does not begin with the tenant: the reason why two tenants cannot collide."""


@pytest.fixture
def owner(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url) as connection:
        yield connection


@pytest.fixture
def login(postgres: Postgres) -> str:
    """Create a login without privileges."""
    name = f"login_{uuid4().hex[:8]}"
    with psycopg.connect(postgres.database_url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN".encode())
    return name


def set_role(connection: psycopg.Connection[Any], role: str, tenant: str) -> None:
    connection.execute("SELECT set_config('role', %s, true), set_config('synckairos.tenant', %s, true)", [role, tenant])


def test_every_table_has_a_tenant_or_a_reason(owner: psycopg.Connection[Any]) -> None:
    statement = """
        SELECT c.relname, EXISTS (
            SELECT FROM pg_attribute AS a
            WHERE a.attrelid = c.oid AND a.attname = 'tenant' AND a.attnotnull AND NOT a.attisdropped
        ), c.relrowsecurity AND c.relforcerowsecurity
        FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
    """
    found = {name: (has_tenant, forced) for name, has_tenant, forced in owner.execute(statement)}
    expected = dict.fromkeys(TABLES_OF_TENANTS, (True, True)) | dict.fromkeys(TABLES_WITHOUT_TENANT, (False, False))
    assert found == expected


def test_keys_and_indexes_of_tenants_begin_with_the_tenant(owner: psycopg.Connection[Any]) -> None:
    statement = """
        SELECT t.relname, i.relname, x.indisprimary
        FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_class AS t ON t.oid = x.indrelid
        LEFT JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = x.indkey[0]
        WHERE t.relname = ANY(%s) AND a.attname IS DISTINCT FROM 'tenant'
    """
    keys: set[str] = set()
    indexes: dict[str, set[str]] = {}
    for table, index, is_primary in owner.execute(statement, [list(TABLES_OF_TENANTS)]):
        if is_primary:
            keys.add(table)
        else:
            indexes.setdefault(table, set()).add(index)
    assert (keys, indexes) == (set(KEYS_WITHOUT_TENANT), INDEXES_WITHOUT_TENANT)


@pytest.mark.parametrize("table", sorted(TABLES_OF_TENANTS))
def test_server_of_a_tenant_reaches_no_row_of_another_tenant(owner: psycopg.Connection[Any], table: str) -> None:
    for tenant in ("acme", "other"):
        insert_row(owner, table, tenant)
    set_role(owner, SERVER_ROLE, "other")
    assert owner.execute(f"SELECT tenant FROM {table}".encode()).fetchall() == [("other",)]
    privileges = TABLES_OF_TENANTS[table]
    for privilege, statement in (
        ("UPDATE", f"UPDATE {table} SET tenant = tenant WHERE tenant = 'acme'"),
        ("DELETE", f"DELETE FROM {table} WHERE tenant = 'acme'"),
    ):
        if privilege in privileges:
            assert owner.execute(statement.encode()).rowcount == 0
        else:
            with pytest.raises(InsufficientPrivilege), owner.transaction():
                owner.execute(statement.encode())
    if "UPDATE" in privileges:
        with pytest.raises(InsufficientPrivilege, match="row-level security"), owner.transaction():
            owner.execute(f"UPDATE {table} SET tenant = 'acme'".encode())
    with pytest.raises(InsufficientPrivilege), owner.transaction():
        owner.execute(f"TRUNCATE {table}".encode())
    set_role(owner, WORKER_ROLE, "")
    assert owner.execute(f"SELECT tenant FROM {table} ORDER BY 1".encode()).fetchall() == [("acme",), ("other",)]
    owner.rollback()


@pytest.mark.parametrize("table", sorted(TABLES_OF_TENANTS))
def test_server_without_a_tenant_raises(owner: psycopg.Connection[Any], table: str) -> None:
    insert_row(owner, table, "acme")
    owner.execute("SELECT set_config('role', %s, true)", [SERVER_ROLE])
    for tenant in (None, ""):
        if tenant is not None:
            owner.execute("SELECT set_config('synckairos.tenant', %s, true)", [tenant])
        with pytest.raises(InsufficientPrivilege, match="names no tenant"), owner.transaction():
            owner.execute(f"SELECT tenant FROM {table}".encode())
    owner.rollback()


@pytest.mark.serving_login
def test_login_of_servers_reaches_rows_only_with_a_role(database_url: str, direct_database_url: str) -> None:
    with psycopg.connect(direct_database_url) as owner:
        for table in TABLES_OF_TENANTS:
            insert_row(owner, table, "acme")
    for role, tenant, expected in ((SERVER_ROLE, "other", []), (SERVER_ROLE, "acme", [("acme",)])):
        with psycopg.connect(database_url) as login:
            set_role(login, role, tenant)
            for table in TABLES_OF_TENANTS:
                assert login.execute(f"SELECT tenant FROM {table}".encode()).fetchall() == expected, table
    with psycopg.connect(database_url, autocommit=True) as login:
        for table in (*TABLES_OF_TENANTS, *TABLES_WITHOUT_TENANT):
            with pytest.raises(InsufficientPrivilege, match="permission denied"):
                login.execute(f"SELECT FROM {table}".encode())
            for statement in ("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY", "DROP TABLE {}"):
                with pytest.raises(InsufficientPrivilege, match="must be owner"):
                    login.execute(statement.format(table).encode())
        with pytest.raises(InsufficientPrivilege):
            login.execute("SET ROLE postgres")


def test_the_server_reads_no_table_without_a_tenant(owner: psycopg.Connection[Any]) -> None:
    set_role(owner, SERVER_ROLE, "acme")
    for table in TABLES_WITHOUT_TENANT:
        with pytest.raises(InsufficientPrivilege), owner.transaction():
            owner.execute(f"SELECT FROM {table}".encode())


def test_no_role_can_log_in_or_bypass_the_fence(owner: psycopg.Connection[Any]) -> None:
    found = owner.execute(
        "SELECT r.rolname, rolcanlogin, rolsuper, rolbypassrls,"
        " EXISTS (SELECT FROM pg_class WHERE relowner = r.oid) FROM pg_roles AS r WHERE rolname = ANY(%s) ORDER BY 1",
        [[SERVER_ROLE, WORKER_ROLE]],
    ).fetchall()
    assert found == [(name, False, False, False, False) for name in (SERVER_ROLE, WORKER_ROLE)]


def test_only_the_listed_modules_cross_tenants() -> None:
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("cross_tenant_access")
    }
    assert found == CROSS_TENANTS
    accesses = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Access"
    }
    assert accesses == {"postgres/access.py"}


async def test_role_and_tenant_end_with_their_transaction_behind_a_pooler(
    pgbouncer: PgBouncer, direct_database_url: str
) -> None:
    url = pgbouncer.url(direct_database_url)
    query = b"SELECT pg_backend_pid(), current_user::text, current_setting('synckairos.tenant', true)"
    async with (
        PostgresPool(url, "test", max_connections=1, requires_roles=True) as pool,
        await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=None) as other,
    ):

        async def share_a_server() -> bool:
            """Return whether all transactions used one server in turn. The pooler can have several servers."""
            ((first, *values),) = await pool.fetch(query, access=tenant_access("acme"))
            assert values == [SERVER_ROLE, "acme"]
            async with pool.transaction(access=cross_tenant_access()) as transaction:
                ((second, *values),) = await transaction.fetch(query)
            assert values == [WORKER_ROLE, ""]
            row = await (await other.execute(query)).fetchone()
            assert row is not None
            assert (row[1], row[2] or "") == ("postgres", "")
            return bool(first == second == row[0])

        await eventually(share_a_server)


async def test_a_transaction_must_name_its_access(database_url: str) -> None:
    async with PostgresPool(database_url, "test", max_connections=1) as pool:
        with pytest.raises(ValueError, match="must name its access"):
            await pool.fetch(b"SELECT")


async def test_a_login_without_the_roles_is_refused_until_they_are_granted(database_url: str, login: str) -> None:
    notices: list[str] = []
    url = database_url.replace("postgres@", f"{login}@")
    async with open_required(url) as pool:
        with pytest.raises(StoreMisconfigured, match="Run `synckairos migrate`"):
            await require_roles(pool)
        await migrate(database_url, logins=[login], on_notice=notices.append)
        await require_roles(pool)
        assert await pool.fetch(b"SELECT count(*) FROM sync_events", access=tenant_access("acme")) == [(0,)]
    assert notices == []
    # Without the role the login has no privileges.
    with psycopg.connect(url) as connection, pytest.raises(InsufficientPrivilege):
        connection.execute("SELECT FROM sync_events")


@asynccontextmanager
async def open_required(url: str) -> AsyncIterator[PostgresPool]:
    async with PostgresPool(url, "test", max_connections=1, requires_roles=True) as pool:
        yield pool


async def test_a_login_that_cannot_create_roles_gets_the_statements(data_dir: Path) -> None:
    with Postgres(data_dir / f"roles-{uuid4().hex[:8]}", durable=False) as own:
        with psycopg.connect(own.url, autocommit=True) as admin:
            admin.execute("CREATE ROLE owner_of_tables LOGIN; GRANT CREATE ON SCHEMA public TO owner_of_tables")
        url = own.url.replace("postgres@", "owner_of_tables@")
        notices: list[str] = []
        await migrate(url, on_notice=notices.append)
        (notice,) = notices
        statements = notice.partition("again: ")[2].split("; ")
        assert statements == [
            f"CREATE ROLE {SERVER_ROLE} NOLOGIN NOBYPASSRLS",
            f"CREATE ROLE {WORKER_ROLE} NOLOGIN NOBYPASSRLS",
            f'GRANT "{SERVER_ROLE}", "{WORKER_ROLE}" TO "owner_of_tables" WITH INHERIT FALSE',
        ]
        with psycopg.connect(own.url, autocommit=True) as admin:
            for statement in statements:
                admin.execute(statement.encode())
        notices.clear()
        await migrate(url, find_older_instances=find_none, on_notice=notices.append)
        assert notices == ["separated the tenants in the database by row-level security"]
        # The owner of the tables is not a superuser, and sees no rows either.
        async with open_required(url) as pool:
            await require_roles(pool)
            await pool.fetch(
                b"INSERT INTO sync_revocations VALUES ('x', 'acme', now(), now())", access=cross_tenant_access()
            )
            assert await pool.fetch(b"SELECT tenant FROM sync_revocations", access=tenant_access("acme")) == [("acme",)]
            assert await pool.fetch(b"SELECT tenant FROM sync_revocations", access=tenant_access("other")) == []
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM sync_revocations").fetchone() == (0,)
        dump = own.cluster_dir / "dump"
        as_worker = ("--enable-row-security", f"--role={WORKER_ROLE}")
        own.run_program("pg_dump", *as_worker, "--format=custom", f"--dbname={url}", f"--file={dump}")
        with psycopg.connect(own.database_url("postgres"), autocommit=True) as admin:
            admin.execute(SQL("CREATE DATABASE restored OWNER {}").format(Identifier("owner_of_tables")))
        own.run_program("pg_restore", f"--dbname={own.database_url('restored')}", dump)
        with psycopg.connect(own.database_url("restored")) as admin:
            set_role(admin, SERVER_ROLE, "acme")
            assert admin.execute("SELECT tenant FROM sync_revocations").fetchall() == [("acme",)]
            set_role(admin, SERVER_ROLE, "other")
            assert admin.execute("SELECT tenant FROM sync_revocations").fetchall() == []


async def test_a_login_that_may_create_roles_may_also_set_them(data_dir: Path) -> None:
    with Postgres(data_dir / f"roles-{uuid4().hex[:8]}", durable=False) as own:
        with psycopg.connect(own.url, autocommit=True) as admin:
            admin.execute(
                "CREATE ROLE owner_of_tables LOGIN CREATEROLE; GRANT CREATE ON SCHEMA public TO owner_of_tables"
            )
        url = own.url.replace("postgres@", "owner_of_tables@")
        notices: list[str] = []
        await migrate(url, on_notice=notices.append)
        assert notices == ["separated the tenants in the database by row-level security"]
        async with open_required(url) as pool:
            await require_roles(pool)


async def find_none() -> list[str]:
    """Return no instance of an older release."""
    return []
