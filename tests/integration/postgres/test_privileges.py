"""A role without privileges: every command says in one sentence what to grant, and works once it is granted."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from synckairos.admin import doctor
from synckairos.cli.exit_codes import ExitCode
from synckairos.config import Settings
from synckairos.embedded import Postgres
from synckairos.errors import StoreRefused
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.reader import HistoryReader, open_history_pool
from synckairos.postgres.migrate import migrate, read_migrations
from synckairos.postgres.migrations_dir import migrations_dir
from synckairos.postgres.privileges import PrivilegeMissing
from tests.integration.admin.test_audit import run_command


@pytest.fixture
def role(postgres: Postgres) -> Iterator[str]:
    """Create a role that may only connect."""
    name = f"role_{uuid4().hex[:8]}"
    with psycopg.connect(postgres.database_url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN".encode())
        yield name


def as_role(url: str, role: str) -> str:
    return url.replace("postgres@", f"{role}@")


def run_as_owner(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


async def test_migrate_names_the_missing_grant_and_works_after_it(
    settings: Settings, bare_database_url: str, role: str
) -> None:
    limited = settings.model_copy(update={"database_url": as_role(bare_database_url, role)})
    grant = f'GRANT USAGE, CREATE ON SCHEMA "public" TO "{role}"'
    code, lines = await run_command(limited, "migrate")
    assert code == ExitCode.UNAVAILABLE
    reason = f"The role {role} cannot create tables: permission denied for schema public"
    assert lines == [f"{reason}. Run as the owner of the schema: {grant}"]
    run_as_owner(bare_database_url, grant)
    code, lines = await run_command(limited, "migrate")
    assert code == 0
    assert lines[0].startswith("applied 0001_")


async def test_migrate_names_the_grant_in_whatever_words_postgres_refuses(bare_database_url: str, role: str) -> None:
    """The name of the schema makes the message look like a refusal for a table. The session uses another role."""
    schema = '"permission for table"'
    run_as_owner(
        bare_database_url,
        f"CREATE SCHEMA {schema}",
        f"GRANT USAGE ON SCHEMA {schema} TO {role}",
        f"ALTER DATABASE {bare_database_url.partition('?')[0].rpartition('/')[2]} SET search_path = {schema}",
    )
    separator = "&" if "?" in bare_database_url else "?"
    url = f"{bare_database_url}{separator}options=-c%20role%3D{role}"
    with pytest.raises(PrivilegeMissing) as refusal:
        await migrate(url)
    grant = f'GRANT USAGE, CREATE ON SCHEMA {schema} TO "{role}"'
    assert refusal.value.message.startswith(f"The role {role} cannot create tables: ")
    assert refusal.value.message.endswith(f". Run as the owner of the schema: {grant}")
    run_as_owner(bare_database_url, grant)
    assert (await migrate(url))[0].startswith("0001_")


async def test_migrate_by_a_role_that_does_not_own_the_tables_names_the_owner(
    direct_database_url: str, role: str, tmp_path: Path
) -> None:
    migrations = read_migrations(migrations_dir())
    for each in migrations:
        (tmp_path / each.name).write_text(each.text)
    (tmp_path / f"{migrations[-1].number + 1:04d}_more.sql").write_text("ALTER TABLE sync_sessions ADD more int")
    run_as_owner(
        direct_database_url,
        f"GRANT CREATE ON SCHEMA public TO {role}",
        f"GRANT SELECT, INSERT ON sync_migrations TO {role}",
    )
    with pytest.raises(PrivilegeMissing, match="Connect as the owner of the tables"):
        await migrate(as_role(direct_database_url, role), tmp_path)


async def test_migrate_without_work_needs_no_privilege_to_create(direct_database_url: str, role: str) -> None:
    url = as_role(direct_database_url, role)
    with pytest.raises(PrivilegeMissing, match="permission denied for table sync_migrations"):
        await migrate(url)
    run_as_owner(direct_database_url, f"GRANT SELECT ON sync_migrations TO {role}")
    assert await migrate(url) == []


async def test_doctor_prints_the_roles_that_servers_and_workers_need(
    settings: Settings, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = settings.database_url
    for name, value in (
        settings.model_copy(update={"database_url": as_role(url, role)}).to_environment_variables().items()
    ):
        monkeypatch.setenv(name, value)
    run_as_owner(url, f"GRANT SELECT ON sync_migrations TO {role}")
    (fault,) = [check for check in await doctor.run_checks() if not check.passed]
    assert (fault.name, fault.result) == ("tenants", "the login may not use the roles that separate tenants")
    run_as_owner(url, fault.remedy.partition("create roles: ")[2])
    assert [check for check in await doctor.run_checks() if not check.passed] == []


async def test_doctor_names_the_grant_that_migrate_needs(
    settings: Settings, bare_database_url: str, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited = settings.model_copy(update={"database_url": as_role(bare_database_url, role)})
    for name, value in limited.to_environment_variables().items():
        monkeypatch.setenv(name, value)
    (fault,) = [check for check in await doctor.run_checks() if not check.passed]
    assert fault.name == "migrations"
    assert fault.result.endswith("the role may not create tables")
    assert fault.remedy == f'GRANT USAGE, CREATE ON SCHEMA "public" TO "{role}"; synckairos migrate'


async def test_a_read_without_privileges_does_not_ask_for_migrations(settings: Settings, role: str) -> None:
    limited = settings.model_copy(update={"database_url": as_role(settings.database_url, role)})
    async with open_history_pool(limited) as pool:
        history = HistoryReader(pool, ColdStorage(settings.archive_url))
        with pytest.raises(StoreRefused, match="does not permit this"):
            await history.read_sessions_page()


async def test_migrate_uses_the_direct_url_and_names_it_in_errors(settings: Settings, bare_database_url: str) -> None:
    nowhere = "postgresql://127.0.0.1:1/none"
    code, lines = await run_command(settings.model_copy(update={"database_direct_url": nowhere}), "migrate")
    assert code == ExitCode.UNAVAILABLE
    assert lines[0].startswith("DATABASE_DIRECT_URL: connection failed")
    direct = settings.model_copy(update={"database_url": nowhere, "database_direct_url": bare_database_url})
    code, lines = await run_command(direct, "migrate")
    assert code == 0
    assert lines[0].startswith("applied 0001_")
