"""nginx, Caddy, HAProxy and Traefik in front of instances, each with its recipes in `deploy/`."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import orjson
import pytest
from pydantic import SecretStr
from websockets.asyncio.client import connect

from synckairos.clock.commands import Create, NewParticipant, UpdateMetadata
from synckairos.clock.model import SyncMode
from synckairos.config import Settings
from synckairos.principal import Principal
from synckairos.service.requests import CommandRequest
from synckairos_client import Client
from tests.integration.authentication import bearer, make_token
from tests.integration.parts import open_parts
from tests.integration.realtime.event_stream_client import v3_stream
from tests.integration.realtime.instances import serving
from tests.integration.realtime.raw_client import raw_client
from tests.integration.rest_server import chess_body
from tests.ports import free_port
from tests.processes import Process, spawn_server
from tests.proxies import FORMS, PROGRAMS, SUB_PATH, Form, ProxyConfig, run_proxies
from tests.tokens import SECRET
from tests.waiting import eventually

EACH = [(name, form) for name in PROGRAMS for form in FORMS]
GENERAL_LIMIT = 12

_sources = (f"127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}" for number in count())


@pytest.fixture(scope="module")
def stores(module_settings: Settings) -> Settings:
    """Return settings for instances behind a proxy.

    Each test uses other client addresses, so that the tests do not share rate limits.
    """
    return module_settings.model_copy(update={"rate_limit_general": GENERAL_LIMIT, "trusted_proxies": ["127.0.0.1"]})


@pytest.fixture(scope="module")
def servers(stores: Settings) -> Iterator[dict[Form, Process]]:
    """Start an instance for the root of a host, and an instance for a sub-path."""
    with ThreadPoolExecutor(2) as threads:
        at_root, below = threads.map(spawn_server, (stores, stores.model_copy(update={"root_path": SUB_PATH})))
    yield {"root": at_root, "passed": below, "removed": below}
    for server in (at_root, below):
        server.stop()


@pytest.fixture(scope="module")
def proxies(
    servers: dict[Form, Process], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, Form], ProxyConfig]]:
    """Run each proxy with each form of its recipe."""
    folder = tmp_path_factory.mktemp("proxies")
    configs = {
        (name, form): ProxyConfig.write(name, form, [target_of(servers[form])], folder / f"{name}-{form}")
        for name, form in EACH
    }
    with run_proxies(*configs.values()):
        yield configs


def target_of(server: Process) -> str:
    return urlsplit(server.base_url).netloc


@asynccontextmanager
async def visitor(base_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """Yield an HTTP client that has a separate client address."""
    transport = httpx.AsyncHTTPTransport(local_address=next(_sources), verify=False)
    async with httpx.AsyncClient(transport=transport, base_url=base_url, timeout=10) as client:
        yield client


@pytest.mark.parametrize(("name", "form"), EACH)
def test_recipe_passes_the_check_of_its_proxy_without_a_warning(name: str, form: Form, tmp_path: Path) -> None:
    code, output = ProxyConfig.write(name, form, ["127.0.0.1:3000"], tmp_path).check()
    assert code == 0, output
    assert not re.search("warn", output, re.IGNORECASE), output


@pytest.mark.parametrize(("name", "form"), EACH)
async def test_proxy_passes_sockets_and_streams_at_once(
    name: str, form: Form, proxies: dict[tuple[str, Form], ProxyConfig]
) -> None:
    base_url = proxies[name, form].base_url
    sub_path = urlsplit(base_url).path
    async with visitor(base_url) as client, AsyncExitStack() as stack:
        created = await client.post("v1/sessions", json=chess_body())
        assert created.status_code == 201, created.text
        session_id = created.json()["data"]["session_id"]
        path = f"/v1/sessions/{session_id}"
        assert created.headers["location"] == f"{sub_path}{path}"
        await stack.enter_async_context(asyncio.timeout(10))
        ws_url = f"{base_url.replace('http', 'ws', 1)}/ws?sessionId={session_id}"
        v2 = await stack.enter_async_context(connect(ws_url, proxy=None))
        v3 = await stack.enter_async_context(Client(base_url))
        watch = await stack.enter_async_context(v3.watch(session_id))
        fallback = await stack.enter_async_context(Client(base_url, transport="event-stream"))
        streamed = await stack.enter_async_context(fallback.watch(session_id))
        live = {"accept": "text/event-stream"}
        tail = await stack.enter_async_context(client.stream("GET", f"v1/sessions/{session_id}/events", headers=live))
        lines = tail.aiter_lines()
        stream = await stack.enter_async_context(v3_stream(base_url))
        assert (await stream.request("SUBSCRIBE", session_id=session_id))["type"] == "STATE_SYNC"
        assert [orjson.loads(await v2.recv())["type"] for _ in range(2)] == ["CONNECTED", "STATE_SYNC"]
        while "session_created" not in await anext(lines):
            pass
        # The proxy has delivered all earlier bytes. It must also forward the next event at once, without buffering.
        ack = await watch.command("start")
        while "session_started" not in await anext(lines):
            pass
        assert (await watch.reach(ack.version)).version == 2
        await stream.receive_until(session_id, 2)
        await streamed.reach(2)
        assert orjson.loads(await v2.recv())["state"]["version"] == 2
        assert (await streamed.command("switch")).version == 3


async def test_event_stream_works_through_haproxy_without_sticky_sessions(
    stores: Settings, start_server: Callable[[Settings], Process], tmp_path: Path
) -> None:
    first, second = await asyncio.gather(*(asyncio.to_thread(start_server, stores) for _ in range(2)))
    config = ProxyConfig.write("haproxy", "root", [target_of(first), target_of(second)], tmp_path)
    batches = 'synckairos_http_requests_total{method="POST",route="/v3/frames",status_code="204"}'
    with run_proxies(config):
        async with visitor(config.base_url) as client, v3_stream(config.base_url) as stream:
            before = {server: await read_metric(server, batches) for server in (first, second)}
            created = await client.post("v1/sessions", json=chess_body())
            session_id = created.json()["data"]["session_id"]
            await stream.request("SUBSCRIBE", session_id=session_id)
            for version, command in enumerate(("start", *["switch"] * 9), 2):
                ack = await stream.request("COMMAND", id=str(version), session_id=session_id, command=command, args={})
                assert (ack["type"], ack["version"]) == ("ACK", version), ack
                await stream.receive_until(session_id, version)
            elsewhere = [each for each in (first, second) if not await read_metric(each, "synckairos_event_streams")]
            assert len(elsewhere) == 1
            assert await read_metric(elsewhere[0], batches) > before[elsewhere[0]]
        async with Client(config.base_url, transport="event-stream") as python, python.watch(session_id) as watch:
            versions = [(await watch.command("switch")).version for _ in range(9)]
            assert versions == list(range(12, 21))
            await watch.reach(20)


async def read_metric(server: Process, series: str) -> float:
    """Return the value of a series in the metrics of a server, 0 without the series."""
    async with visitor(server.base_url) as client:
        lines = (await client.get("/metrics")).text.splitlines()
    return sum(float(line.removeprefix(series)) for line in lines if line.startswith(f"{series} "))


@pytest.mark.parametrize(("name", "form"), [each for each in EACH if each[1] != "root"])
async def test_addresses_behind_a_sub_path_lead_back_through_the_proxy(
    name: str, form: Form, proxies: dict[tuple[str, Form], ProxyConfig]
) -> None:
    origin = proxies[name, form].base_url.removesuffix(SUB_PATH)
    async with visitor(origin) as client:
        for path in (SUB_PATH, f"{SUB_PATH}/"):
            home = await client.get(path)
            assert home.status_code == 200
            assert f'href="{SUB_PATH}/view/home.css"' in home.text
        for _ in range(2):
            created = await client.post(f"{SUB_PATH}/v1/sessions", json=chess_body())
        assert (await client.get(created.headers["location"])).json() == created.json()
        page = await client.get(f"{SUB_PATH}/v1/sessions?limit=1")
        assert (await client.get(page.links["next"]["url"])).json()["data"] != page.json()["data"]
        # The proxy must leave all other paths to other sites.
        for outside in ("/v1/time", "/clockwork/v1/time", f"{SUB_PATH}{SUB_PATH}/v1/time", f"{SUB_PATH}/../v1/time"):
            assert "timestamp_ms" not in (await client.get(outside)).text or form == "removed", outside


async def test_token_over_plain_http_is_refused_whatever_the_client_claims_and_logs_have_no_query(
    stores: Settings, start_server: Callable[[Settings], Process], tmp_path: Path
) -> None:
    server = start_server(stores.model_copy(update={"auth": "required", "jwt_secret": SecretStr(SECRET)}))
    configs = {name: ProxyConfig.write(name, "root", [target_of(server)], tmp_path / name) for name in PROGRAMS}
    claims = {"x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "https"} | bearer(make_token(role="admin"))
    with run_proxies(*configs.values()):
        statuses = {}
        for name, config in configs.items():
            async with httpx.AsyncClient(base_url=config.base_url, trust_env=False) as client:
                statuses[name] = (await client.get("/v1/sessions", headers=claims)).status_code
                assert (await client.get("/ws?sessionId=x&ticket=secret")).status_code == 426
    # Caddy and Traefik replace the claimed address by that of the client, which is this machine.
    assert statuses == {"nginx": 400, "caddy": 200, "haproxy": 400, "traefik": 200}
    log = (tmp_path / "nginx" / "synckairos.log").read_text()
    assert '"GET /ws" 426' in log
    assert "secret" not in log


async def test_target_that_only_resembles_the_sub_path_leads_nowhere(servers: dict[Form, Process]) -> None:
    port = urlsplit(servers["passed"].base_url).port or 0

    async def statuses(target: str) -> tuple[int, int]:
        """Return the HTTP statuses of a request and of a handshake.

        They are sent through a plain socket, because httpx would normalise the target.
        """
        async with raw_client(port) as request, raw_client(port) as handshake:
            await request.send(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            heads = (await request.head(), await handshake.upgrade(target))
            assert all(b"\r\nlocation:" not in head for head in heads)
            return int(heads[0].split()[1]), int(heads[1].split()[1])

    for target in (
        f"{SUB_PATH}{SUB_PATH}%s", f"{SUB_PATH}/%s", f"/{SUB_PATH}%s", f"/x/..{SUB_PATH}%s", f"{SUB_PATH}/..%s",
        f"{SUB_PATH}/%%2e%%2e%s", f"{SUB_PATH}/.%s", f"{SUB_PATH}x%s", f"{SUB_PATH};x%s", f"{SUB_PATH.upper()}%s",
        f"{SUB_PATH}%%252f..%s", f"{SUB_PATH}\\%s",
    ):  # fmt: skip
        assert (await statuses(target % "/v1/time"))[0] == 404, target
        assert (await statuses(target % "/ws"))[1] == 404, target
    for file in ("..%2f..%2fdocs/docs.js", "%2e%2e/%2e%2e/rest_app.py", "../../../../etc/passwd", "/etc/passwd", "%00"):
        assert await statuses(f"{SUB_PATH}/demo/{file}") == (404, 404), file
    # An encoded character means the character.
    assert await statuses("/%63lock/v1/time") == (200, 404)
    assert await statuses("/%63lock/ws") == (426, 101)


@pytest.mark.parametrize(("name", "form"), [each for each in EACH if each[1] != "removed"])
async def test_clients_are_limited_by_their_own_address_whatever_they_claim(
    name: str, form: Form, proxies: dict[tuple[str, Form], ProxyConfig]
) -> None:
    path = f"v1/sessions/{uuid4()}"
    async with visitor(proxies[name, form].base_url) as forger, visitor(proxies[name, form].base_url) as other:
        statuses = set()
        for at in range(GENERAL_LIMIT + 8):
            forged = {"X-Forwarded-For": f"203.0.113.{at}", "Forwarded": f"for=203.0.113.{at}"}
            statuses.add((await forger.get(path, headers=forged)).status_code)
        assert statuses == {404, 429}
        assert (await other.get(path)).status_code == 404


async def test_large_csv_arrives_complete_through_each_proxy(
    proxies: dict[tuple[str, Form], ProxyConfig], servers: dict[Form, Process], stores: Settings
) -> None:
    async with open_parts(stores) as parts:
        players = tuple(NewParticipant(str(uuid4()), total_time_ms=600_000) for _ in range(2))
        spec = Create(SyncMode.PER_PARTICIPANT, players, metadata={"notes": "é" * 6_000})
        session_id = await parts.start_session(spec)
        for number in range(198):
            patch = UpdateMetadata({"number": number})
            await parts.sessions.execute(
                CommandRequest(Principal.anonymous_admin(), session_id, patch, "update_metadata")
            )

    async def read(base_url: str) -> str:
        path = f"v1/sessions/{session_id}/events?limit=200&snapshots=true"
        async with visitor(base_url) as client:
            answer = await client.get(path, headers={"accept": "text/csv"})
            assert answer.headers["content-type"].startswith("text/csv")
            return answer.text

    text = await read(servers["root"].base_url)
    assert len(text) > 1_000_000
    assert len(text.splitlines()) == 1 + 200
    for name in PROGRAMS:
        assert await read(proxies[name, "root"].base_url) == text, name


# -- idle connections -------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class RelayedConnection:
    """One connection of a proxy: the number of its requests, and the side that closed it first."""

    requests: int = 0
    closed_by: Literal["proxy", "server"] | None = None


class Relay:
    """Relay between a proxy and a server that observes the connections."""

    def __init__(self, target: str) -> None:
        host, _, port = target.partition(":")
        self._target = (host, int(port))
        self._connections: list[RelayedConnection] = []

    @property
    def used(self) -> list[RelayedConnection]:
        """The connections with HTTP/1.1 requests. The health checks of HAProxy use HTTP/1.0."""
        return [each for each in self._connections if each.requests]

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = RelayedConnection()
        self._connections.append(connection)
        server_reader, server_writer = await asyncio.open_connection(*self._target)

        async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter, is_proxy: bool) -> None:
            with suppress(ConnectionError):
                while data := await source.read(65_536):
                    connection.requests += data.count(b" HTTP/1.1\r\n") if is_proxy else 0
                    target.write(data)
            if connection.closed_by is None:
                connection.closed_by = "proxy" if is_proxy else "server"
            target.close()

        await asyncio.gather(pass_on(reader, server_writer, True), pass_on(server_reader, writer, False))


@asynccontextmanager
async def relayed(name: str, target: str, folder: Path, edits: dict[str, str]) -> AsyncIterator[tuple[Relay, str]]:
    """Run a relay to the server at `target`, and a proxy in front of the relay. Yield the relay and the proxy's URL."""
    relay = Relay(target)
    listener = await asyncio.start_server(relay.accept, "127.0.0.1", 0)
    async with listener:
        address = f"127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        config = ProxyConfig.write(name, "root", [address], folder, edits)
        running = run_proxies(config)
        await asyncio.to_thread(running.__enter__)
        try:
            yield relay, config.base_url
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)


