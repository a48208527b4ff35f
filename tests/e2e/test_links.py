"""Links on two server processes: the commands of the guide, sockets, streams and tickets, and the command line."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from click.testing import CliRunner
from pydantic import SecretStr
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from synckairos.cli import main
from synckairos.config import Settings
from tests.integration.authentication import bearer, make_token
from tests.integration.realtime.event_stream_client import StreamClosed, v3_stream
from tests.integration.realtime.v3_client import V3, V3Client
from tests.integration.rest_server import chess_body
from tests.processes import Process, spawn_server
from tests.qr_decoder import decode
from tests.tokens import SECRET
from tests.unit.docs.pages import DOCUMENTS, code_blocks
from tests.waiting import eventually

GUIDE = DOCUMENTS / "guides" / "links.md"
MAKE, REDEEM, READ, LIST, END, EXCHANGE = code_blocks(GUIDE.read_text(), "bash")


@pytest.fixture(scope="module")
def servers(module_settings: Settings) -> Iterator[list[Process]]:
    with_auth = module_settings.model_copy(update={"auth": "required", "jwt_secret": SecretStr(SECRET)})
    processes = [spawn_server(with_auth) for _ in range(2)]
    yield processes
    for each in processes:
        each.stop()


def run_command(server: Process, command: str, **variables: str) -> Any:
    """Run a command of the guide against a server. Return its output as JSON, None without output."""
    environment = {"ADMIN_TOKEN": make_token(role="admin"), "PATH": "/usr/bin:/bin", **variables}
    script = command.replace("127.0.0.1:3000", server.base_url.removeprefix("http://"))
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, check=True, env=environment)
    return orjson.loads(done.stdout) if done.stdout else None


async def call(server: Process, method: str, path: str, token: str | None = None, **options: Any) -> httpx.Response:
    headers = {} if token is None else bearer(token)
    async with httpx.AsyncClient(trust_env=False, base_url=server.base_url, headers=headers) as client:
        return await client.request(method, path, **options)


async def create_session(server: Process) -> str:
    answer = await call(server, "POST", "/v1/sessions", make_token(role="admin"), json=chess_body())
    session_id: str = answer.json()["data"]["session_id"]
    return session_id


async def make_link(server: Process, session_id: str, **members: Any) -> dict[str, str]:
    body = {"session_id": session_id, "role": "viewer", **members}
    answer = await call(server, "POST", "/v1/links", make_token(role="admin"), json=body)
    assert answer.status_code == 201, answer.text
    made: dict[str, str] = answer.json()["data"]
    return made


async def redeem(server: Process, secret: str) -> httpx.Response:
    return await call(server, "POST", "/v1/links/redeem", json={"secret": secret})


@asynccontextmanager
async def v3_connection(
    server: Process, token: str | None = None, *, query: str = "", subprotocols: tuple[str, ...] = ()
) -> AsyncIterator[V3Client]:
    """Open a socket of a v3 client. `token` is sent in the header `Authorization`."""
    offered = [V3, *map(Subprotocol, subprotocols)]
    headers = None if token is None else bearer(token)
    async with connect(
        f"{server.ws_url}{query}", subprotocols=offered, additional_headers=headers, proxy=None
    ) as socket:
        yield V3Client(socket)


async def closing_of(client: V3Client) -> tuple[int | None, str | None]:
    """Wait for the end of a connection. Return its code and its reason."""
    while True:
        try:
            await client.receive(20)
        except StreamClosed as closed:
            return closed.code, closed.reason
        except ConnectionClosed as closed:
            return (None, None) if closed.rcvd is None else (closed.rcvd.code, closed.rcvd.reason)


async def test_commands_of_the_guide_and_connections_of_each_kind_end_with_the_link(servers: list[Process]) -> None:
    session_id = await create_session(servers[0])
    made = run_command(servers[0], MAKE, ID=session_id)["data"]
    redeemed = run_command(servers[1], REDEEM, LINK=made["secret"])["data"]
    assert (redeemed["session_id"], redeemed["role"]) == (session_id, "viewer")
    token = redeemed["token"]
    assert run_command(servers[0], READ, ID=session_id, TOKEN=token)["data"]["session_id"] == session_id
    (listed,) = run_command(servers[0], LIST, ID=session_id)["data"]
    assert (listed["link_id"], listed["uses"], listed["label"]) == (made["link_id"], 1, "hall 1")
    ticket = (await call(servers[0], "POST", "/v1/tickets", token, json={})).json()["data"]["ticket"]
    other = (await redeem(servers[0], made["secret"])).json()["data"]["token"]
    async with AsyncExitStack() as stack:
        by_header = await stack.enter_async_context(v3_connection(servers[0], token))
        by_subprotocol = await stack.enter_async_context(
            v3_connection(servers[1], subprotocols=(f"synckairos.bearer.{token}",))
        )
        by_auth = await stack.enter_async_context(v3_connection(servers[0]))
        await by_auth.send("AUTH", token=token)
        by_ticket = await stack.enter_async_context(v3_connection(servers[1], query=f"?ticket={ticket}"))
        by_stream = await stack.enter_async_context(v3_stream(servers[1].base_url, headers=bearer(token)))
        clients = [by_header, by_subprotocol, by_auth, by_ticket, by_stream]
        for client in clients:
            first = await client.receive()
            assert first["type"] == "AUTHENTICATED"
            assert 0 < first["expires_in_ms"] <= 43_200_000
            state = await client.request("SUBSCRIBE", session_id=session_id)
            assert state["state"]["session_id"] == session_id
            refused = await client.request("SUBSCRIBE", session_id="0198c0de-0000-7000-8000-00000000000a")
            assert refused["type"] == "ERROR"
        assert (await by_header.request("REFRESH", token=token))["type"] == "AUTHENTICATED"
        await by_auth.send("REFRESH", token=other)  # a redemption of its own is another subject
        assert await closing_of(by_auth) == (4501, "identity changed")
        clients.remove(by_auth)
        assert run_command(servers[1], END, LINK_ID=made["link_id"]) is None
        for client in clients:
            assert await closing_of(client) == (4501, "revoked")
    for server in servers:
        assert (await call(server, "GET", "/v1/me", token)).status_code == 401
        assert (await redeem(server, made["secret"])).status_code == 401


async def test_exactly_max_uses_of_50_redemptions_at_two_servers_win(servers: list[Process]) -> None:
    made = await make_link(servers[0], await create_session(servers[0]), max_uses=7)
    answers = await asyncio.gather(*(redeem(servers[at % 2], made["secret"]) for at in range(50)))
    assert sorted(each.status_code for each in answers) == [200] * 7 + [401] * 43
    assert len({each.json()["detail"] for each in answers if each.status_code == 401}) == 1


async def test_expiry_of_a_link_closes_its_sockets_with_4005(servers: list[Process]) -> None:
    expires_at = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    made = await make_link(servers[0], await create_session(servers[0]), expires_at=expires_at)
    token = (await redeem(servers[0], made["secret"])).json()["data"]["token"]
    async with v3_connection(servers[1], token) as client:
        assert [(await client.receive())["type"] for _ in range(2)] == ["AUTHENTICATED", "REAUTH"]
        assert await closing_of(client) == (4005, "token_expired")
    assert (await redeem(servers[0], made["secret"])).status_code == 401


async def test_session_token_of_a_key_ends_at_sign_out_and_with_the_key(servers: list[Process]) -> None:
    admin = make_token(role="admin")
    key = (await call(servers[0], "POST", "/v1/keys", admin, json={"role": "admin"})).json()["data"]
    tokens = [run_command(server, EXCHANGE, KEY=key["key"])["data"]["token"] for server in servers]
    async with (
        v3_connection(servers[1], tokens[0]) as left,
        v3_connection(servers[0], tokens[1]) as kept,
    ):
        assert (await call(servers[0], "DELETE", "/v1/tokens", tokens[0])).status_code == 204
        assert await closing_of(left) == (4501, "revoked")
        assert (await call(servers[0], "GET", "/v1/me", tokens[1])).status_code == 200
        assert (await call(servers[1], "DELETE", f"/v1/keys/{key['key_id']}", admin)).status_code == 204
        assert await closing_of(kept) == (4501, "revoked")


def parse_terminal_code(text: str) -> list[list[bool]]:
    """Return the modules of a QR code of block characters, two rows in a line. Light modules are drawn."""
    halves = {"█": (False, False), "▀": (False, True), "▄": (True, False), " ": (True, True)}
    rows: list[list[bool]] = []
    for line in text.splitlines():
        pairs = [halves[each] for each in line]
        rows += [[upper for upper, _ in pairs], [lower for _, lower in pairs]]
    size = len(rows[0])
    return [row[4 : size - 4] for row in rows[4 : size - 4]]


async def test_links_of_the_command_line(
    servers: list[Process], module_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {
        "REDIS_URL": module_settings.redis_url,
        "DATABASE_URL": module_settings.database_url,
        "SYNCKAIROS_KEY_PREFIX": module_settings.key_prefix,
        "SYNCKAIROS_AUTH": "required",
        "JWT_SECRET": SECRET,
    }

    async def run(*arguments: str, exit_code: int = 0) -> str:
        result = await asyncio.to_thread(CliRunner().invoke, main, arguments, env=environment)
        assert result.exit_code == exit_code, result.output
        return (result.stdout if exit_code == 0 else result.output).strip("\n")

    session_id, server_url = await create_session(servers[0]), "https://clock.example.org/sub/"
    create = ("links", "create", "--session", session_id, "--role", "controller", "--max-uses", "1", "--label", "desk")
    url, _, code = (await run(*create, "--url", server_url, "--qr")).partition("\n")
    page, _, secret = url.partition("#link=")
    assert page == f"https://clock.example.org/sub/control/{session_id}"
    assert decode(parse_terminal_code(code)) == url
    link_id = secret.split("_")[1]
    (line,) = (await run("links", "list", "--session", session_id)).splitlines()
    assert line.startswith(f"{link_id}  {session_id}  controller  used 0 of 1 times  expires ")
    assert line.endswith("  desk")
    assert orjson.loads(await run("links", "list", "--session", session_id, "--json"))["uses"] == 0

    described = await run("tokens", "check", secret)
    assert "link, which is redeemed" in described
    assert f"{session_id} as controller" in described
    explain = ("auth", "explain", "--session", session_id, "--command", "start", "--token")
    assert (await run(*explain, secret)).endswith("allowed")
    token = (await redeem(servers[0], secret)).json()["data"]["token"]
    assert f"{'subject':<12} {link_id}:1" in await run("tokens", "check", token)
    assert (await run(*explain, token)).endswith("allowed")
    assert "used 1 times" in await run("tokens", "check", secret, exit_code=1)
    assert await run("links", "revoke", link_id) == f"the link {link_id} is revoked"

    async def is_refused() -> bool:
        return (await call(servers[1], "GET", "/v1/me", token)).status_code == 401

    await eventually(is_refused)  # the announcement of the command arrives through Redis
    assert "is not valid" in await run("tokens", "check", token, exit_code=1)
    assert "There is no link with this id" in await run("links", "revoke", "000000000000", exit_code=1)
    assert "is no URL of a server" in await run("console", "--url", "clock.example.org", exit_code=2)

    page, _, secret = (await run("console", "--url", "http://127.0.0.1:3000")).partition("#link=")
    assert page == "http://127.0.0.1:3000/console"
    answers = [await redeem(server, secret) for server in servers]
    assert [each.status_code for each in answers] == [200, 401]
    data = answers[0].json()["data"]
    assert data.keys() == {"token", "expires_in_ms", "role"}
    assert (await call(servers[1], "GET", "/v1/sessions", data["token"])).status_code == 200
