"""Streams of responses end with the credential that opened them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import httpx
import pytest
from starlette.types import Message

from synckairos.config import Settings
from synckairos.http.streaming_response import send_stream
from synckairos.identity.retired_keys import RetiredKeys
from synckairos.identity.token_claims import ClaimRules
from synckairos.identity.token_verifier import TokenVerifier
from synckairos.identity.verification_key import VerificationKey, parse_public_key, parse_secret
from synckairos.limits.processor_time import ProcessorTime
from synckairos.revocations.credential_ends import CredentialEnds
from tests.integration.authentication import authentication_settings, bearer, make_authenticator, make_token, now_ms
from tests.integration.rest_server import RestServer, chess_body, open_rest_server, session_url
from tests.integration.revocations.nodes import ADMIN, Node, open_node
from tests.tokens import SECRET, claims_at, signing_key
from tests.waiting import eventually

PUBLIC = signing_key("ES256", "public")


@pytest.fixture
async def node(settings: Settings) -> AsyncIterator[Node]:
    async with open_node(settings) as opened:
        yield opened


@pytest.fixture
def retired() -> RetiredKeys:
    return RetiredKeys(max_credential_life_s=86_400)


@pytest.fixture
def ends(node: Node, retired: RetiredKeys) -> CredentialEnds:
    return CredentialEnds(now_ms, node.channel, retired)


@pytest.fixture
async def server(settings: Settings, ends: CredentialEnds) -> AsyncIterator[RestServer]:
    """Open a server that accepts tokens of the secret, and tokens of PUBLIC, whose name is `k1`."""
    material = parse_public_key(PUBLIC.pem).material
    verifier = TokenVerifier(
        [parse_secret(SECRET)],
        [VerificationKey("ES256", material, name="k1")],
        [],
        ClaimRules.from_settings(authentication_settings(settings)),
    )
    authenticator = make_authenticator(settings, verifier, refuse_ended=ends.require_not_revoked)
    async with open_rest_server(settings, authenticator=authenticator, credential_ends=ends) as opened:
        yield opened


async def tail_after(server: RestServer, token: str, act: Callable[[], Any]) -> httpx.Response:
    """Open a live tail with a token, call `act` when the tail is open, and return the whole answer."""
    created = await server.client.post("/v1/sessions", json=chess_body(), headers=bearer(make_token(role="admin")))
    session = created.json()["data"]
    headers = bearer(token) | {"accept": "text/event-stream"}
    answer = asyncio.create_task(server.client.get(session_url(session, "events"), headers=headers))
    await act()
    async with asyncio.timeout(20):
        return await answer


async def test_live_tail_ends_when_its_token_expires(server: RestServer, ends: CredentialEnds) -> None:
    async def nothing() -> None: ...

    answer = await tail_after(server, make_token(role="admin", exp=time.time() + 1), nothing)
    assert answer.text.count("event: ") == 1
    assert ends.holder_count == 0


async def test_live_tail_ends_when_its_token_is_revoked(server: RestServer, ends: CredentialEnds, node: Node) -> None:
    async def is_open() -> bool:
        return ends.holder_count == 1

    async def revoke() -> None:
        await eventually(is_open)
        await node.channel.revoke(ADMIN, token_id="t1")

    answer = await tail_after(server, make_token(role="admin", jti="t1"), revoke)
    assert answer.text.count("event: ") <= 1
    again = await server.client.get("/v1/sessions", headers=bearer(make_token(role="admin", jti="t1")))
    assert (again.status_code, again.json()["error"]["message"]) == (401, "The token was revoked")


async def test_live_tail_ends_when_the_key_of_its_token_is_retired(
    server: RestServer, ends: CredentialEnds, retired: RetiredKeys
) -> None:
    token = PUBLIC.sign(claims_at(now_ms(), role="admin"))

    async def is_open() -> bool:
        return ends.holder_count == 1

    async def retire() -> None:
        await eventually(is_open)
        retired.retire("other")
        assert ends.holder_count == 1
        retired.retire("k1")

    answer = await tail_after(server, token, retire)
    assert answer.text.count("event: ") <= 1
    again = await server.client.get("/v1/sessions", headers=bearer(token))
    assert (again.status_code, again.json()["error"]["message"]) == (401, "The key of the token is no longer accepted")


class EndlessStream:
    """A stream that sends one piece and then waits."""

    def __init__(self) -> None:
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"piece"
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize(("is_endless", "is_complete"), [(True, True), (False, False)])
async def test_download_that_ends_early_stays_incomplete_and_a_live_tail_does_not(
    is_endless: bool, is_complete: bool
) -> None:
    sent: list[Message] = []
    ended = asyncio.Event()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("the client stays connected")

    async def send(message: Message) -> None:
        sent.append(message)
        if message.get("body") == b"piece":
            ended.set()

    stream = EndlessStream()
    pace = partial(ProcessorTime().pace, "client")
    await send_stream(stream, 200, [], receive, send, headers_only=False, pace=pace, ended=ended, is_endless=is_endless)
    assert stream.is_closed
    assert [each.get("body") for each in sent[1:]] == [b"piece", b""][: 1 + is_complete]
    assert (sent[-1].get("more_body", False) is False) == is_complete


async def test_request_during_a_revocation_is_answered_and_the_next_one_is_not(
    server: RestServer, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = await server.client.post("/v1/sessions", json=chess_body(), headers=bearer(make_token(role="admin")))
    start = session_url(created.json()["data"], "start")
    revoked, other = (bearer(make_token(role="admin", jti=each)) | {"idempotency-key": "k"} for each in ("t1", "t2"))
    load, is_loading, may_load = server.parts.store.load, asyncio.Event(), asyncio.Event()

    async def held(*args: Any, **options: Any) -> Any:
        is_loading.set()
        await may_load.wait()
        return await load(*args, **options)

    monkeypatch.setattr(server.parts.store, "load", held)
    running = asyncio.create_task(server.client.post(start, headers=revoked))
    await is_loading.wait()
    await node.channel.revoke(ADMIN, token_id="t1")
    may_load.set()
    answer = await running
    assert (answer.status_code, answer.json()["data"]["status"]) == (200, "running")
    assert (await server.client.post(start, headers=revoked)).status_code == 401
    again = await server.client.post(start, headers=other)  # the same subject with another token
    assert (again.content, again.headers["idempotency-replayed"]) == (answer.content, "true")
