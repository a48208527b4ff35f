"""The recovery loop: after data loss it recovers all unfinished sessions without a request."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson

from synckairos.background.recovery import RecoveryLoop
from synckairos.clock.model import Status
from synckairos.config import Settings
from synckairos.store.session_index_rebuild import SessionIndexRebuilder
from synckairos.store.store_generation import Generations
from tests.background_task import running
from tests.integration.data_loss import create_started, draining, wait_until_drained
from tests.integration.parts import Parts, open_parts
from tests.waiting import eventually


@asynccontextmanager
async def recovering(parts: Parts) -> AsyncIterator[None]:
    """Run the recovery loop, as every instance does."""
    keys = parts.store.keys
    recovery = RecoveryLoop(
        parts.sessions, parts.history, Generations(parts.pipe, keys), SessionIndexRebuilder(parts.pipe, keys), keys
    )
    async with running(recovery.run()):
        yield


async def test_thousand_unfinished_sessions_are_recovered_without_a_request(own_settings: Settings) -> None:
    async with open_parts(own_settings) as parts, draining(own_settings):
        session_ids = [await create_started(parts) for _ in range(1_000)]
        await wait_until_drained(parts)
        async with recovering(parts):
            await parts.pipe.call("FLUSHALL")

            async def are_all_back() -> bool:
                return await parts.store.live.count_unfinished() == len(session_ids)

            await eventually(are_all_back, deadline_s=60)
        epochs = set()
        for session_id in session_ids:
            document = orjson.loads(await parts.pipe.call("HGET", parts.store.keys.session(session_id), "state"))
            assert (document["version"], document["status"]) == (3, Status.RUNNING)
            epochs.add(document["epoch"][:8])
        assert len(epochs) == 1
