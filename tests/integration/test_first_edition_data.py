"""Stored data of the first edition: the present version reads them, answers as before, and goes on with them."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis
from standardwebhooks import Webhook

from synckairos.config import Settings
from synckairos.embedded import Valkey
from synckairos.postgres.migrate import migrate
from tests.faketime import SettableClock
from tests.fixtures.first_edition import stores
from tests.fixtures.first_edition.recording import (
    Client,
    Exchange,
    compensated_times,
    converse,
    difference,
    open_socket,
    running_times,
    states,
    without_command_ids,
)
from tests.fixtures.first_edition.scenario import OVER_IN_THE_OUTBOX, RETRYING, SET_ASIDE
from tests.integration.webhooks.receiver import Receiver
from tests.processes import Process, spawn_server
from tests.waiting import eventually

pytestmark = pytest.mark.slow

DEAD_AFTER_S = 60
"""Seconds after the data were kept at which a server starts: the instance that was killed counts as dead by then."""

DEADLINE_S = 20.0
"""Seconds to wait for a frame or a command."""

Load = Callable[[int], Settings]


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    """Return what the old server answered."""
    return stores.DATA.read_responses()


@pytest.fixture
def load(tmp_path: Path, bare_database_url: str) -> Iterator[Load]:
    """Return a function that loads the old data, with the clock of Redis set to a second since the Unix epoch."""
    clock = SettableClock(tmp_path / "clock")
    valkey = Valkey(tmp_path / "valkey", env=clock.env)

    def load_at(at_s: int) -> Settings:
        clock.set(at_s - int(time.time()))
        valkey.start()
        stores.DATA.load_redis(valkey.port)
        stores.DATA.load_postgres(bare_database_url)
        shutil.copytree(stores.DATA.archive_folder, tmp_path / "archive")
        settings = stores.settings_for(valkey.url, bare_database_url, tmp_path / "archive")
        # One client sends hundreds of requests at once. The first edition had no limits of a client's work.
        return settings.model_copy(update={"client_work_factor": 1_000})

    yield load_at
    valkey.stop()


@dataclass(frozen=True, slots=True)
class Running:
    """A server of the present version on the old data; a worker when a test starts one."""

    settings: Settings
    server: Process
    client: Client
    redis: Redis
    stack: AsyncExitStack

    async def start_worker(self) -> None:
        worker = Process("worker", env=self.settings.to_environment_variables())
        self.stack.push_async_callback(asyncio.to_thread, worker.stop)

    async def ask(self, method: str, path: str, body: Any, *, key: str = "") -> Any:
        """Send a request that is accepted, and return the `data` of the response."""
        request = Exchange(method, path, key=key, body=orjson.dumps(body).decode())
        response = await asyncio.to_thread(self.client.send, request)
        assert response.status == 200, response
        return response.json()["data"]

    async def command(self, *args: str) -> tuple[int, str]:
        """Run a command to its end; return its exit code and its output."""
        process = Process(*args, env=self.settings.to_environment_variables())
        code = await asyncio.to_thread(process.wait_end, DEADLINE_S)
        return code, process.output

    async def verify_audit(self) -> None:
        code, output = await self.command("verify-audit", "--all")
        assert code == 0, output

    async def left(self, kind: str) -> int:
        """Return how many sessions have a deadline, or entries are in the outbox, or failed."""
        keys = [f"{self.settings.key_prefix}:{{{at}}}:{kind}" for at in range(self.settings.partitions)]
        count = self.redis.xlen if kind == "outbox" else self.redis.zcard
        return sum([await count(key) for key in keys])

    async def none_left(self, *kinds: str) -> None:
        async def is_done() -> bool:
            return not any([await self.left(kind) for kind in kinds])

        await eventually(is_done)

    async def send_again(self, old: Sequence[Exchange], *, audited: bool = False) -> None:
        """Send requests again and check that the responses are those of the old server."""
        running_then, compensated_then = running_times(old), compensated_times(old)
        fresh = await asyncio.to_thread(self.client.send_all, old)
        for before, after in zip(old, fresh, strict=True):
            found = difference(before, after, running_then, compensated_then, audited=audited)
            assert found is None, f"{before.method} {before.path} {before.accept} {before.key}: {found}"


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Apply the present schema to the old database, as an upgrade does first, and start a server."""
    await migrate(settings.database_url)
    async with AsyncExitStack() as stack:
        redis = await stack.enter_async_context(Redis.from_url(settings.redis_url))
        server = await asyncio.to_thread(spawn_server, settings)
        stack.push_async_callback(asyncio.to_thread, server.stop)
        client = stack.enter_context(closing(Client(server.base_url)))
        yield Running(settings, server, client, redis, stack)


