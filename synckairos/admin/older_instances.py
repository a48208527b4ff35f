"""Watch for instances of releases that do not know tenants. They cannot use a database whose tenants are separated.

A server says its release in the name of its heartbeat in Redis. Servers and workers say it in the name of their
connections to Postgres. An instance that does not say a release is older.
"""

import asyncio

import psycopg

from synckairos.config import Settings
from synckairos.postgres.pool import CONNECT_TIMEOUT_S, RELEASE_PREFIX, unreachable_as_store_unavailable
from synckairos.store.connect import make_pipe
from synckairos.store.keys import Keys
from synckairos.store.presence import read_living_instances, reads_tenants

WATCH_S = 30.0
"""Seconds for which no older instance may be heard."""

_POLL_S = 1.0
_CONNECTIONS = """
SELECT DISTINCT application_name
FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'synckairos %%'
    AND application_name NOT IN ('synckairos migrate', 'synckairos takeover')
    AND NOT starts_with(application_name, %s)
ORDER BY 1
"""


async def find_older_instances(settings: Settings, watch_s: float = WATCH_S) -> list[str]:
    """Watch for older instances for `watch_s` seconds. Return a description of each, or nothing.

    Return as soon as an instance is heard.

    Raises: StoreUnavailable if Redis or Postgres does not answer. It is then unknown whether older instances run.
    """
    keys = Keys(settings.key_prefix, settings.partitions)
    loop = asyncio.get_running_loop()
    end_s = loop.time() + watch_s
    async with make_pipe(settings.redis_url, settings.redis_timeout_s) as pipe:
        with unreachable_as_store_unavailable():
            async with await psycopg.AsyncConnection.connect(
                settings.schema_url,
                autocommit=True,
                connect_timeout=CONNECT_TIMEOUT_S,
                application_name="synckairos migrate",
                prepare_threshold=None,
            ) as connection:
                while True:
                    living = await read_living_instances(pipe, keys)
                    older = [f"the server {each}" for each in sorted(living) if not reads_tenants(each)]
                    rows = await (await connection.execute(_CONNECTIONS, [RELEASE_PREFIX])).fetchall()
                    older += [f"a process with the connection '{name}'" for (name,) in rows]
                    if older or loop.time() >= end_s:
                        return older
                    await asyncio.sleep(min(_POLL_S, end_s - loop.time()))
