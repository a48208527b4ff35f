"""`synckairos store copy` moves a running store to another Redis: nothing is lost, also if the command is killed."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import orjson
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from synckairos.admin.store_copy import copy_store
from synckairos.config import Settings
from synckairos.embedded import Postgres
from synckairos.errors import StoreMisconfigured, StoreMoved
from synckairos.store.connect import check_store_settings
from synckairos.store.keys import Keys
from synckairos.store.shared_connection import RedisPipe
from tests.conftest import copied_database
from tests.e2e.load import audited_documents, run_load
from tests.integration.realtime.v3_client import V3
from tests.processes import Process
from tests.redis_server import running_valkey
from tests.waiting import eventually

pytestmark = pytest.mark.slow

DEADLINE_S = 30.0

KILLED_COPY = """
import asyncio, os, signal, sys
from synckairos import config
from synckairos.admin.store_copy import copy_store
from synckairos.store.copy.store_copy import LAST_CHANGES

def report(text):
    if text == LAST_CHANGES:
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(copy_store(config.load(), sys.argv[1], 64, report))
"""
"""A copy that kills itself when its fences stop all commits."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """Two servers and a worker on one Redis, and the URL of another Redis, which is empty."""

    settings: Settings
    servers: tuple[Process, Process]
    worker: Process
    target_url: str

    @property
    def environment(self) -> dict[str, str]:
        return self.settings.to_environment_variables()


@pytest.fixture
def fleet(postgres: Postgres, template_database: str, data_dir: Path) -> Iterator[Fleet]:
    with ExitStack() as stack:
        folders = [data_dir / f"copy-{uuid4().hex[:8]}" for _ in range(2)]
        for folder in folders:
            folder.mkdir()
        source, target = (stack.enter_context(running_valkey(folder)) for folder in folders)
        settings = Settings(
            redis_url=f"redis://127.0.0.1:{source.port}",
            database_url=stack.enter_context(copied_database(postgres, template_database)),
            archive_url=str(folders[0] / "archive"),
            drain_timeout_s=5,
            rate_limit_general=1_000_000,
            rate_limit_switch=100_000,
        )
        environment = settings.to_environment_variables()
        commands = (("serve", "--port", "0"), ("serve", "--port", "0"), ("worker",))
        first, second, worker = (Process(*command, env=environment) for command in commands)
        for process in (worker, second, first):
            stack.callback(process.stop)
        yield Fleet(settings, (first.wait_ready(), second.wait_ready()), worker, f"redis://127.0.0.1:{target.port}")


class Watcher:
    """A client with one v3 socket, which comes back after each end of its socket. It records the versions it gets."""

    def __init__(self, url: str, session_id: str) -> None:
        self._url = url
        self._session_id = session_id
        self.versions: list[int] = []
        self.epochs: set[str] = set()
        self.reconnects = 0

    async def watch(self) -> None:
        """Watch until cancelled. Fail if the server answers a resumption with the whole state."""
        while True:
            try:
                async with connect(self._url, subprotocols=[V3], proxy=None) as socket:
                    position = {"epoch": self.epochs.copy().pop(), "version": self.versions[-1]} if self.epochs else {}
                    message = {"type": "SUBSCRIBE", "session_id": self._session_id, **position}
                    await socket.send(orjson.dumps(message).decode())
                    while True:
                        self._note(orjson.loads(await socket.recv()))
            except (ConnectionClosed, OSError):
                self.reconnects += 1
                await asyncio.sleep(0.01)

    def _note(self, message: dict[str, object]) -> None:
        match message:
            case {"type": "STATE_SYNC", "epoch": str(epoch), "version": int(version)}:
                assert not self.epochs, "resumed with the whole state"
                self.epochs.add(epoch)
                self.versions.append(version)
            case {"type": "STATE_DELTA" | "STATE_UPDATE", "epoch": str(epoch), "version": int(version)}:
                self.epochs.add(epoch)
                if version != self.versions[-1]:
                    self.versions.append(version)


async def test_copy_under_load_loses_nothing_and_can_be_killed_and_repeated(fleet: Fleet) -> None:
    rest, other = (httpx.AsyncClient(base_url=each.base_url, timeout=30, trust_env=False) for each in fleet.servers)
    async with rest, other, run_load(fleet.servers[0].base_url) as load:
        body = {
            "sync_mode": "per_participant",
            "participants": [{"participant_id": str(uuid4()), "total_time_ms": 3_600_000} for _ in range(2)],
        }
        created = (await rest.post("/v1/sessions", json=body, headers={"Idempotency-Key": "made"})).raise_for_status()
        session_id = created.json()["data"]["session_id"]
        (await rest.post(f"/v1/sessions/{session_id}/start")).raise_for_status()
        keyed = {"Idempotency-Key": "once"}
        decided = (await rest.post(f"/v1/sessions/{session_id}/switch", headers=keyed)).raise_for_status()
        watched = next(iter(load.acknowledged))
        watcher = Watcher(fleet.servers[1].ws_url, watched)
        watching = asyncio.create_task(watcher.watch())
        await load.wait_for_changes(20)

        killed = Process("-c", KILLED_COPY, fleet.target_url, env=fleet.environment, command=(sys.executable,))
        assert await asyncio.to_thread(killed.wait_end) == -signal.SIGKILL, killed.output
        await load.wait_for_changes(20)  # the fences have ended
        async with RedisPipe(fleet.target_url, 2) as target:
            with pytest.raises(StoreMisconfigured, match="incomplete copy"):
                await check_store_settings(target, Keys(partitions=64))

        # A session whose deadline comes after the move.
        timed = {"sync_mode": "global", "total_time_ms": 3_000, "participants": [{"participant_id": str(uuid4())}]}
        countdown = (await rest.post("/v1/sessions", json=timed)).raise_for_status().json()["data"]["session_id"]
        (await rest.post(f"/v1/sessions/{countdown}/start")).raise_for_status()
        result = await copy_store(fleet.settings, fleet.target_url, 64, lambda _: None)
        assert result is not None
        assert result.sessions == 8
        await load.wait_for_changes(50)

        # Both instances use the new store, and commands are decided once.
        await check_moved(fleet)
        for client in (rest, other):
            again = await send_until_moved(client, f"/v1/sessions/{session_id}/switch", headers=keyed)
            assert again.content == decided.content
        repeated = await other.post("/v1/sessions", json=body, headers={"Idempotency-Key": "made"})
        assert repeated.content == created.content

        async def has_expired() -> bool:
            response = await other.get(f"/v1/sessions/{countdown}")
            return response.status_code == 200 and response.json()["data"]["status"] == "expired"

        await eventually(has_expired, DEADLINE_S)
        newest = max(load.acknowledged[watched])

        async def is_up_to_date() -> bool:
            if watching.done():
                watching.result()
            return bool(watcher.versions) and watcher.versions[-1] >= newest

        await eventually(is_up_to_date, DEADLINE_S)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)

    assert watcher.reconnects >= 1
    assert watcher.versions == list(range(watcher.versions[0], watcher.versions[-1] + 1)), "a gap in the stream"

    async def has_all() -> bool:
        found = await audited_documents(fleet.settings.database_url)
        return all(versions.keys() <= found.get(name, {}).keys() for name, versions in load.acknowledged.items())

    await eventually(has_all, DEADLINE_S)
    audited = await audited_documents(fleet.settings.database_url)
    for name, documents in load.acknowledged.items():
        for version, document in documents.items():
            assert audited[name][version]["active_participant_id"] == document["active_participant_id"]
    assert sorted(audited[countdown]) == [1, 2, 3]
    assert "Traceback" not in "".join(each.output for each in (*fleet.servers, fleet.worker))


async def send_until_moved(client: httpx.AsyncClient, path: str, *, headers: dict[str, str]) -> httpx.Response:
    """Return the first answer to a POST request that is no 503. A server that moves sends 503 with a time to retry."""
    answers: list[httpx.Response] = []

    async def is_answered() -> bool:
        answers.append(await client.post(path, headers=headers))
        assert answers[-1].is_success or (answers[-1].status_code == 503 and answers[-1].headers["Retry-After"])
        return answers[-1].is_success

    await eventually(is_answered, DEADLINE_S)
    return answers[-1]


async def check_moved(fleet: Fleet) -> None:
    """Check that the former Redis has the record of the move, and that the new one is complete."""
    async with RedisPipe(fleet.settings.redis_url, 2) as source, RedisPipe(fleet.target_url, 2) as target:
        with pytest.raises(StoreMoved, match="SYNCKAIROS_PARTITIONS=64"):
            await check_store_settings(source, Keys())

        async def is_complete() -> bool:
            return await target.call("HGET", Keys().fixed_settings, "copying") is None

        await eventually(is_complete)
        keys = await check_store_settings(target, Keys(partitions=64))
        assert len({keys.partition_of(str(uuid4())) for _ in range(1_000)}) == 64
