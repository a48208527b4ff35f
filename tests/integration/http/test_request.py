"""Bad input: the named error each time, nothing half-written, the server untouched."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest

from synckairos.http.request import MAX_BODY_BYTES
from synckairos.wire.response_models import Problem
from tests.integration.rest_server import RestServer, chess_body

JSON = {"content-type": "application/json"}


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    told = Problem.model_validate_json(answer.content)
    assert "stack" not in answer.json()["error"]
    return answer.status_code, told.error.code


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"nope", b"[]", b"null", b'"text"', b"1", b"\xff", b'{"a":1,"a":1}', b'{"total_time_ms":NaN}',
        b'{"metadata":{"a":"\\ud800"}}', b'{"a":' * 500 + b"1" + b"}" * 500, b"[" * 200_000, b'{"a":1e999}',
    ],
)  # fmt: skip
async def test_malformed_bodies_are_named(server: RestServer, body: bytes) -> None:
    for path in ("/v1/sessions", f"/v1/sessions/{uuid4()}/switch", "/v1/simulate"):
        answer = await server.client.post(path, content=body, headers=JSON)
        assert problem(answer) == (400, "VALIDATION_ERROR")
        assert answer.json()["error"]["details"]
    assert await server.parts.store.count_live() == 0


async def test_every_fault_is_told_at_once(client: httpx.AsyncClient) -> None:
    body = chess_body(session_id="nope", total_time_ms=True, surprise=1)
    body["participants"][1] |= {"participant_id": body["participants"][0]["participant_id"], "total_time_ms": 1.0}
    answer = await client.post("/v1/sessions", json=body)
    assert problem(answer) == (400, "VALIDATION_ERROR")
    error = answer.json()["error"]
    assert error["message"] == "Request validation failed"
    assert {fault["path"] for fault in error["details"]} == {
        "session_id",
        "total_time_ms",
        "surprise",
        "participants.1.participant_id",
        "participants.1.total_time_ms",
    }
    assert all(set(fault) == {"path", "message"} for fault in error["details"])
    nothing = await client.post("/v1/sessions")
    assert {fault["path"] for fault in nothing.json()["error"]["details"]} == {"sync_mode", "participants"}


async def test_ids_in_paths_are_uuids(client: httpx.AsyncClient) -> None:
    for method, path in (
        ("GET", "/v1/sessions/nope"),
        ("GET", "/v1/sessions/nope/events"),
        ("DELETE", "/v1/sessions/nope"),
        ("PATCH", "/v1/sessions/nope"),
        ("POST", "/v1/sessions/nope/start"),
        ("POST", "/v1/sessions/nope/switch"),
        ("GET", f"/v1/sessions/{uuid4()}%0A"),
        ("GET", "/v1/participants/nope/time"),
    ):
        answer = await client.request(method, path)
        assert problem(answer) == (400, "VALIDATION_ERROR")
        paths = [fault["path"] for fault in answer.json()["error"]["details"]]
        assert paths[0] in ("session_id", "participant_id")
    both = await client.delete("/v1/sessions/nope/participants/nope")
    assert [fault["path"] for fault in both.json()["error"]["details"]] == ["session_id", "participant_id"]


@pytest.mark.parametrize(
    "content_type",
    [
        None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "multipart/form-data",
        "application/json; charset=latin-1", "application/merge-patch+json", "application/json, text/plain", "json",
    ],
)  # fmt: skip
async def test_another_content_type_is_refused(server: RestServer, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    answer = await server.client.post("/v1/sessions", content=orjson.dumps(chess_body()), headers=headers)
    assert problem(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert await server.parts.store.count_live() == 0


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'])
async def test_json_by_any_other_spelling_is_taken(client: httpx.AsyncClient, content_type: str) -> None:
    answer = await client.post(
        "/v1/sessions", content=orjson.dumps(chess_body()), headers={"content-type": content_type}
    )
    assert answer.status_code == 201


async def test_compressed_bodies_are_refused(client: httpx.AsyncClient) -> None:
    headers = JSON | {"content-encoding": "gzip"}
    assert problem(await client.post("/v1/sessions", content=b"\x1f\x8b", headers=headers))[0] == 415


async def test_bodies_have_an_end(server: RestServer) -> None:
    body = orjson.dumps(chess_body())
    padded = body[:-1] + b" " * (MAX_BODY_BYTES - len(body)) + b"}"
    assert (await server.client.post("/v1/sessions", content=padded, headers=JSON)).status_code == 201
    assert problem(await server.client.post("/v1/sessions", content=padded + b" ", headers=JSON)) == (
        413,
        "PAYLOAD_TOO_LARGE",
    )

    async def without_a_length() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * (MAX_BODY_BYTES // 32)

    streamed = await server.client.post("/v1/sessions", content=without_a_length(), headers=JSON)
    assert problem(streamed) == (413, "PAYLOAD_TOO_LARGE")
    lying = await server.client.post("/v1/sessions", content=body, headers=JSON | {"content-length": "9" * 30})
    assert problem(lying) == (413, "PAYLOAD_TOO_LARGE")


async def test_unknown_routes_and_methods_are_named(client: httpx.AsyncClient) -> None:
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
        assert problem(await client.get(path)) == (404, "NOT_FOUND"), path
    for method, path, allow in (
        ("PUT", session, "DELETE, GET, HEAD, OPTIONS, PATCH"),
        ("GET", f"{session}/switch", "OPTIONS, POST"),
        ("DELETE", "/v1/sessions", "GET, HEAD, OPTIONS, POST"),
        ("POST", "/health", "GET, HEAD, OPTIONS"),
        ("TRACE", "/v1/time", "GET, HEAD, OPTIONS"),
        ("BREW", session, "DELETE, GET, HEAD, OPTIONS, PATCH"),
    ):
        answer = await client.request(method, path)
        assert problem(answer) == (405, "METHOD_NOT_ALLOWED")
        assert answer.headers["allow"] == allow
    assert problem(await client.post("/demo/")) == (405, "METHOD_NOT_ALLOWED")
    plain = await client.options(session)
    assert (plain.status_code, plain.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, PATCH")


async def test_head_is_get_without_a_body(server: RestServer) -> None:
    session = await server.create()
    path = f"/v1/sessions/{session['session_id']}"
    got, head = await server.client.get(path), await server.client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert (head.headers["etag"], head.headers["content-length"]) == (
        got.headers["etag"],
        got.headers["content-length"],
    )


async def test_a_failure_of_ours_tells_nothing_and_is_logged(
    server: RestServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def explode(*_: Any) -> None:
        raise RuntimeError("the secret")

    monkeypatch.setattr(type(server.parts.sessions), "read", explode)
    answer = await server.client.get(f"/v1/sessions/{uuid4()}", headers={"x-request-id": "find-me"})
    assert problem(answer) == (500, "INTERNAL_ERROR")
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] == "find-me"
    assert any("find-me" in str(record.msg) for record in caplog.records if record.levelname == "ERROR")


async def test_a_request_id_is_ours_unless_it_is_a_decent_one(client: httpx.AsyncClient) -> None:
    given = await client.get("/health", headers={"x-request-id": "abc-1.2_3"})
    assert given.headers["x-request-id"] == "abc-1.2_3"
    for odd in ("a b", "x" * 129, "<script>"):
        assert (await client.get("/health", headers={"x-request-id": odd})).headers["x-request-id"] != odd
