"""Temporary stores for one run of a load test, and server and worker processes that use these stores."""

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

from synckairos.config import Settings
from synckairos.embedded import Postgres, Valkey, create_temporary_dir
from synckairos.postgres.migrate import migrate
from synckairos.store.connect import make_redis_client
from tests.processes import Process, spawn_server

UNREACHABLE_POSTGRES = "postgresql://127.0.0.1:1/unused"


@contextmanager
def valkey_only(**settings: Any) -> Iterator[Settings]:
    """Start Valkey without Postgres. Yield settings for servers on it. `settings` overrides some of these settings."""
    data = create_temporary_dir()
    try:
        with Valkey(data / "valkey") as valkey:
            defaults = {
                "port": 0,
                "redis_url": valkey.url,
                "database_url": UNREACHABLE_POSTGRES,
                "log_level": "critical",
            }
            yield Settings.model_validate(defaults | settings)
    finally:
        shutil.rmtree(data, ignore_errors=True)


@asynccontextmanager
async def valkey_and_postgres(*, durable: bool = True) -> AsyncIterator[tuple[Settings, Postgres]]:
    """Start Valkey and a migrated Postgres. Yield settings for processes on them, with very high rate limits."""
    data = create_temporary_dir()
    try:
        with Valkey(data / "valkey") as valkey, Postgres(data / "postgres", durable=durable) as postgres:
            await migrate(postgres.url)
            limit = 10**9
            yield (
                Settings(
                    port=0,
                    redis_url=valkey.url,
                    database_url=postgres.url,
                    rate_limit_general=limit,
                    rate_limit_switch=limit,
                    client_work_factor=limit,
                    log_level="warning",
                    redis_timeout_s=30,
                ),
                postgres,
            )
    finally:
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def server_and_worker(settings: Settings) -> Iterator[Process]:
    """Run a server process and a worker process, as in production. Yield the server."""
    with ExitStack() as stack:
        stack.callback(Process("worker", env=settings.to_environment_variables()).stop)
        server = spawn_server(settings)
        stack.callback(server.stop)
        yield server


async def redis_pid(settings: Settings) -> int:
    """Return the id of the Redis process."""
    redis = make_redis_client(settings.redis_url, settings.redis_timeout_s)
    try:
        return int((await redis.info("server"))["process_id"])
    finally:
        await redis.aclose()
