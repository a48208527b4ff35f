"""The release before tenants and this release on the same stores: an update without downtime, and the way back.

One test goes through all phases, because each phase goes on with the sessions of the phases before. At the end a later
release, which knows links, serves beside this one. All releases authenticate, and their login of Postgres is no
superuser.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import httpx
import psycopg
import pytest
from pydantic import SecretStr
from websockets.asyncio.client import connect

from synckairos.admin.from_v2 import take_over_and_migrate
from synckairos.config import Settings
from synckairos.embedded import Postgres, Valkey
from synckairos.store.keys import Keys
from synckairos.store.shared_connection import RedisPipe
from tests.e2e.second_edition_commands import play_second_edition
from tests.earlier_releases import BEFORE_TENANTS, WITH_LINKS, EarlierRelease
from tests.integration.authentication import bearer, make_token
from tests.integration.realtime.v3_client import V3, V3Client
from tests.processes import Process
from tests.tokens import SECRET
from tests.waiting import eventually

pytestmark = pytest.mark.slow

Side = Literal["old", "new", "with_links"]
SIDES: tuple[Side, Side] = ("old", "new")
FENCED = "separated the tenants in the database by row-level security"
WAITING = "the tenants are not separated in the database yet, because older releases run: "
PEOPLE = [str(uuid4()), str(uuid4())]
DEADLINE_S = 60


@pytest.fixture
def login(postgres: Postgres) -> Iterator[str]:
    """Create a login for servers and workers, with the privileges that the release before tenants needs."""
    name = f"login_{uuid4().hex[:8]}"
    with psycopg.connect(postgres.database_url("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN".encode())
        yield name
        connection.execute(f"DROP ROLE {name}".encode())


@pytest.fixture
def shared_settings(settings: Settings, login: str, bare_database_url: str, data_dir: Path) -> Iterator[Settings]:
    """Return settings of both releases, on an empty database and on a Valkey that the test can flush."""
    with psycopg.connect(bare_database_url, autocommit=True) as owner:
        owner.execute(
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public"
            f" GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {login}".encode()
        )
    with Valkey(data_dir / f"releases-{uuid4().hex[:8]}") as valkey:
        yield settings.model_copy(
            update={
                "auth": "required",
                "jwt_secret": SecretStr(SECRET),
                "redis_url": valkey.url,
                "queue_redis_url": valkey.url,
                "database_url": bare_database_url.replace("postgres@", f"{login}@"),
                "database_direct_url": bare_database_url,
            }
        )


class Installation:
    """The processes of both releases, with a client of each server and a connection to their Redis."""

    def __init__(self, settings: Settings, earlier: Mapping[Side, EarlierRelease], pipe: RedisPipe) -> None:
        self.settings = settings
        self.pipe = pipe
        self.clients: dict[Side, httpx.AsyncClient] = {}
        self._earlier = earlier
        self._keys = Keys(settings.key_prefix, settings.partitions)
        self._servers: dict[Side, Process] = {}
        self._workers: dict[Side, Process] = {}

    def process(self, side: Side, *args: str) -> Process:
        if side in self._earlier:
            return self._earlier[side].process(*args, settings=self.settings)
        return Process(*args, env=self.settings.to_environment_variables())

    async def run(self, side: Side, *args: str) -> list[str]:
        """Run a command of a release. Return the lines of its output."""
        process = self.process(side, *args)
        assert await asyncio.to_thread(process.wait_end) == 0, process.output
        return process.output.splitlines()

    async def start_worker(self, side: Side) -> None:
        self._workers[side] = self.process(side, "worker")

    async def stop_worker(self, side: Side) -> None:
        assert await asyncio.to_thread(self._workers.pop(side).stop) == 0

    async def start(self, side: Side) -> None:
        """Start a server and a worker of a release."""
        await self.start_worker(side)
        await self.start_server(side)

    async def start_server(self, side: Side) -> None:
        server = self._servers[side] = self.process(side, "serve", "--port", "0")
        await asyncio.to_thread(server.wait_ready)
        token = make_token(role="admin")
        self.clients[side] = httpx.AsyncClient(base_url=server.base_url, headers=bearer(token), trust_env=False)

    async def stop(self, side: Side) -> None:
        """Stop the server and the worker of a release."""
        await self.clients.pop(side).aclose()
        assert await asyncio.to_thread(self._servers.pop(side).stop) == 0
        await self.stop_worker(side)

    async def stop_all(self) -> None:
        for client in self.clients.values():
            await client.aclose()
        for process in (*self._servers.values(), *self._workers.values()):
            await asyncio.to_thread(process.stop)

    async def wait_until_drained(self) -> None:
        """Wait until all commits are in Postgres."""

        async def is_drained() -> bool:
            partitions = range(self.settings.partitions)
            lengths = await self.pipe.call_many([("XLEN", self._keys.outbox(each)) for each in partitions])
            return not any(lengths)

        await eventually(is_drained, DEADLINE_S)

    @asynccontextmanager
    async def watching(self, side: Side, session_id: str, token: str | None = None) -> AsyncIterator[V3Client]:
        """Watch a session on a server, with a token of an administrator by default."""
        headers = bearer(token or make_token(role="admin"))
        url = self._servers[side].ws_url
        async with connect(url, subprotocols=[V3], additional_headers=headers, proxy=None) as socket:
            client = V3Client(socket)
            await client.request("SUBSCRIBE", session_id=session_id)
            yield client


@pytest.fixture
async def installation(shared_settings: Settings, tmp_path: Path) -> AsyncIterator[Installation]:
    old, with_links = EarlierRelease(BEFORE_TENANTS, tmp_path / "old"), EarlierRelease(WITH_LINKS, tmp_path / "links")
    async with RedisPipe(shared_settings.redis_url, shared_settings.redis_timeout_s) as pipe:
        made = Installation(shared_settings, {"old": old, "with_links": with_links}, pipe)
        yield made
        await made.stop_all()


async def post(client: httpx.AsyncClient, path: str, body: Any = None, key: str | None = None) -> httpx.Response:
    answer = await client.post(path, json=body, headers={} if key is None else {"idempotency-key": key})
    assert answer.is_success, answer.text
    return answer


async def start_session(client: httpx.AsyncClient) -> str:
    """Create a session of both participants on a server, and start it."""
    session_id = str(uuid4())
    people = [{"participant_id": each, "total_time_ms": 86_400_000} for each in PEOPLE]
    body = {"session_id": session_id, "sync_mode": "per_participant", "participants": people, "labels": {"a": "b"}}
    await post(client, "/v1/sessions", body)
    await post(client, f"/v1/sessions/{session_id}/start")
    return session_id


async def play(installation: Installation, sessions: list[str]) -> None:
    """Switch each session on the running servers in turn. Each server replays the commands of the other one.

    A client of each server sees each version.
    """
    clients = installation.clients
    for session_id in sessions:
        async with AsyncExitStack() as stack:
            watchers = [await stack.enter_async_context(installation.watching(each, session_id)) for each in clients]
            for side in clients:
                key = str(uuid4())
                document = (await post(clients[side], f"/v1/sessions/{session_id}/switch", key=key)).json()["data"]
                for other in clients.values():
                    replay = await post(other, f"/v1/sessions/{session_id}/switch", key=key)
                    assert replay.headers["idempotency-replayed"] == "true"
                    assert replay.json()["data"]["version"] == document["version"]
                for watcher in watchers:
                    await watcher.receive_until(session_id, document["version"])
                    assert watcher.states[session_id]["active_participant_id"] == document["active_participant_id"]


async def lose_redis(installation: Installation) -> None:
    """Flush Redis, after Postgres has all versions."""
    await installation.wait_until_drained()
    await installation.pipe.call("FLUSHALL")


async def command_all(client: httpx.AsyncClient, sessions: list[str], command: str) -> None:
    for session_id in sessions:
        await post(client, f"/v1/sessions/{session_id}/{command}")


async def read_all(client: httpx.AsyncClient, sessions: list[str]) -> dict[str, Any]:
    """Return what a server answers about paused sessions, by path. The duration of their pause is left out."""
    answers: dict[str, Any] = {}
    for path in (
        "/v1/sessions?limit=100",
        "/v1/sessions?label=a=b&limit=100",
        *(f"/v1/participants/{each}/sessions?limit=100" for each in PEOPLE),
        *(f"/v1/sessions/{each}{end}" for each in sessions for end in ("", "/events?limit=100")),
    ):
        answer = await client.get(path)
        assert answer.is_success, (path, answer.text)
        answers[path] = answer.json()["data"]
        if path.startswith("/v1/participants"):
            assert all(each.pop("paused_ms") for each in answers[path])
    return answers


async def share_links(installation: Installation, session_id: str) -> None:
    """Make a link on one server, redeem it on the other, and revoke it on the first, which ends it on the other."""
    sides: tuple[Side, Side] = ("new", "with_links")
    for here, there in (sides, sides[::-1]):
        maker, other = installation.clients[here], installation.clients[there]
        made = (await post(maker, "/v1/links", {"session_id": session_id, "role": "controller"})).json()["data"]
        token = (await post(other, "/v1/links/redeem", {"secret": made["secret"]})).json()["data"]["token"]
        below = await other.post(
            "/v1/links", json={"session_id": session_id, "role": "viewer", "max_uses": 1}, headers=bearer(token)
        )
        secret = below.json()["data"]["secret"]
        viewer = (await post(maker, "/v1/links/redeem", {"secret": secret})).json()["data"]["token"]
        path = f"/v1/sessions/{session_id}"
        for client in (maker, other):
            for each in (token, viewer):
                assert (await client.get(path, headers=bearer(each))).status_code == 200
        async with installation.watching(there, session_id, viewer) as watcher:
            assert (await maker.delete(f"/v1/links/{made['link_id']}")).status_code == 204
            await watcher.socket.wait_closed()
            assert watcher.socket.close_code == 4501
        for client in (maker, other):
            for each in (token, viewer):
                assert (await client.get(path, headers=bearer(each))).status_code == 401


async def verify_audit(installation: Installation, sessions: list[str]) -> None:
    """Check that Postgres has all versions, by the command of each release."""
    await installation.wait_until_drained()
    outputs = await asyncio.gather(*(installation.run(side, "verify-audit", "--all") for side in SIDES))
    old, new = (lines[-1] for lines in outputs)
    assert old == new
    assert new.startswith(f"{len(sessions)} sessions, ")
    assert new.endswith(", 0 faults")


async def test_two_releases_serve_and_roll_back_until_the_fence(installation: Installation) -> None:
    settings, clients = installation.settings, installation.clients

    # The release before tenants runs alone.
    await installation.run("old", "migrate")
    await installation.start("old")
    sessions = [await start_session(clients["old"])]
    await play(installation, sessions)
    await installation.wait_until_drained()

    # First phase of the migration: both releases serve. Sessions go on at the other release.
    lines = await installation.run("new", "migrate")
    assert lines[0].startswith("applied 0018_")
    assert lines[-1].startswith(WAITING)
    await installation.start("new")
    sessions.append(await start_session(clients["new"]))
    await play(installation, sessions)
    other_tenant = bearer(make_token(role="admin", tenant="acme"))
    refused = await clients["new"].get("/v1/sessions", headers=other_tenant)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "TENANT_UNKNOWN")

    # The worker of each release drains the commits of both servers.
    for side in SIDES:
        await installation.stop_worker(side)
        await play(installation, sessions)
        await installation.wait_until_drained()
        await installation.start_worker(side)

    # The commands of the second edition of the clock, each on the other release.
    others = await play_second_edition(clients["old"], clients["new"])
    others += await play_second_edition(clients["new"], clients["old"])
    await verify_audit(installation, [*sessions, *others])

    # Each release brings back the sessions of both after the loss of Redis.
    for side in SIDES:
        await lose_redis(installation)
        await command_all(clients[side], sessions, "switch")
        await play(installation, sessions)

    # Back to the release before tenants.
    await command_all(clients["old"], sessions, "pause")
    await installation.wait_until_drained()
    seen = await read_all(clients["new"], sessions)
    await installation.stop("new")
    assert await read_all(clients["old"], sessions) == seen
    await command_all(clients["old"], sessions, "resume")
    await play(installation, sessions)
    sessions.append(await start_session(clients["old"]))

    # Forward again. The second phase waits until the release before tenants has ended.
    await installation.start("new")
    await play(installation, sessions)
    (line,) = await take_over_and_migrate(settings, watch_s=0.1)
    assert line.startswith(WAITING)
    assert "the server " in line
    await command_all(clients["new"], sessions, "pause")
    await verify_audit(installation, [*sessions, *others])
    seen = await read_all(clients["old"], sessions)
    await installation.stop("old")

    async def is_fenced() -> bool:
        return await take_over_and_migrate(settings, watch_s=0.1) == [FENCED]

    await eventually(is_fenced, DEADLINE_S)
    assert await read_all(clients["new"], sessions) == seen
    await command_all(clients["new"], sessions, "resume")
    await lose_redis(installation)
    await play(installation, sessions)
    await installation.wait_until_drained()
    (*_, line) = await installation.run("new", "verify-audit", "--all")
    assert line.endswith(", 0 faults")
    await installation.run("new", "tenants", "create", "acme")

    async def accepts_other_tenant() -> bool:
        return (await clients["new"].get("/v1/sessions", headers=other_tenant)).is_success

    await eventually(accepts_other_tenant, DEADLINE_S)
    # A release that knows links serves beside this one.
    await installation.start_server("with_links")
    await share_links(installation, sessions[0])
    with psycopg.connect(settings.database_url) as connection:
        assert connection.execute("SELECT count(*) FROM sync_events").fetchone() == (0,)
