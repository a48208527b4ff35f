"""Two tenants with the same ids in one installation: each part of it shows a tenant its own data, and no other data.

Server and worker have the login of `SERVING_LOGIN`, so row-level security limits them. All tests run with a direct
connection to Postgres and through PgBouncer in transaction mode. Each route has one installation for all tests.
"""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
from pydantic import SecretStr
from websockets.asyncio.client import connect

from synckairos.admin.jobs import enqueue_job, wait_for_job_end
from synckairos.config import Settings
from synckairos.embedded import Postgres, Valkey
from synckairos.principal import DEFAULT_TENANT
from synckairos.session_names import session_name
from synckairos.store.keys import Keys
from synckairos.store.shared_connection import RedisPipe
from tests.conftest import copied_database
from tests.integration.admin.test_audit import run_command
from tests.integration.authentication import bearer, make_token
from tests.integration.realtime.event_stream_client import v3_stream
from tests.integration.realtime.instances import receive, receive_presence
from tests.integration.realtime.v3_client import V3, V3Client
from tests.integration.webhooks.receiver import Received, Receiver, answer
from tests.pgbouncer import PgBouncer
from tests.processes import Process, spawn_server
from tests.tokens import SECRET
from tests.waiting import eventually

pytestmark = pytest.mark.slow

OTHER = "acme"
TENANTS = (DEFAULT_TENANT, OTHER)
EVERYTHING = {"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z"}
HOUR_MS = 3_600_000


