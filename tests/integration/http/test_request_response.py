"""Bodies, content types, path parameters and queries of requests. A refusal names all faults and stores nothing."""

from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import orjson
import pytest

from synckairos.config import Settings
from synckairos.http import request_response
from synckairos.http.request_response import LARGE_BODY_BYTES, MAX_BODY_BYTES
from tests.integration.problems import problem_of
from tests.integration.rest_server import RestServer, chess_body, open_rest_server

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"nope", b"[]", b"null", b'"text"', b"1", b"\xff", b'{"a":1,"a":1}', b'{"total_time_ms":NaN}',
        b'{"metadata":{"a":"\\ud800"}}', b'{"a":' * 500 + b"1" + b"}" * 500, b"[" * 200_000, b'{"a":1e999}',
    ],
)  # fmt: skip
async def test_malformed_body_is_refused_with_details(server: RestServer, body: bytes) -> None:
    for path in ("/v1/sessions", f"/v1/sessions/{uuid4()}/switch", "/v1/simulate"):
        answer = await server.client.post(path, content=body, headers=JSON)
        assert problem_of(answer) == (400, "VALIDATION_ERROR")
        assert answer.json()["error"]["details"]
    assert await server.parts.store.live.count_unfinished() == 0


async def test_all_faults_of_a_body_are_returned_together(client: httpx.AsyncClient) -> None:
    body = chess_body(session_id="nope", total_time_ms=True, surprise=1)
    body["participants"][1] |= {"participant_id": body["participants"][0]["participant_id"], "total_time_ms": 1.0}
    answer = await client.post("/v1/sessions", json=body)
    assert problem_of(answer) == (400, "VALIDATION_ERROR")
    error = answer.json()["error"]
    assert error["message"] == "Request validation failed"
    first = error["details"][0]
    assert answer.json()["detail"] == f"{first['path']}: {first['message']}"
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


async def test_path_parameter_that_is_not_a_uuid_is_refused(client: httpx.AsyncClient) -> None:
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
        assert problem_of(answer) == (400, "VALIDATION_ERROR")
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
async def test_body_with_another_content_type_is_refused(server: RestServer, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    answer = await server.client.post("/v1/sessions", content=orjson.dumps(chess_body()), headers=headers)
    assert problem_of(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert await server.parts.store.live.count_unfinished() == 0


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"'])
async def test_content_type_of_json_in_another_spelling_is_accepted(
    client: httpx.AsyncClient, content_type: str
) -> None:
    headers = {"content-type": content_type}
    answer = await client.post("/v1/sessions", content=orjson.dumps(chess_body()), headers=headers)
    assert answer.status_code == 201


async def test_compressed_body_is_refused(client: httpx.AsyncClient) -> None:
    headers = JSON | {"content-encoding": "gzip"}
    assert problem_of(await client.post("/v1/sessions", content=b"\x1f\x8b", headers=headers))[0] == 415


async def test_body_longer_than_the_maximum_is_refused(server: RestServer) -> None:
    body = orjson.dumps(chess_body())
    padded = body[:-1] + b" " * (MAX_BODY_BYTES - len(body)) + b"}"
    assert (await server.client.post("/v1/sessions", content=padded, headers=JSON)).status_code == 201
    assert problem_of(await server.client.post("/v1/sessions", content=padded + b" ", headers=JSON)) == (
        413,
        "PAYLOAD_TOO_LARGE",
    )

    async def without_a_length() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b" " * (MAX_BODY_BYTES // 32)

    streamed = await server.client.post("/v1/sessions", content=without_a_length(), headers=JSON)
    assert problem_of(streamed) == (413, "PAYLOAD_TOO_LARGE")
    wrong_length = await server.client.post("/v1/sessions", content=body, headers=JSON | {"content-length": "9" * 30})
    assert problem_of(wrong_length) == (413, "PAYLOAD_TOO_LARGE")


async def test_large_body_is_counted_before_it_is_parsed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_rest_server(settings.model_copy(update={"rate_limit_general": 4})) as server:
        headers = {"content-type": "application/json"}
        large = orjson.dumps(chess_body(metadata={"a": "x"})) + b" " * LARGE_BODY_BYTES
        fine = await server.client.post("/v1/sessions", content=large, headers=headers)
        assert (fine.status_code, fine.headers["ratelimit-remaining"]) == (201, "3")
        for left in (2, 1, 0):
            bad = await server.client.post("/v1/sessions", content=b"[" + large, headers=headers)
            assert (bad.status_code, bad.headers["ratelimit-remaining"]) == (400, str(left))
        monkeypatch.setattr(request_response, "decode_json", None)
        over = await server.client.post("/v1/sessions", content=large, headers=headers)
        assert (over.status_code, over.json()["error"]["code"]) == (429, "RATE_LIMIT_EXCEEDED")
