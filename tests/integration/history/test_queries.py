"""A Postgres that is gone, or silent: a named answer in time, and back by itself."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from synckairos.config import Settings
from synckairos.embedded import Postgres
from synckairos.errors import StoreUnavailable
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.reader import HistoryReader, open_history_pool
from synckairos.postgres.migrate import migrate
from tests.waiting import eventually

SESSION = "01890000-0000-7000-8000-000000000000"

CALLS: list[Callable[[HistoryReader], Awaitable[object]]] = [
    lambda history: history.latest_version(SESSION),
    lambda history: history.version_at(SESSION, 0),
    lambda history: history.events(SESSION),
    lambda history: history.sessions(),
    lambda history: history.participant_sessions(SESSION, since_ms=0),
]


@pytest.fixture
def silent() -> Iterator[str]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield f"postgresql://nobody@127.0.0.1:{listener.getsockname()[1]}/none"


@pytest.mark.parametrize("url", ["postgresql://nobody@127.0.0.1:1/none", None])
async def test_nobody_waits_longer_than_two_seconds(silent: str, url: str | None) -> None:
    settings = Settings(database_url=url or silent)
    async with open_history_pool(settings) as pool:
        history = HistoryReader(pool, ColdStorage("nowhere"))
        # Two seconds is what it promises; more would be allowed only to a machine that is busy with something else.
        async with asyncio.timeout(4):
            with pytest.raises(StoreUnavailable):
                await history.latest_version(SESSION)
        # Once it is known to be away, the next ones together aren't kept waiting for the same.
        async with asyncio.timeout(2):
            for call in CALLS:
                with pytest.raises(StoreUnavailable):
                    await call(history)
            assert not await history.is_reachable()


async def test_a_database_without_our_tables_is_named(postgres: Postgres) -> None:
    async with open_history_pool(Settings(database_url=postgres.database_url("template1"))) as pool:
        with pytest.raises(StoreUnavailable, match="migrate"):
            await HistoryReader(pool, ColdStorage("nowhere")).latest_version(SESSION)


@pytest.mark.slow
async def test_it_comes_back_by_itself(data_dir: Path) -> None:
    with Postgres(data_dir / "archive-postgres") as own:
        await migrate(own.url)
        async with open_history_pool(Settings(database_url=own.url)) as pool:
            history = HistoryReader(pool, ColdStorage("nowhere"))
            assert await history.latest_version(SESSION) is None
            own.kill()

            async def is_away() -> bool:
                return not await history.is_reachable()

            await eventually(is_away)  # its children outlive it by a moment
            own.start()
            await eventually(history.is_reachable)
            assert await history.latest_version(SESSION) is None