class Installation:
    """A server and a worker, with a client and a token of an admin of each tenant. All admins have one subject.

    Both tenants have the sessions `game`, which is live, and `ended`. Only the other tenant has `single`.
    """

    def __init__(self, settings: Settings, server: Process) -> None:
        self.settings = settings
        self.server = server
        self.headers = {each: bearer(make_token(role="admin", tenant=each)) for each in TENANTS}
        self.game, self.ended, self.single = (str(uuid4()) for _ in range(3))
        self.people = [str(uuid4()), str(uuid4())]
        self.keys = Keys(settings.key_prefix, settings.partitions)
        self._http = httpx.Client(base_url=server.base_url, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def request(self, tenant: str, method: str, path: str, **options: Any) -> httpx.Response:
        headers = self.headers[tenant] | options.pop("headers", {})
        return self._http.request(method, path, headers=headers, **options)

    def read(self, tenant: str, path: str) -> Any:
        answer = self.request(tenant, "GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def post(self, tenant: str, path: str, body: Any = None, *, key: str | None = None) -> Any:
        headers = {} if key is None else {"idempotency-key": key}
        answer = self.request(tenant, "POST", path, json=body, headers=headers)
        assert answer.is_success, answer.text
        return answer.json()["data"]

    def create(self, tenant: str, session_id: str, total_time_ms: int = HOUR_MS) -> None:
        """Create and start a session. The tenants also use the same Idempotency-Key."""
        people = [{"participant_id": each, "total_time_ms": total_time_ms} for each in self.people]
        fields = {"labels": {"team": "red"}, "metadata": {"note": tenant}, "participants": people}
        body = {"session_id": session_id, "sync_mode": "per_participant", **fields}
        self.post(tenant, "/v1/sessions", body, key=session_id)
        self.command(tenant, session_id, "start")

    def command(self, tenant: str, session_id: str, command: str) -> int:
        """Send a command and return the version."""
        version: int = self.post(tenant, f"/v1/sessions/{session_id}/{command}")["version"]
        return version

    def version(self, tenant: str) -> int:
        """Return the version of `game` in a tenant."""
        session = self.read(tenant, f"/v1/sessions/{self.game}")
        assert session["metadata"] == {"note": tenant}
        version: int = session["version"]
        return version

    def fill(self) -> None:
        """Create the sessions of both tenants. The versions of `game` differ between the tenants."""
        for tenant, switches in ((DEFAULT_TENANT, 1), (OTHER, 4)):
            for session_id in (self.game, self.ended, self.single):
                if session_id != self.single or tenant == OTHER:
                    self.create(tenant, session_id)
            for _ in range(switches):
                self.command(tenant, self.game, "switch")
            self.command(tenant, self.ended, "complete")

    @asynccontextmanager
    async def open_redis(self) -> AsyncIterator[RedisPipe]:
        async with RedisPipe(self.settings.redis_url, self.settings.redis_timeout_s) as pipe:
            yield pipe

    async def wait_until_drained(self) -> None:
        """Wait until all commits are in Postgres."""
        async with self.open_redis() as pipe:

            async def is_drained() -> bool:
                return not await pipe.call("XLEN", self.keys.outbox(0))

            await eventually(is_drained, 60)

    async def run_job(self, tenant: str, type_: str, **params: Any) -> dict[str, Any]:
        """Run a job of a tenant and return its result."""
        job_id = await enqueue_job(self.settings, type_, params, tenant=tenant)
        async with asyncio.timeout(60):
            job = await wait_for_job_end(self.settings, job_id)
        assert job.status == "done", job.error
        return dict(job.result or {})


@pytest.fixture(scope="module", params=["direct", "pooler"])
def installation(
    request: pytest.FixtureRequest,
    data_dir: Path,
    postgres: Postgres,
    template_database: str,
    serving_login: str,
    pgbouncer: PgBouncer,
    module_settings: Settings,
) -> Iterator[Installation]:
    with ExitStack() as stack:
        owner_url = stack.enter_context(copied_database(postgres, template_database))
        url = owner_url.replace("postgres@", f"{serving_login}@")
        valkey = stack.enter_context(Valkey(data_dir / f"tenants-{uuid4().hex[:8]}"))
        changes = {
            "auth": "required",
            "jwt_secret": SecretStr(SECRET),
            "database_url": url if request.param == "direct" else pgbouncer.url(url),
            "database_direct_url": owner_url,
            "redis_url": valkey.url,
            "queue_redis_url": valkey.url,
            "archive_url": f"{module_settings.archive_url}-{request.param}",
            "partitions": 1,
            "webhook_allowed_networks": ["127.0.0.0/8"],
            "webhook_allow_http": True,
        }
        settings = module_settings.model_copy(update=changes)
        worker = Process("worker", env=settings.to_environment_variables())
        stack.callback(worker.stop)
        server = spawn_server(settings)
        stack.callback(server.stop)
        made = Installation(settings, server)
        stack.callback(made.close)
        made.fill()
        yield made


def other_of(tenant: str) -> str:
    return OTHER if tenant == DEFAULT_TENANT else DEFAULT_TENANT


# -- reads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tenant", TENANTS)
async def test_session_at_an_earlier_instant_is_that_of_the_tenant(installation: Installation, tenant: str) -> None:
    await installation.wait_until_drained()
    events = installation.read(tenant, f"/v1/sessions/{installation.game}/events?snapshots=1")
    assert {each["state"]["metadata"]["note"] for each in events} == {tenant}
    for event in events:
        at = installation.read(tenant, f"/v1/sessions/{installation.game}?at={at_ms(event)}")
        assert (at["metadata"], at["version"] >= event["version"]) == ({"note": tenant}, True)
    # At this instant only the default tenant had the session.
    first, *_ = installation.read(DEFAULT_TENANT, f"/v1/sessions/{installation.game}/events")
    answer = installation.request(tenant, "GET", f"/v1/sessions/{installation.game}?at={at_ms(first)}")
    assert answer.status_code == (200 if tenant == DEFAULT_TENANT else 404)


def at_ms(event: dict[str, Any]) -> int:
    """Return the instant of an event in milliseconds since 1970."""
    return round(datetime.fromisoformat(event["occurred_at"]).timestamp() * 1000)


@pytest.mark.parametrize("is_drained", [False, True], ids=["outbox", "postgres"])
@pytest.mark.parametrize("tenant", TENANTS)
async def test_lists_and_time_reports_are_those_of_the_tenant(
    installation: Installation, tenant: str, is_drained: bool
) -> None:
    if is_drained:
        await installation.wait_until_drained()
    person = installation.people[0]
    both = {installation.game, installation.ended}
    for path in ("/v1/sessions?label=team=red&limit=100", f"/v1/participants/{person}/sessions?limit=100"):
        rows = installation.read(tenant, path)
        assert {each["metadata"]["note"] for each in rows} == {tenant}, path
        ids = {each["session_id"] for each in rows}
        assert (both <= ids, installation.single in ids) == (True, tenant == OTHER), path
    for path in ("/v1/hours?label=team=red&bucket=session", f"/v1/participants/{person}/time?bucket=session"):
        ids = {each["bucket"] for each in installation.read(tenant, path)}
        assert (both <= ids, installation.single in ids) == (True, tenant == OTHER), path


# -- jobs -------------------------------------------------------------------------------------------------------------


async def test_archives_of_both_tenants_are_two_objects(installation: Installation) -> None:
    await installation.wait_until_drained()
    session_id = installation.ended
    paths = {each: (await installation.run_job(each, "archive", session_id=session_id))["path"] for each in TENANTS}
    assert paths[OTHER].startswith("tenants/acme/sessions/")
    assert paths[DEFAULT_TENANT].startswith("sessions/")
    for tenant in TENANTS:
        archive = installation.read(tenant, f"/v1/sessions/{installation.ended}/archive?snapshots=1")
        assert {each["state"]["metadata"]["note"] for each in archive["events"]} == {tenant}
        assert archive["session"]["metadata"] == {"note": tenant}
        # Retention removes the rows of one tenant. The other tenant keeps its rows.
        await installation.run_job(tenant, "retention", session_id=session_id, after_s=0)
        for each in TENANTS:
            read = installation.read(each, f"/v1/sessions/{installation.ended}/events?snapshots=1")
            assert {event["state"]["metadata"]["note"] for event in read} == {each}


@pytest.mark.parametrize("tenant", TENANTS)
async def test_export_has_the_events_of_the_tenant(installation: Installation, tenant: str) -> None:
    await installation.wait_until_drained()
    result = await installation.run_job(tenant, "export", **EVERYTHING, snapshots=True)
    content = gzip.decompress((Path(installation.settings.archive_url) / result["path"]).read_bytes())
    rows = [orjson.loads(line) for line in content.splitlines()]
    assert {each["state"]["metadata"]["note"] for each in rows} == {tenant}
    assert {installation.game, installation.ended} <= {each["session_id"] for each in rows}


# -- watchers ---------------------------------------------------------------------------------------------------------

Versions = AsyncIterator[int]


@asynccontextmanager
async def v2_socket(installation: Installation, tenant: str) -> AsyncIterator[Versions]:
    url, headers = f"{installation.server.ws_url}?sessionId={installation.game}", installation.headers[tenant]

    async def versions() -> Versions:
        while True:
            message = await receive(socket)
            if "state" in message:
                assert message["state"]["metadata"] == {"note": tenant}
                yield message["state"]["version"]

    async with connect(url, additional_headers=headers, proxy=None) as socket:
        yield versions()


async def v3_versions(installation: Installation, tenant: str, client: V3Client) -> Versions:
    """Subscribe to `game` and yield each version that arrives."""
    await client.send("SUBSCRIBE", session_id=installation.game, id="s")
    while True:
        message = await client.receive()
        if "state" in message or "patch" in message:
            assert client.states[installation.game]["metadata"] == {"note": tenant}
            yield message["version"]


@asynccontextmanager
async def v3_socket(installation: Installation, tenant: str) -> AsyncIterator[V3Client]:
    headers = installation.headers[tenant]
    async with connect(installation.server.ws_url, subprotocols=[V3], additional_headers=headers, proxy=None) as socket:
        yield V3Client(socket)


@asynccontextmanager
async def v3_socket_versions(installation: Installation, tenant: str) -> AsyncIterator[Versions]:
    async with v3_socket(installation, tenant) as client:
        yield v3_versions(installation, tenant, client)


@asynccontextmanager
async def event_stream_versions(installation: Installation, tenant: str) -> AsyncIterator[Versions]:
    async with v3_stream(installation.server.base_url, headers=installation.headers[tenant]) as client:
        yield v3_versions(installation, tenant, client)


@asynccontextmanager
async def live_tail_versions(installation: Installation, tenant: str) -> AsyncIterator[Versions]:
    """Follow the events of `game`, from its first version."""

    async def versions(answer: httpx.Response) -> Versions:
        newest = installation.version(tenant)
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                event = orjson.loads(line.removeprefix("data: "))
                assert event["state"]["metadata"] == {"note": tenant}
                if event["version"] >= newest:
                    yield event["version"]

    headers = installation.headers[tenant] | {"accept": "text/event-stream", "last-event-id": ""}
    path = f"{installation.server.base_url}/v1/sessions/{installation.game}/events?snapshots=1"
    async with (
        httpx.AsyncClient(trust_env=False, timeout=20) as http,
        http.stream("GET", path, headers=headers) as answer,
    ):
        assert answer.status_code == 200
        yield versions(answer)


@pytest.mark.parametrize(
    "watch",
    [v2_socket, v3_socket_versions, event_stream_versions, live_tail_versions],
    ids=["v2", "v3", "event-stream", "live-tail"],
)
async def test_watcher_gets_the_versions_of_the_tenant(
    installation: Installation,
    watch: Callable[[Installation, str], Any],
) -> None:
    async with AsyncExitStack() as stack:
        watchers: dict[str, Versions] = {}
        for tenant in TENANTS:
            watchers[tenant] = await stack.enter_async_context(watch(installation, tenant))
            async with asyncio.timeout(20):
                assert await anext(watchers[tenant]) == installation.version(tenant)
        for tenant in TENANTS:
            for changed in (other_of(tenant), tenant):
                version = installation.command(changed, installation.game, "switch")
                # The next version that a watcher gets is that of its own tenant, although the other one came first.
                async with asyncio.timeout(20):
                    assert await anext(watchers[changed]) == version


async def test_presence_counts_the_watchers_of_the_tenant(installation: Installation) -> None:
    async with AsyncExitStack() as stack:

        async def subscribe(tenant: str) -> V3Client:
            client = await stack.enter_async_context(v3_socket(installation, tenant))
            await client.send("SUBSCRIBE", session_id=installation.game, id="s")
            return client

        for count in (1, 2):
            await receive_presence((await subscribe(OTHER)).socket, count)
        # If the count were that of the id in all tenants, it would be 3 at once.
        await receive_presence((await subscribe(DEFAULT_TENANT)).socket, 1)


# -- work that no client asks for ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tenant", TENANTS)
async def test_clock_of_one_tenant_ends_and_that_of_the_other_runs_on(installation: Installation, tenant: str) -> None:
    session_id = str(uuid4())
    for each in TENANTS:
        installation.create(each, session_id, 1_000 if each == tenant else HOUR_MS)

    async def has_ended() -> bool:
        session = installation.read(tenant, f"/v1/sessions/{session_id}")
        return bool(session["status"] == "expired")

    await eventually(has_ended, 30)
    other = other_of(tenant)
    assert installation.read(other, f"/v1/sessions/{session_id}")["status"] == "running"
    installation.command(other, session_id, "complete")


async def test_webhook_gets_the_events_of_the_tenant(installation: Installation) -> None:
    await installation.wait_until_drained()

    async def accept_once(_: Received) -> bytes:
        return answer(204, "connection: close")

    async with Receiver(accept_once) as receiver:
        ids = {}
        for tenant in TENANTS:
            url = receiver.url.replace("/hook", f"/{tenant}")
            made = await asyncio.to_thread(installation.post, tenant, "/v1/webhooks", {"url": url})
            ids[tenant] = made["webhook_id"]
        expected = set()
        for tenant in (OTHER, DEFAULT_TENANT):
            version = await asyncio.to_thread(installation.command, tenant, installation.game, "switch")
            expected.add((f"/{tenant}", version))

            async def has_all() -> bool:
                found = {(each.path, each.message["data"]["version"]) for each in receiver.received}
                assert found <= expected
                return found == expected

            await eventually(has_all, 30)
        for tenant in TENANTS:
            path = f"/v1/webhooks/{ids[tenant]}"
            assert len(await asyncio.to_thread(installation.read, tenant, f"{path}/deliveries")) == 1
            foreign = await asyncio.to_thread(installation.request, other_of(tenant), "GET", path)
            assert foreign.status_code == 404
            await asyncio.to_thread(installation.request, tenant, "DELETE", path)


async def test_sessions_of_both_tenants_return_after_the_loss_of_redis(installation: Installation) -> None:
    await installation.wait_until_drained()
    versions = {each: installation.version(each) for each in TENANTS}
    async with installation.open_redis() as pipe:
        keys = installation.keys
        await pipe.call("FLUSHALL")

        async def are_recovered() -> bool:
            """Return whether the sessions are live again. No client has asked for them."""
            scores = [
                await pipe.call("ZSCORE", keys.live_sessions(0, each), session_name(each, installation.game))
                for each in TENANTS
            ]
            return None not in scores

        await eventually(are_recovered, 30)
    # The recovery itself is a version of each session.
    assert {each: installation.version(each) - 1 for each in TENANTS} == versions
    assert installation.command(OTHER, installation.game, "switch") == versions[OTHER] + 2
    assert installation.version(DEFAULT_TENANT) == versions[DEFAULT_TENANT] + 1
    await installation.wait_until_drained()
    code, lines = await run_command(installation.settings, "verify-audit", "--all")
    assert code == 0, lines
