"""Point-in-time recovery of Postgres with the settings of the page about backups."""

import asyncio
import os
import pwd
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from synckairos.admin.outbox_drain import drain_outbox
from synckairos.config import Settings
from synckairos.embedded import Postgres
from synckairos.postgres.migrate import migrate
from tests.integration.data_loss import create_started
from tests.integration.parts import open_parts
from tests.unit.docs.pages import DOCUMENTS, code_blocks
from tests.waiting import eventually

pytestmark = pytest.mark.slow


class RestoredPostgres(Postgres):
    """A cluster that begins as a copy of a base backup, and recovers with the settings of the page."""

    def __init__(self, data_dir: Path, base: Path, settings: str) -> None:
        super().__init__(data_dir, durable=False)
        self._base = base
        self._settings = settings

    def create_cluster(self) -> None:
        shutil.copytree(self._base, self.cluster_dir, dirs_exist_ok=True)
        (self.cluster_dir / "recovery.signal").touch()
        with (self.cluster_dir / "postgresql.auto.conf").open("a") as file:
            file.write(self._settings)
        give_to_postgres(self.cluster_dir)


def give_to_postgres(folder: Path) -> None:
    """Make the user of Postgres the owner of a folder, if Postgres runs as another user."""
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        for each in (folder, *folder.rglob("*")):
            os.chown(each, nobody.pw_uid, nobody.pw_gid)


@pytest.fixture
def backup_folder(data_dir: Path) -> Iterator[Path]:
    """Create the folder that the page calls /backup."""
    folder = data_dir / f"backup-{uuid4().hex[:8]}"
    (folder / "wal").mkdir(parents=True)
    (folder / "base").mkdir(mode=0o700)
    give_to_postgres(folder)
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@asynccontextmanager
async def connected(postgres: Postgres) -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(postgres.url, autocommit=True) as connection:
        yield connection


async def drained_session(settings: Settings) -> str:
    """Start a session, and move it to Postgres. Return its id."""
    async with open_parts(settings) as parts:
        session_id = await create_started(parts)
    assert await drain_outbox(settings) == 2
    return session_id


async def test_restore_to_an_instant_has_the_versions_before_it_and_no_later_ones(
    settings: Settings, data_dir: Path, backup_folder: Path
) -> None:
    page = (DOCUMENTS / "operate" / "backup.md").read_text().replace("/backup/", f"{backup_folder}/")
    (archiving,) = code_blocks(page, "sql")
    (recovery,) = re.findall(r"^```\n(restore_command.*?)^```$", page, re.MULTILINE | re.DOTALL)
    with Postgres(data_dir / f"archived-{uuid4().hex[:8]}", durable=False) as archived:
        await migrate(archived.url)
        async with connected(archived) as connection:
            for statement in archiving.splitlines():
                await connection.execute(statement.encode())
        await asyncio.to_thread(archived.stop)
        await asyncio.to_thread(archived.start)
        own = settings.model_copy(update={"database_url": archived.url})
        archived.run_program(
            "pg_basebackup", "-D", backup_folder / "base", "-d", archived.database_url("postgres"), "--checkpoint=fast"
        )
        before = await drained_session(own)
        async with connected(archived) as connection:
            found = await (await connection.execute("SELECT clock_timestamp()::text")).fetchone()
        assert found is not None
        after = await drained_session(own)
        async with connected(archived) as connection:
            switched = await (await connection.execute("SELECT pg_walfile_name(pg_switch_wal())")).fetchone()
            assert switched is not None

            async def is_archived() -> bool:
                return (backup_folder / "wal" / str(switched[0])).exists()

            await eventually(is_archived)
        archived.kill()

    instant = re.sub(r"(?<=recovery_target_time = ').*(?=')", found[0], recovery)
    assert found[0] in instant
    with RestoredPostgres(data_dir / f"restored-{uuid4().hex[:8]}", backup_folder / "base", instant) as restored:
        async with connected(restored) as connection:

            async def is_promoted() -> bool:
                return await (await connection.execute("SELECT pg_is_in_recovery()")).fetchone() == (False,)

            await eventually(is_promoted)
            rows = await (await connection.execute("SELECT DISTINCT session_id::text FROM sync_events")).fetchall()
    assert rows == [(before,)]
    assert after != before
