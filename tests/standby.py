"""A streaming standby of one of our Postgres clusters, for tests of failing over."""

import os
import signal
import subprocess
from pathlib import Path

import psycopg

from synckairos.embedded import Postgres
from synckairos.embedded.postgres import plain_environment
from tests.waiting import eventually


class Standby(Postgres):
    """A copy of a running cluster that follows it, read-only until it is promoted."""

    def __init__(self, data_dir: Path, primary: Postgres) -> None:
        super().__init__(data_dir)
        self._primary = primary

    def _initdb(self) -> None:
        """Copy the primary instead of making a new cluster."""
        uid, gid = self._account or (None, None)
        subprocess.run(
            [
                *(self._home / "bin" / "pg_basebackup", "-D", self._cluster, "-d", self._primary.url_of("postgres")),
                *("--write-recovery-conf", "--checkpoint=fast", "--no-sync"),
            ],
            user=uid,
            group=gid,
            env=plain_environment(),
            check=True,
            capture_output=True,
        )

    async def follow_synchronously(self) -> None:
        """Have the primary's commits wait until they are on the standby's disk too."""
        async with await psycopg.AsyncConnection.connect(self._primary.url, autocommit=True) as primary:
            await primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            await primary.execute("SELECT pg_reload_conf()")

            async def is_followed() -> bool:
                states = await primary.execute("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
                return await states.fetchone() is not None

            await eventually(is_followed)

    async def freeze(self) -> None:
        """Have it receive nothing any more, without a word, until `thaw`."""
        await self._send_to_receiver(signal.SIGSTOP)

    async def thaw(self) -> None:
        await self._send_to_receiver(signal.SIGCONT)

    async def _send_to_receiver(self, number: signal.Signals) -> None:
        async with await psycopg.AsyncConnection.connect(self.url) as database:
            found = await (await database.execute("SELECT pid FROM pg_stat_wal_receiver")).fetchone()
        assert found is not None
        os.kill(found[0], number)

    async def promote(self) -> None:
        """Make it a primary; returns when it is one."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as database:
            await database.execute("SELECT pg_promote()")