def exchanges(found: Iterable[Mapping[str, Any]]) -> list[Exchange]:
    return [Exchange(**each) for each in found]


# -- at the time of the old server ------------------------------------------------------------------------------------


async def test_old_data_give_the_old_responses_and_work_on(load: Load, recorded: dict[str, Any]) -> None:
    settings = load(recorded["kept_at_s"] + DEAD_AFTER_S)
    async with Receiver() as receiver, running(settings) as present:
        await check_that_responses_are_the_old_ones(present, recorded)
        await check_that_no_client_is_left(present, recorded["sessions"]["quiz"])
        webhooks = {name: secret for name, secret in recorded["webhooks"].items() if name != "bodies"}
        for webhook_id in webhooks:
            await present.ask("PATCH", f"/v1/webhooks/{webhook_id}", {"url": receiver.url})
        await present.start_worker()
        await check_that_the_outbox_drains(present, recorded)
        await check_that_deliveries_go_on(receiver, recorded, webhooks)
        await check_that_the_queued_job_is_done(present, recorded["sessions"]["cancelled"])
        await check_that_refused_entries_are_taken(present, recorded["sessions"])
        await check_that_open_sessions_take_commands(present, recorded)
        await present.none_left("outbox")
        await present.verify_audit()


async def check_that_responses_are_the_old_ones(present: Running, recorded: dict[str, Any]) -> None:
    """Ask a server without a worker for everything that the old server was asked for."""
    jobs, (code, failed) = await asyncio.gather(
        present.command("jobs", "list", "--json"), present.command("audit", "failed")
    )
    assert jobs == (0, recorded["jobs"])
    assert (code, [line.split()[0] for line in failed.splitlines()[::2]]) == (1, recorded["set_aside"])
    await present.send_again(exchanges(recorded["reads"]))
    await present.send_again(exchanges(recorded["replays"]))
    sent = [each["sent"] for each in recorded["conversations"]]
    for old, new in zip(recorded["conversations"], await converse(present.server.ws_url, sent), strict=True):
        assert new.received == old["received"], old["sent"]


async def check_that_no_client_is_left(present: Running, session_id: str) -> None:
    """Watch a session that a client of the killed instance watched."""
    async with open_socket(present.server.ws_url) as watcher, asyncio.timeout(DEADLINE_S):
        await watcher.send(orjson.dumps({"type": "SUBSCRIBE", "id": "s", "session_id": session_id}).decode())
        while orjson.loads(await watcher.recv()).get("clients") != 1:
            pass


async def check_that_the_outbox_drains(present: Running, recorded: dict[str, Any]) -> None:
    """Wait for the drain; the responses are the same but for what reports the progress of the audit."""
    await present.none_left("outbox")
    reads = [each for each in exchanges(recorded["reads"]) if "/webhooks" not in each.path]
    incomplete = tuple(f"/v1/sessions/{recorded['sessions'][name]}/events" for name in (SET_ASIDE, RETRYING))
    changed = ("/v1/sessions?", *incomplete)
    await present.send_again([each for each in reads if not each.path.startswith(changed)], audited=True)
    # The worker deletes answers to requests about webhooks that are older than a day by the clock of Postgres.
    await present.send_again([each for each in exchanges(recorded["replays"]) if "/webhooks" not in each.path])
    lists = [each for each in reads if each.path.startswith("/v1/sessions?limit=200")]
    for old, new in zip(lists, await asyncio.to_thread(present.client.send_all, lists), strict=True):
        # A session that is over appears in lists when Postgres has it.
        found = [each for each in new.json()["data"] if each["session_id"] != recorded["sessions"][OVER_IN_THE_OUTBOX]]
        assert found == old.json()["data"], old.path


