"""A streaming standby of an embedded Postgres cluster, for tests of a failover."""

import os
import signal
from pathlib import Path

import psycopg

from synckairos.embedded import Postgres
from tests.waiting import eventually


class Standby(Postgres):
    """A streaming copy of a running cluster. It is read-only until it is promoted."""

    def __init__(self, data_dir: Path, primary: Postgres) -> None:
        super().__init__(data_dir)
        self._primary = primary

    def create_cluster(self) -> None:
        """Copy the primary instead of creating a new cluster."""
        self.run_program(
            "pg_basebackup",
            *("-D", self.cluster_dir, "-d", self._primary.database_url("postgres")),
            *("--write-recovery-conf", "--checkpoint=fast", "--no-sync"),
        )

    async def follow_synchronously(self) -> None:
        """Make each commit of the primary wait until the standby also has the commit on disk."""
        async with await psycopg.AsyncConnection.connect(self._primary.url, autocommit=True) as primary:
            await primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            await primary.execute("SELECT pg_reload_conf()")

            async def is_followed() -> bool:
                states = await primary.execute("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'")
                return await states.fetchone() is not None

            await eventually(is_followed)

    async def suspend_receiver(self) -> None:
        """Suspend the standby's process that receives from the primary. Its connection stays open."""
        await self._send_to_receiver(signal.SIGSTOP)

    async def resume_receiver(self) -> None:
        """Continue the suspended receiver."""
        await self._send_to_receiver(signal.SIGCONT)

    async def _send_to_receiver(self, number: signal.Signals) -> None:
        async with await psycopg.AsyncConnection.connect(self.url) as database:
            found = await (await database.execute("SELECT pid FROM pg_stat_wal_receiver")).fetchone()
        assert found is not None
        os.kill(found[0], number)

    async def promote(self) -> None:
        """Make the standby a primary. Return when it is a primary."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as database:
            await database.execute("SELECT pg_promote()")
