"""Stores for one run, gone with it, and the processes that run on them."""

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

from synckairos.config import Settings
from synckairos.embedded import Postgres, Valkey, make_data_dir
from synckairos.postgres.migrate import migrate
from tests.processes import Process, spawn_server

NO_POSTGRES = "postgresql://127.0.0.1:1/nobody"


@contextmanager
def valkey_alone(**settings: Any) -> Iterator[Settings]:
    """Give settings for servers on a Valkey of their own and no Postgres; `settings` are more of them."""
    data = make_data_dir()
    try:
        with Valkey(data / "valkey") as valkey:
            ours = {"port": 0, "redis_url": valkey.url, "database_url": NO_POSTGRES, "log_level": "critical"}
            yield Settings.model_validate(ours | settings)
    finally:
        shutil.rmtree(data, ignore_errors=True)


@asynccontextmanager
async def both(*, durable: bool = True) -> AsyncIterator[tuple[Settings, Postgres]]:
    """Give settings for processes on a Valkey and a migrated Postgres of their own, without rate limits."""
    data = make_data_dir()
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
                    log_level="warning",
                    redis_timeout_s=30,
                ),
                postgres,
            )
    finally:
        shutil.rmtree(data, ignore_errors=True)


@contextmanager
def as_users_run_it(settings: Settings) -> Iterator[Process]:
    """Run a server, and a worker beside it; give the server."""
    with ExitStack() as stack:
        stack.callback(Process("worker", env=settings.environ()).stop)
        server = spawn_server(settings)
        stack.callback(server.stop)
        yield server