async def check_that_deliveries_go_on(
    receiver: Receiver, recorded: dict[str, Any], webhooks: Mapping[str, str]
) -> None:
    """Wait for each message that the old worker had tried in vain: the same bytes, signed with the stored secret."""
    pages = [each for each in exchanges(recorded["reads"]) if "deliveries" in each.path and "pending" in each.path]
    pending = [(page.path.split("/")[3], each["delivery_id"]) for page in pages for each in page.json()["data"]]
    assert pending
    for webhook_id, delivery_id in pending:

        async def is_received(delivery_id: str = delivery_id) -> bool:
            return delivery_id in receiver.ids

        await eventually(is_received)
        message = receiver.received[receiver.ids.index(delivery_id)]
        body = without_command_ids(message.body.decode())
        assert body == recorded["webhooks"]["bodies"][delivery_id]
        Webhook(webhooks[webhook_id]).verify(message.body, message.headers)


async def check_that_the_queued_job_is_done(present: Running, session_id: str) -> None:
    """Wait for the archive of a session, which the old server had queued."""
    path = f"/v1/sessions/{session_id}/archive"

    async def is_archived() -> bool:
        return present.client.send(Exchange("GET", path)).status == 200

    await eventually(is_archived)


async def check_that_refused_entries_are_taken(present: Running, sessions: Mapping[str, str]) -> None:
    """Have the entry that was set aside tried again; the worker retries the other one by itself."""
    code, output = await present.command("audit", "retry", "--all")
    assert code == 0, output
    await present.none_left("outbox:isolated")
    for name in (SET_ASIDE, RETRYING):
        trail = present.client.send(Exchange("GET", f"/v1/sessions/{sessions[name]}/events")).json()["data"]
        newest = present.client.send(Exchange("GET", f"/v1/sessions/{sessions[name]}")).json()["data"]["version"]
        assert [each["version"] for each in trail] == list(range(1, newest + 1))


async def check_that_open_sessions_take_commands(present: Running, recorded: dict[str, Any]) -> None:
    """Send a command, twice, to each session that is not over."""
    open_states = [each for each in states(exchanges(recorded["reads"])).values() if not is_final(each)]
    assert {each["status"] for each in open_states} == {"pending", "running", "paused"}
    assert len({each["sync_mode"] for each in open_states}) == 5
    for old in open_states:
        verb, body, status = next_command(old)
        path = f"/v1/sessions/{old['session_id']}/{verb}"
        new = await present.ask("POST", path, body, key="next")
        assert (new["version"], new["status"]) == (old["version"] + 1, status), (old, new)
        assert await present.ask("POST", path, body, key="next") == new


def is_final(state: Mapping[str, Any]) -> bool:
    return state["status"] in ("expired", "completed", "cancelled")


def next_command(state: Mapping[str, Any]) -> tuple[str, dict[str, Any], str]:
    """Return a command that fits the status of a session, its body, and the status that follows."""
    match state["status"]:
        case "pending":
            return "start", {}, "running"
        case "paused" if any(each["reason"] == "timeout" for each in state["pauses"]):
            return "adjust", {"delta_ms": 60_000}, "paused"
        case "paused":
            return "resume", {}, "running"
        case _ if state["active_participant_id"] is None:
            return "pause", {}, "paused"
        case _:
            return "switch", {}, "running"


# -- long after -------------------------------------------------------------------------------------------------------


async def test_overdue_sessions_change_at_their_stored_deadlines(load: Load, recorded: dict[str, Any]) -> None:
    async with running(load(recorded["later_at_s"])) as present:
        for webhook_id in recorded["webhooks"].keys() - {"bodies"}:
            await present.ask("PATCH", f"/v1/webhooks/{webhook_id}", {"enabled": False})
        await present.start_worker()
        await present.command("audit", "retry", "--all")
        await present.none_left("deadlines")
        await present.none_left("outbox", "outbox:isolated")
        later = exchanges(recorded["later"])
        await present.send_again(later)
        await present.verify_audit()
    over = states(later)
    for session_id, old in states(exchanges(recorded["reads"])).items():
        if old["status"] == "running" and old["on_timeout"] == "expire" and old["deadline_at"] is not None:
            new = over[session_id]
            assert (new["status"], new["session_completed_at"]) == ("expired", old["deadline_at"])
