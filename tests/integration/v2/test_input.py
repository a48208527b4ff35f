"""Input that v2 accepts or ignores: query parameters, content types, unknown members and nulls."""

from uuid import uuid4

import httpx
import pytest

from tests.integration.problems import problem_of
from tests.integration.rest_server import RestServer, chess_body
from tests.integration.v2.v2_client import V2Client, creation_of_v2

MIN = 60_000
V2_COMMANDS = {"start": (), "switch": ("start",), "pause": ("start",), "resume": ("start", "pause"), "complete": ()}
"""The commands of v2, each with the commands that lead to a status in which it is allowed."""


@pytest.fixture
async def v2(server: RestServer) -> V2Client:
    return V2Client(server.client)


async def prepare(v2: V2Client, verb: str) -> str:
    """Create a session that allows a command, and return the path of the command."""
    session = await v2.create(MIN, MIN)
    for each in V2_COMMANDS[verb]:
        await v2.command(session, each)
    return f"/v1/sessions/{session['session_id']}/{verb}"


def warned(answer: httpx.Response) -> list[str]:
    """Return the paths of an answer's warnings."""
    body = answer.json()
    assert list(body) == (["data", "warnings"] if "warnings" in body else ["data"])
    assert body.get("warnings", [""]), "warnings are absent if there are none"
    assert all(set(each) == {"path", "message"} for each in body.get("warnings", ()))
    return [each["path"] for each in body.get("warnings", ())]


# -- query parameters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", ["_=1700000000000", "_=1&_=2", "cache-buster", "x=%ff", "&".join(["a=1"] * 200)])
async def test_unknown_query_parameters_are_ignored_on_routes_of_v2(v2: V2Client, query: str) -> None:
    body = creation_of_v2(MIN, MIN)
    created = await v2.http.post(f"/v1/sessions?{query}", json=body)
    assert created.status_code == 201
    path = f"/v1/sessions/{body['session_id']}"
    assert (await v2.http.get(f"{path}?{query}")).json() == created.json()
    for verb in ("start", "switch", "pause", "resume", "complete"):
        answer = await v2.http.post(f"{path}/{verb}?{query}")
        assert (answer.status_code, warned(answer)) == (200, [])
    for other in ("/v1/time", "/health", "/ready", "/metrics", "/api-docs.json"):
        assert (await v2.http.get(f"{other}?{query}")).status_code == 200
    assert (await v2.http.delete(f"{path}?{query}")).status_code == 204


async def test_unknown_query_parameters_are_refused_on_other_routes(v2: V2Client) -> None:
    session = await v2.create(MIN)
    for path in ("/v1/sessions", f"/v1/sessions/{session['session_id']}/events", f"/v1/participants/{uuid4()}/time"):
        assert problem_of(await v2.http.get(f"{path}?_=1")) == (400, "VALIDATION_ERROR")


# -- content types ----------------------------------------------------------------------------------------------------

OTHER_TYPES = [
    None, "text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "application/octet-stream",
    "application/merge-patch+json", "application/jsonx", "json", "multipart/form-data; boundary=x",
    "text/plain; charset=latin-1",
]  # fmt: skip


def typed(content_type: str | None) -> dict[str, str]:
    return {} if content_type is None else {"content-type": content_type}


@pytest.mark.parametrize("content_type", OTHER_TYPES)
@pytest.mark.parametrize("verb", V2_COMMANDS)
async def test_command_of_v2_needs_no_json_type(v2: V2Client, verb: str, content_type: str | None) -> None:
    answer = await v2.http.post(await prepare(v2, verb), content=b"{}", headers=typed(content_type))
    assert (answer.status_code, warned(answer)) == (200, [])


