"""The REST application: origins, rate limits, unknown routes and methods, failures and request ids."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from synckairos.config import Settings
from tests.integration.problems import problem_of
from tests.integration.rest_server import HOST, RestServer, chess_body, open_rest_server, session_url

FOREIGN_PAGE = {"origin": "http://evil.example"}
OWN_PAGE = {"origin": HOST}


# -- origins ----------------------------------------------------------------------------------------------------------


async def test_change_by_a_page_of_a_foreign_origin_is_refused(server: RestServer) -> None:
    session = await server.create()
    path = f"/v1/sessions/{session['session_id']}"
    for method, where, body in (
        ("POST", "/v1/sessions", chess_body()),
        ("POST", f"{path}/start", None),
        ("PATCH", path, {"metadata": {"a": 1}}),
        ("DELETE", path, None),
    ):
        for origin in ("http://evil.example", "null", "http://127.0.0.1:4000"):
            answer = await server.client.request(method, where, json=body, headers={"origin": origin})
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "FORBIDDEN")
            assert "access-control-allow-origin" not in answer.headers
            assert "ratelimit-remaining" in answer.headers
    assert (await server.client.get(path)).json()["data"]["version"] == 1
    assert await server.parts.store.live.count_unfinished() == 1


async def test_change_by_a_page_of_the_own_origin_is_accepted(client: httpx.AsyncClient) -> None:
    answer = await client.post("/v1/sessions", json=chess_body(), headers=OWN_PAGE)
    assert answer.status_code == 201
    assert answer.headers["access-control-allow-origin"] == HOST
    assert "ETag" in answer.headers["access-control-expose-headers"]
    assert "Origin" in answer.headers["vary"]


async def test_page_of_a_foreign_origin_cannot_read_responses(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/time", headers=FOREIGN_PAGE)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers
    assert answer.headers["vary"] == "Origin"
    rebound = await client.get("/v1/time", headers={"host": "rebound.example"})
    assert (rebound.status_code, rebound.json()["error"]["code"]) == (403, "FORBIDDEN")


async def test_change_by_a_page_of_a_listed_origin_is_accepted(settings: Settings) -> None:
    listed = {"origin": "https://app.example"}
    async with open_rest_server(settings.model_copy(update={"allowed_origins": ["https://app.example"]})) as server:
        answer = await server.client.post("/v1/sessions", json=chess_body(), headers=listed)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (201, "https://app.example")
        refused = await server.client.post("/v1/sessions", json=chess_body(), headers=FOREIGN_PAGE)
        assert refused.status_code == 403


async def test_preflight_of_the_own_origin_is_accepted_and_of_a_foreign_one_refused(client: httpx.AsyncClient) -> None:
    preflight = {"access-control-request-method": "PATCH", "access-control-request-headers": "content-type,if-match"}
    path = f"/v1/sessions/{uuid4()}"
    fine = await client.options(path, headers=OWN_PAGE | preflight)
    assert fine.status_code == 204
    assert fine.headers["access-control-allow-origin"] == HOST
    assert "PATCH" in fine.headers["access-control-allow-methods"]
    assert "If-Match" in fine.headers["access-control-allow-headers"]
    assert "ratelimit-remaining" not in fine.headers
    refused = await client.options(path, headers=FOREIGN_PAGE | preflight)
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers


# -- rate limits ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def limited(settings: Settings) -> AsyncIterator[RestServer]:
    async with open_rest_server(
        settings.model_copy(update={"rate_limit_general": 12, "rate_limit_switch": 3})
    ) as opened:
        yield opened


async def test_requests_of_one_address_share_the_general_limit(limited: RestServer) -> None:
    client, session = limited.client, await limited.create()
    path = f"/v1/sessions/{session['session_id']}"
    answers = [
        await client.get(path),
        await client.get("/v1/sessions"),
        await client.post("/v1/sessions", json={}),
        await client.get("/v1/nope"),
        await client.put(path),
        await client.get("/v1/sessions/nope"),
        await client.post("/v1/sessions", json=chess_body(), headers=FOREIGN_PAGE),
        await client.post("/v1/simulate", json={}),
        await client.get(f"/v1/sessions/{uuid4()}"),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 400, 404, 405, 400, 403, 400, 404]
    assert [int(answer.headers["ratelimit-remaining"]) for answer in answers] == list(range(10, 1, -1))
    assert {answer.headers["ratelimit-limit"] for answer in answers} == {"12"}
    for _ in range(2):
        await client.get(path)
    for refused in (
        await client.get(path),
        await client.get("/v1/nope"),
        await client.post("/v1/sessions", json={}),
        await client.delete(path),
    ):
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "RATE_LIMIT_EXCEEDED")
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["retry_after_seconds"] == int(refused.headers["retry-after"])
        assert refused.headers["ratelimit-remaining"] == "0"
        assert 0 <= int(refused.headers["ratelimit-reset"]) <= 60
        assert "general limit of 12 requests a minute and client (RATE_LIMIT_GENERAL)" in refused.json()["detail"]
    for free in ("/v1/time", "/health", "/ready", "/metrics", "/openapi.json", "/docs"):
        answer = await client.get(free)
        assert answer.status_code == 200
        assert "ratelimit-remaining" not in answer.headers


async def test_switches_of_each_session_have_their_own_limit_and_replays_are_free(settings: Settings) -> None:
    async with open_rest_server(settings.model_copy(update={"rate_limit_switch": 1})) as server:
        session = await server.create_started()
        other = await server.create_started()
        path = f"/v1/sessions/{session['session_id']}"
        key = {"idempotency-key": "one"}
        answers = [await server.client.post(f"{path}/switch", headers=key)]
        answers += await asyncio.gather(*(server.client.post(f"{path}/{verb}") for verb in ("switch", "pause")))
        assert [answer.status_code for answer in answers] == [200, 429, 429]
        assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["0", "0", "0"]
        assert answers[-1].headers["retry-after"] == "1"
        assert answers[-1].json()["detail"] == (
            "Too many requests for the switch limit of 1 presses a second and session (RATE_LIMIT_SWITCH); "
            "try again in 1 s"
        )
        replayed = await server.client.post(f"{path}/switch", headers=key)
        assert (replayed.status_code, replayed.content) == (200, answers[0].content)
        assert (await server.client.get(path)).status_code == 200
        assert (await server.client.post(f"/v1/sessions/{other['session_id']}/switch")).status_code == 200


async def test_unknown_method_is_counted_as_other(client: httpx.AsyncClient) -> None:
    await client.request("BREW", "/v1/time")
    metrics = (await client.get("/metrics")).text
    assert 'synckairos_http_requests_total{method="other",route="/v1/time",status_code="405"}' in metrics
    assert "BREW" not in metrics


# -- routes and failures ----------------------------------------------------------------------------------------------


async def test_unknown_routes_and_methods_are_refused(client: httpx.AsyncClient) -> None:
    session = f"/v1/sessions/{uuid4()}"
    for path in (
        "/nope",
        "/v1",
        "/v1/sessions//",
        f"{session}/explode",
        "/v2/sessions",
        "/demo/nope.js",
        "/v1//sessions",
    ):
        assert problem_of(await client.get(path)) == (404, "NOT_FOUND"), path
    for method, path, allow in (
        ("PUT", session, "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("GET", f"{session}/switch", "OPTIONS, POST"),
        ("DELETE", "/v1/sessions", "GET, HEAD, OPTIONS, POST"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
        ("TRACE", "/v1/time", "GET, HEAD, OPTIONS"),
        ("BREW", session, "DELETE, GET, HEAD, OPTIONS, PATCH"),
    ):
        answer = await client.request(method, path)
        assert problem_of(answer) == (405, "METHOD_NOT_ALLOWED")
        assert answer.headers["allow"] == allow
    assert problem_of(await client.post("/demo/")) == (405, "METHOD_NOT_ALLOWED")
    plain = await client.options(session)
    assert (plain.status_code, plain.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, PATCH")


async def test_unknown_verb_is_refused_with_the_known_verbs(client: httpx.AsyncClient) -> None:
    session = f"/v1/sessions/{uuid4()}"
    refused = await client.post(f"{session}/begin")
    assert problem_of(refused) == (404, "NOT_FOUND")
    verbs = (
        "adjust, amend, announce, cancel, complete, done, finish, participants, pause, reopen, resume, screen, start, "
        "switch, undo"
    )
    assert refused.json()["detail"] == f"There is nothing at {session}/begin. Known names for POST: {verbs}"
    assert (await client.get(f"{session}/history")).json()["detail"].endswith("GET: archive, events")
    assert "Known" not in (await client.get("/nope")).json()["detail"]


async def test_path_of_the_websocket_requires_an_upgrade(client: httpx.AsyncClient) -> None:
    for path in ("/ws", "/ws/", f"/ws?sessionId={uuid4()}"):
        refused = await client.get(path)
        assert problem_of(refused) == (426, "UPGRADE_REQUIRED")
        assert (refused.headers["upgrade"], refused.headers["connection"]) == ("websocket", "upgrade")
    assert problem_of(await client.post("/ws")) == (405, "METHOD_NOT_ALLOWED")


async def test_if_match_without_quotes_is_refused(server: RestServer) -> None:
    path = session_url(await server.create())
    for method, where in (("GET", path), ("POST", f"{path}/start"), ("PATCH", path), ("DELETE", path)):
        refused = await server.client.request(method, where, json={"metadata": {}}, headers={"if-match": "banana"})
        assert problem_of(refused) == (400, "VALIDATION_ERROR"), (method, refused.text)
    assert (await server.client.get(path)).json()["data"]["version"] == 1


async def test_head_returns_the_headers_of_get_without_a_body(server: RestServer) -> None:
    session = await server.create()
    path = f"/v1/sessions/{session['session_id']}"
    got, head = await server.client.get(path), await server.client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert (head.headers["etag"], head.headers["content-length"]) == (
        got.headers["etag"],
        got.headers["content-length"],
    )


async def test_unexpected_exception_is_logged_and_not_returned(
    server: RestServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def explode(*_: Any) -> None:
        raise RuntimeError("the secret")

    monkeypatch.setattr(type(server.parts.sessions), "read", explode)
    answer = await server.client.get(f"/v1/sessions/{uuid4()}", headers={"x-request-id": "find-me"})
    assert problem_of(answer) == (500, "INTERNAL_ERROR")
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] == "find-me"
    assert any("find-me" in str(record.msg) for record in caplog.records if record.levelname == "ERROR")


async def test_request_id_of_the_client_is_kept_only_if_it_is_well_formed(client: httpx.AsyncClient) -> None:
    given = await client.get("/health", headers={"x-request-id": "abc-1.2_3"})
    assert given.headers["x-request-id"] == "abc-1.2_3"
    for odd in ("a b", "x" * 129, "<script>"):
        assert (await client.get("/health", headers={"x-request-id": odd})).headers["x-request-id"] != odd