@pytest.mark.parametrize("name", PROGRAMS)
async def test_proxy_reuses_idle_connections_and_closes_them_before_the_server(
    name: str, servers: dict[Form, Process], tmp_path: Path
) -> None:
    idle_time = PROGRAMS[name].idle_time
    (idle_s,) = re.findall(r"(\d+)s", idle_time)
    assert int(idle_s) < Settings.model_fields["keep_alive_s"].default
    soon = {idle_time: idle_time.replace(f"{idle_s}s", "1s")}
    if interval := PROGRAMS[name].health_interval:
        soon[interval] = "interval: 1h"
    async with (
        relayed(name, target_of(servers["root"]), tmp_path, soon) as (relay, base_url),
        visitor(base_url) as client,
    ):
        for _ in range(3):
            assert (await client.get("v1/time")).status_code == 200

        async def are_all_closed() -> bool:
            return all(each.closed_by for each in relay.used)

        await eventually(are_all_closed)
        assert max(each.requests for each in relay.used) >= 3
        assert {each.closed_by for each in relay.used} == {"proxy"}


async def test_server_with_a_shorter_keep_alive_closes_before_the_proxy(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async with serving(settings.model_copy(update={"keep_alive_s": 0.2})) as instance:
        monkeypatch.setattr(instance.server.config, "loaded_app", answer)
        target = f"127.0.0.1:{instance.server.port}"
        async with relayed("nginx", target, tmp_path, {}) as (relay, base_url), visitor(base_url) as client:
            assert (await client.get("v1/time")).status_code == 200

            async def are_all_closed() -> bool:
                return all(each.closed_by for each in relay.used)

            await eventually(are_all_closed)
            assert {each.closed_by for each in relay.used} == {"server"}


# -- rolling restart --------------------------------------------------------------------------------------------------


async def test_rolling_restart_behind_haproxy_loses_no_request_and_no_watcher(
    module_settings: Settings, tmp_path: Path
) -> None:
    drain_s = Settings.model_fields["drain_timeout_s"].default
    stores = module_settings.model_copy(update={"drain_timeout_s": drain_s, "trusted_proxies": ["127.0.0.1"]})
    ports = [free_port(), free_port()]

    def start(port: int) -> Process:
        return Process("serve", "--port", str(port), env=stores.to_environment_variables()).wait_ready()

    instances = list(await asyncio.gather(*(asyncio.to_thread(start, port) for port in ports)))
    config = ProxyConfig.write("haproxy", "root", [f"127.0.0.1:{port}" for port in ports], tmp_path)
    try:
        with run_proxies(config):
            async with Client(config.base_url) as watcher:
                await replace_both(config.base_url, watcher, instances, ports, start)
    finally:
        for instance in instances:
            await asyncio.to_thread(instance.stop)


async def replace_both(
    base_url: str, watcher: Client, instances: list[Process], ports: list[int], start: Callable[[int], Process]
) -> None:
    """Restart one instance and then stop the other, while clients send switches. Each switch must be executed once."""
    statuses: list[int] = []
    is_over = False

    async def press() -> None:
        # Each third request uses a new connection, like other clients of a load balancer.
        while not is_over:
            async with httpx.AsyncClient(base_url=base_url, trust_env=False, verify=False, timeout=30) as client:
                answers = [await client.post(f"v1/sessions/{session_id}/switch") for _ in range(3)]
                statuses.extend(answer.status_code for answer in answers)

    async with httpx.AsyncClient(base_url=base_url, trust_env=False, verify=False) as client:
        session_id = (await client.post("v1/sessions", json=chess_body())).json()["data"]["session_id"]
        await client.post(f"v1/sessions/{session_id}/start")
        async with watcher.watch(session_id), asyncio.TaskGroup() as pressing:
            for _ in range(2):
                pressing.create_task(press())
            await stop(instances[0])
            instances[0] = await asyncio.to_thread(start, ports[0])
            await eventually(partial(serves_switches, instances[0]))
            await stop(instances[1])
            before = len(statuses)
            await eventually(lambda: has_more(statuses, before + 2))
            is_over = True
        version = (await client.get(f"v1/sessions/{session_id}")).json()["data"]["version"]
        assert set(statuses) == {200}
        assert version == 2 + len(statuses)
        async with watcher.watch(session_id) as again, asyncio.timeout(10):
            assert (await again.reach(version)).version == version


async def serves_switches(instance: Process) -> bool:
    """Return whether an instance has answered a switch after its start."""
    async with httpx.AsyncClient(trust_env=False, verify=False) as client:
        return "/switch" in (await client.get(f"{instance.base_url}/metrics")).text


async def stop(instance: Process) -> None:
    instance.send(signal.SIGTERM)
    assert await asyncio.to_thread(instance.wait_end) == 0


async def has_more(statuses: list[int], count: int) -> bool:
    return len(statuses) > count