@pytest.mark.parametrize("content_type", OTHER_TYPES)
async def test_json_of_another_type_is_read(v2: V2Client, content_type: str | None) -> None:
    session = await v2.create(MIN, MIN, MIN)
    await v2.command(session, "start")
    third = session["participants"][2]["participant_id"]
    path = f"/v1/sessions/{session['session_id']}/switch"
    body = f'{{"next_participant_id": "{third}"}}'.encode()
    answer = await v2.http.post(path, content=body, headers=typed(content_type))
    assert (answer.status_code, answer.json()["data"]["active_participant_id"]) == (200, third)


@pytest.mark.parametrize("body", [b"a=1&b=2", b"hello", b"[]", b"null", b'"x"', b"\xff\x00", b'{"a":1,"a":2}'])
@pytest.mark.parametrize("verb", V2_COMMANDS)
async def test_body_of_another_type_that_is_no_object_is_ignored_with_a_warning(
    v2: V2Client, verb: str, body: bytes
) -> None:
    path = await prepare(v2, verb)
    as_json = await v2.http.post(path, content=body, headers={"content-type": "application/json"})
    assert problem_of(as_json) == (400, "VALIDATION_ERROR")
    answer = await v2.http.post(path, content=body, headers={"content-type": "application/x-www-form-urlencoded"})
    assert (answer.status_code, warned(answer)) == (200, [""])


@pytest.mark.parametrize("body", [b"{}", b"a=1"])
async def test_deletion_needs_no_json_type(v2: V2Client, body: bytes) -> None:
    session = await v2.create(MIN)
    path = f"/v1/sessions/{session['session_id']}"
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert (await v2.http.request("DELETE", path, content=body, headers=headers)).status_code == 204


@pytest.mark.parametrize("origin", ["https://evil.example", "null"])
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
async def test_form_of_a_foreign_page_is_refused_by_its_origin(v2: V2Client, origin: str, content_type: str) -> None:
    session = await v2.create(MIN)
    path = f"/v1/sessions/{session['session_id']}"
    headers = {"content-type": content_type, "origin": origin}
    for method, below in (("POST", "/start"), ("POST", "/complete"), ("DELETE", "")):
        answer = await v2.http.request(method, path + below, content=b"{}", headers=headers)
        assert problem_of(answer) == (403, "FORBIDDEN")
    assert (await v2.read(session))["status"] == "pending"


async def test_other_routes_need_a_json_type(v2: V2Client) -> None:
    session = await v2.create(MIN)
    path = f"/v1/sessions/{session['session_id']}"
    for method, target, body in (
        ("POST", "/v1/sessions", chess_body()),
        ("POST", f"{path}/adjust", {"delta_ms": 1}),
        ("POST", f"{path}/cancel", {}),
        ("PATCH", path, {"metadata": {}}),
        ("POST", "/v1/simulate", {}),
    ):
        answer = await v2.http.request(method, target, json=body, headers={"content-type": "text/plain"})
        assert problem_of(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/json", "content-encoding": "gzip"},
        {"content-type": "text/plain", "content-encoding": "gzip"},
        {"content-type": "application/json; charset=latin-1"},
    ],
)
async def test_compressed_or_differently_encoded_body_is_refused(v2: V2Client, headers: dict[str, str]) -> None:
    answer = await v2.http.post(await prepare(v2, "start"), content=b"{}", headers=headers)
    assert problem_of(answer) == (415, "UNSUPPORTED_MEDIA_TYPE")


# -- members ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", V2_COMMANDS)
async def test_unknown_members_of_a_command_of_v2_are_ignored_with_warnings(v2: V2Client, verb: str) -> None:
    path, key = await prepare(v2, verb), {"idempotency-key": "one"}
    body = {"timestamp": 1_700_000_000_000, "user": {"id": None}, "expected_version": len(V2_COMMANDS[verb]) + 1}
    answer = await v2.http.post(path, json=body, headers=key)
    assert (answer.status_code, warned(answer)) == (200, ["timestamp", "user"])
    replayed = await v2.http.post(path, json=body, headers=key)
    assert (replayed.headers["idempotency-replayed"], replayed.content) == ("true", answer.content)
    other = await v2.http.post(path, json=body | {"timestamp": 1}, headers=key)
    assert problem_of(other) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_unknown_members_are_not_in_the_audit(server: RestServer, v2: V2Client) -> None:
    await v2.http.post(await prepare(v2, "start"), json={"by": "board 7"})
    keys = server.parts.store.keys
    entries = [await server.parts.pipe.call("XRANGE", keys.outbox(at), "-", "+") for at in range(keys.partitions)]
    assert b"session_started" in repr(entries).encode()
    assert b"board 7" not in repr(entries).encode()


async def test_known_members_are_still_checked(v2: V2Client) -> None:
    for verb, body in (("switch", {"next_participant_id": 1, "x": 1}), ("pause", {"max_ms": 0, "x": 1})):
        answer = await v2.http.post(await prepare(v2, verb), json=body)
        assert problem_of(answer) == (400, "VALIDATION_ERROR")
        assert len(answer.json()["error"]["details"]) == 1


async def test_unknown_members_of_other_bodies_are_refused(v2: V2Client) -> None:
    session = await v2.create(MIN)
    path = f"/v1/sessions/{session['session_id']}"
    for method, target, body in (
        ("POST", "/v1/sessions", chess_body(surprise=1)),
        ("POST", f"{path}/adjust", {"delta_ms": 1, "surprise": 1}),
        ("POST", f"{path}/cancel", {"surprise": 1}),
        ("DELETE", path, {"surprise": 1}),
        ("PATCH", path, {"metadata": {}, "surprise": 1}),
    ):
        answer = await v2.http.request(method, target, json=body)
        assert problem_of(answer) == (400, "VALIDATION_ERROR")
        assert [each["path"] for each in answer.json()["error"]["details"]] == ["surprise"]


async def test_null_members_that_v2_does_not_read_are_accepted_with_warnings(v2: V2Client) -> None:
    nulls = dict.fromkeys(("active_participant_id", "active_group_id", "auto_advance", "action_on_timeout"))
    body, key = creation_of_v2(MIN, MIN, **nulls), {"idempotency-key": "one"}
    answer = await v2.http.post("/v1/sessions", json=body, headers=key)
    assert (answer.status_code, warned(answer)) == (201, list(nulls))
    assert answer.json()["data"]["active_participant_id"] is None
    replayed = await v2.http.post("/v1/sessions", json=body, headers=key)
    assert (replayed.status_code, replayed.content) == (201, answer.content)
    started = await v2.command(body, "start")
    assert started["active_participant_id"] == body["participants"][0]["participant_id"]


async def test_examples_of_v2s_documentation_are_accepted(v2: V2Client) -> None:
    bodies = [
        creation_of_v2(MIN, MIN, increment_ms=3_000, action_on_timeout={"type": "game_over", "winner": "opponent"}),
        {"sync_mode": "global", "time_per_cycle_ms": 30_000, "auto_advance": True,
         "action_on_timeout": {"type": "skip_cycle"}},
        creation_of_v2(0, 0, sync_mode="per_cycle", total_time_ms=30_000, auto_advance=True,
                       action_on_timeout={"type": "auto_fold"}),
        {"sync_mode": "count_up", "participants": [{"participant_id": str(uuid4()), "participant_index": 0}],
         "max_time_ms": 3_600_000},
        {"sync_mode": "per_group", "groups": [{"group_id": str(uuid4()), "total_time_ms": 300_000,
                                               "members": [str(uuid4()), str(uuid4())]}]},
    ]  # fmt: skip
    paths = [
        {"action_on_timeout.winner"},
        {"auto_advance", "action_on_timeout.type"},
        {"auto_advance", "action_on_timeout.type"},
        set(),
        set(),
    ]
    for body, expected in zip(bodies, paths, strict=True):
        answer = await v2.http.post("/v1/sessions", json=body)
        assert answer.status_code == 201, answer.text
        assert set(warned(answer)) == expected
