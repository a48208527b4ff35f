"""REST routes of members, and the rights that members give over REST."""

import asyncio
from collections.abc import AsyncIterator
from itertools import product
from typing import Any
from uuid import uuid4

import httpx
import orjson
import psycopg
import pytest
from msgspec.structs import replace
from starlette.types import Scope

from synckairos.access_log.recorder import AccessRecorder
from synckairos.access_log.table import AccessTable
from synckairos.config import Settings
from synckairos.history.cold.object_store import ColdStorage
from synckairos.history.records import AuditedVersion
from synckairos.jobs.table import open_job_pool
from synckairos.jobs.write_archive import Archiver
from synckairos.members import table as members_table
from synckairos.members.holder_rights import HolderRights
from synckairos.members.member_cache import MemberCache
from synckairos.postgres.access import cross_tenant_access
from synckairos.postgres.pool import PostgresPool
from synckairos.principal import CredentialLife, Principal
from synckairos.revocations.credential_ends import CredentialEnds, EndReason
from synckairos.stored_credentials.table import CredentialTable
from tests.background_task import running
from tests.integration.authentication import now_ms
from tests.integration.callers import NamedCallers, as_caller
from tests.integration.http.test_access_rules import ROLES, SESSION_CASES, refusal_of, send
from tests.integration.members.member_nodes import MemberNode, open_member_node
from tests.integration.rest_server import RestServer, chess_body, list_all, open_rest_server
from tests.integration.revocations.nodes import ADMIN as ADMIN_PRINCIPAL
from tests.integration.revocations.nodes import until
from tests.integration.round_trips import RoundTrips
from tests.integration.stored_credentials.credential_nodes import new_key
from tests.waiting import eventually

PATH, LABEL = "/v1/members", "label:cup=spring"
ADMIN = as_caller("root")
SUBJECT = "alice"
LIFE = CredentialLife(expires_at_ms=None, issued_at_ms=None, token_id=None, group=None, verified_by=None)


class MemberCallers(NamedCallers):
    """Callers that they name in a header, with their member rows."""

    def __init__(self, cache: MemberCache, life: CredentialLife | None = None) -> None:
        super().__init__([])
        self._cache = cache
        self._life = life

    def principal_for(self, scope: Scope) -> Principal:
        principal = super().principal_for(scope)
        return replace(principal, members=self._cache.find_members(principal), life=self._life)


@pytest.fixture
async def node(settings: Settings) -> AsyncIterator[MemberNode]:
    async with open_member_node(settings) as opened:
        yield opened


@pytest.fixture
async def server(settings: Settings, node: MemberNode) -> AsyncIterator[RestServer]:
    callers = MemberCallers(node.cache)
    async with open_rest_server(
        settings, caller_identity=callers, member_changes=node.changes, control_channel=node.node.channel
    ) as opened:
        yield opened


def alice(role: Any = "controller", **options: Any) -> dict[str, str]:
    return as_caller(SUBJECT, role, **{"reaches": "-", **options})


async def put(server: RestServer, *rows: tuple[str, str, str], headers: dict[str, str] = ADMIN) -> httpx.Response:
    members = [dict(zip(("subject", "resource", "role"), row, strict=True)) for row in rows]
    body = members[0] if len(members) == 1 else {"members": members}
    return await server.client.put(PATH, json=body, headers=headers)


async def delete(server: RestServer, subject: str, resource: str) -> httpx.Response:
    return await server.client.delete(PATH, params={"subject": subject, "resource": resource}, headers=ADMIN)


async def list_members(server: RestServer, headers: dict[str, str] = ADMIN, **params: Any) -> list[dict[str, Any]]:
    server.client.headers.update(headers)
    found = await list_all(server.client, PATH, limit=2, **params)
    for name in headers:
        del server.client.headers[name]
    return found


async def create_started(server: RestServer, **fields: Any) -> tuple[str, str]:
    """Create and start a session as an admin. Return its id and the id of its active participant."""
    answer = await server.client.post("/v1/sessions", json=chess_body(**fields), headers=ADMIN)
    session_id: str = answer.json()["data"]["session_id"]
    started = await server.client.post(f"/v1/sessions/{session_id}/start", headers=ADMIN)
    person: str = started.json()["data"]["active_participant_id"]
    return session_id, person


# -- administration ---------------------------------------------------------------------------------------------------


async def test_members_are_put_listed_changed_and_deleted(server: RestServer) -> None:
    session_id = str(uuid4())
    answer = await put(server, (SUBJECT, session_id.upper(), "viewer"))
    assert (answer.status_code, answer.json()) == (200, {"data": {"member_count": 1, "changed_subject_count": 1}})
    rows = [(SUBJECT, LABEL, "controller"), ("bob", LABEL, "viewer"), (SUBJECT, session_id, "participant")]
    answer = await put(server, *rows)
    assert answer.json() == {"data": {"member_count": 3, "changed_subject_count": 2}}
    in_order = [dict(zip(("subject", "resource", "role"), each, strict=True)) for each in sorted(rows)]
    assert await list_members(server) == in_order
    assert await list_members(server, subject="bob") == in_order[2:]
    assert await list_members(server, resource=LABEL) == [in_order[1], in_order[2]]
    for _ in range(2):
        assert (await delete(server, SUBJECT, LABEL)).status_code == 204
    assert await list_members(server, subject=SUBJECT) == in_order[:1]


@pytest.mark.parametrize(
    ("row", "path"),
    [
        (("", LABEL, "viewer"), "members.2.subject"),
        (("a b", LABEL, "viewer"), "members.2.subject"),
        (("x" * 129, LABEL, "viewer"), "members.2.subject"),
        (("bob", "*", "viewer"), "members.2.resource"),
        (("bob", "label:Cup=spring", "viewer"), "members.2.resource"),
        (("bob", "label:cup=", "viewer"), "members.2.resource"),
        (("bob", "label:cup=\0", "viewer"), "members.2.resource"),
        (("bob", "x", "viewer"), "members.2.resource"),
        (("bob", LABEL, "admin"), "members.2.role"),
        (("first", LABEL, "viewer"), "members.2"),
    ],
    ids=["empty", "space", "long", "star", "key", "no-value", "nul", "text", "admin", "twice"],
)
async def test_bad_row_is_named_by_its_index_and_no_row_is_put(
    server: RestServer, row: tuple[str, str, str], path: str
) -> None:
    answer = await put(server, ("first", LABEL, "viewer"), ("second", LABEL, "viewer"), row)
    assert answer.status_code == 400
    assert [each["path"] for each in answer.json()["error"]["details"]] == [path]
    assert await list_members(server) == []


@pytest.mark.parametrize(
    "body",
    [{}, {"members": []}, {"subject": "a", "resource": LABEL}, {"subject": "a", "members": [{"subject": "a"}]}],
    ids=["empty", "no-rows", "no-role", "both"],
)
async def test_body_without_rows_is_refused(server: RestServer, body: dict[str, Any]) -> None:
    assert (await server.client.put(PATH, json=body, headers=ADMIN)).status_code == 400


async def test_ten_thousand_rows_are_put_in_one_request_and_one_more_is_refused(server: RestServer) -> None:
    rows = [{"subject": str(uuid4()), "resource": str(uuid4()), "role": "participant"} for _ in range(10_001)]
    body = orjson.dumps({"members": rows[1:]})
    assert len(body) > 1 << 20
    headers = ADMIN | {"content-type": "application/json"}
    answer = await server.client.put(PATH, content=body, headers=headers)
    assert answer.json() == {"data": {"member_count": 10_000, "changed_subject_count": 10_000}}
    answer = await server.client.put(PATH, content=orjson.dumps({"members": rows}), headers=headers)
    assert (answer.status_code, answer.json()["error"]["details"][0]["path"]) == (400, "members")
    answer = await server.client.put(PATH, content=body + b" " * (2 << 20), headers=headers)
    assert answer.status_code == 413


async def test_subject_with_too_many_rows_is_refused(settings: Settings) -> None:
    async with (
        open_member_node(settings, max_rows_of_subject=2) as node,
        open_rest_server(settings, caller_identity=MemberCallers(node.cache), member_changes=node.changes) as server,
    ):
        rows = [(SUBJECT, f"label:k={number}", "viewer") for number in range(3)]
        answer = await put(server, *rows)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "TOO_MANY_MEMBERS")
        assert SUBJECT in answer.json()["error"]["message"]


async def test_only_admins_administer_members(server: RestServer) -> None:
    params = {"subject": SUBJECT, "resource": LABEL}
    for answer in (
        await put(server, (SUBJECT, LABEL, "viewer"), headers=alice()),
        await server.client.get(PATH, headers=alice()),
        await server.client.delete(PATH, params=params, headers=alice()),
    ):
        assert refusal_of(answer) == (403, "FORBIDDEN")


async def test_each_change_is_in_the_access_log(settings: Settings, node: MemberNode) -> None:
    async with PostgresPool(settings.database_url, "test", access=cross_tenant_access(), max_connections=1) as pool:
        recorder = AccessRecorder(AccessTable(pool), now_ms)
        callers = MemberCallers(node.cache)
        async with open_rest_server(
            settings, caller_identity=callers, member_changes=node.changes, access_recorder=recorder
        ) as server:
            await put(server, (SUBJECT, LABEL, "viewer"))
            await put(server, (SUBJECT, LABEL, "viewer"), ("bob", LABEL, "viewer"))
            await delete(server, "bob", LABEL)
            await recorder.flush()
            listed = (await server.client.get("/v1/access?entry=act", headers=ADMIN)).json()["data"]
    acts = [(each["subject"], each["action"], each["target"]) for each in reversed(listed)]
    assert acts == [
        ("root", f"PUT {PATH}", SUBJECT),
        ("root", f"PUT {PATH}", "2 members"),
        ("root", f"DELETE {PATH}", "bob"),
    ]


async def test_without_authentication_members_answer_403(settings: Settings) -> None:
    async with open_rest_server(settings) as server:
        for answer in (
            await put(server, (SUBJECT, LABEL, "viewer"), headers={}),
            await server.client.get(PATH),
            await server.client.delete(PATH, params={"subject": SUBJECT, "resource": LABEL}),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (403, "FORBIDDEN")
            assert "SYNCKAIROS_AUTH" in answer.json()["error"]["message"]


# -- rights -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["session", "label"])
async def test_role_of_the_member_row_decides(server: RestServer, by: str) -> None:
    for case, role in product(SESSION_CASES, ROLES[: ROLES.index("admin")]):
        session_id, person = await create_started(server, labels={"cup": f"{by}-{role}"})
        resource = session_id if by == "session" else f"label:cup={by}-{role}"
        assert (await put(server, (SUBJECT, resource, role))).status_code == 200
        answer = await send(server, case, alice(participant_id=person), session_id, person)
        expected = None if ROLES.index(role) >= ROLES.index(case.least) else (403, "FORBIDDEN")
        assert refusal_of(answer) == expected, (case, role)
        assert (await delete(server, SUBJECT, resource)).status_code == 204


async def test_session_without_a_member_row_answers_and_costs_the_same_as_a_missing_session(
    server: RestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(server, (SUBJECT, LABEL, "controller"), (SUBJECT, str(uuid4()), "controller"))
    history = server.parts.history
    read = history.read_latest_version
    reads: list[str] = []

    async def counted(wanted: str) -> AuditedVersion | None:
        reads.append(wanted)
        return await read(wanted)

    monkeypatch.setattr(history, "read_latest_version", counted)
    for case in SESSION_CASES:
        session_id, person = await create_started(server, labels={"cup": "autumn"})
        answers = []
        for requested in (session_id, str(uuid4())):
            for _ in range(2):
                reads.clear()
                with monkeypatch.context() as patch:
                    trips = RoundTrips(patch, server.parts.pipe, requested)
                    answer = await send(server, case, alice(participant_id=person), requested, person)
                text = answer.text.replace(requested, "ID")
                answers.append((answer.status_code, text, trips.count, len(reads)))
        assert answers[:2] == answers[2:], case
        assert answers[0][0] == 404, case


async def test_look_up_of_members_adds_no_trip_to_a_press(
    server: RestServer, node: MemberNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id, _ = await create_started(server)
    await put(server, (SUBJECT, session_id, "controller"))
    path = f"/v1/sessions/{session_id}/switch"
    assert (await server.client.post(path, headers=alice())).status_code == 200
    counts = []
    monkeypatch.setattr(node.table, "read_sets", None)
    for caller in (alice(reaches=session_id), alice()):
        with monkeypatch.context() as patch:
            trips = RoundTrips(patch, server.parts.pipe, session_id)
            assert (await server.client.post(path, headers=caller)).status_code == 200
        counts.append(trips.count)
    assert counts[0] == counts[1]


async def test_role_is_the_highest_of_grants_and_rows_but_not_above_the_credential(server: RestServer) -> None:
    session_id, _ = await create_started(server, labels={"cup": "spring"})
    path = f"/v1/me?session_id={session_id}"

    async def role_of(**options: Any) -> str | None:
        answer = await server.client.get(path, headers=alice(**options))
        found: str | None = answer.json()["data"]["session_role"]
        return found

    assert await role_of() is None
    await put(server, (SUBJECT, LABEL, "viewer"))
    assert await role_of() == "viewer"
    await put(server, (SUBJECT, session_id, "participant"))
    assert await role_of() == "participant"
    assert await role_of(role="viewer") == "viewer"
    assert await role_of(reaches=session_id) == "controller"
    assert await role_of(kind="link") is None
    assert await role_of(kind="key") is None
    await put(server, (f"key:{SUBJECT}", session_id, "viewer"))
    assert await role_of(kind="key") == "viewer"
    assert await role_of(tenant="acme") is None


async def test_controller_of_a_label_creates_reads_hours_and_commands_its_sessions(server: RestServer) -> None:
    async def create(**labels: str) -> int:
        answer = await server.client.post("/v1/sessions", json=chess_body(labels=labels), headers=alice())
        return answer.status_code

    hours = {"from": "2026-01-01", "to": "2026-02-01", "label": "cup=spring"}
    assert await create(cup="spring") == 403
    assert (await server.client.get("/v1/hours", params=hours, headers=alice())).status_code == 403
    await put(server, (SUBJECT, LABEL, "controller"), (SUBJECT, "label:hall=a", "participant"))
    assert await create(cup="spring") == 201
    assert await create(cup="spring", hall="a") == 403
    assert await create(cup="autumn") == 403
    assert (await server.client.get("/v1/hours", params=hours, headers=alice())).status_code == 200
    other = hours | {"label": "hall=a"}
    assert (await server.client.get("/v1/hours", params=other, headers=alice())).status_code == 403
    await create_started(server, labels={"cup": "spring"})
    body = {"command": "pause", "label": ["cup=spring"], "command_id": "all"}
    answer = await server.client.post("/v1/sessions/commands", json=body, headers=alice())
    assert [each.get("version") for each in answer.json()["data"]["results"]] == [3, None]


@pytest.mark.parametrize("named_by", ["rows", "keys"])
async def test_only_admins_change_labels_that_a_row_or_an_api_key_of_the_tenant_names(
    server: RestServer, named_by: str
) -> None:
    session_id, _ = await create_started(server, labels={"cup": "spring"})
    await put(server, (SUBJECT, session_id, "controller"))
    if named_by == "rows":
        await put(server, ("bob", LABEL, "viewer"), ("bob", "label:hall=a", "viewer"))
    else:
        table = CredentialTable(server.parts.pool)
        for tenant, kind, sessions in (
            ("default", "key", ["label:hall=a", session_id]),
            ("default", "key", ["*", LABEL]),
            ("other", "key", ["label:hall=b", "label:room=1"]),
            ("default", "operator", ["label:hall=b"]),
        ):
            await table.add(new_key(tenant=tenant, kind=kind, grants=[{"sessions": sessions}]), now_ms())
        ended, _ = await table.add(new_key(grants=[{"sessions": ["label:hall=b"]}]), now_ms())
        await table.end("default", "key", ended.credential_id, now_ms() - 600_000)
    path = f"/v1/sessions/{session_id}"
    for labels, status in (
        ({"cup": None}, 403),
        ({"cup": "autumn"}, 403),
        ({"hall": "a"}, 403),
        ({"hall": "b"}, 200),
        ({"hall": "a", "room": "1"}, 403),
        ({"cup": "spring", "room": "1"}, 200),
    ):
        answer = await server.client.patch(path, json={"labels": labels}, headers=alice())
        assert answer.status_code == status, labels
    assert (await server.client.patch(path, json={"labels": {"cup": "x"}}, headers=ADMIN)).status_code == 200


async def test_last_labels_of_a_deleted_session_decide_about_its_events_and_its_archive(server: RestServer) -> None:
    session_id, _ = await create_started(server, labels={"cup": "spring"})
    await put(server, (SUBJECT, LABEL, "controller"), ("bob", "label:cup=autumn", "controller"))
    await server.client.delete(f"/v1/sessions/{session_id}", headers=ADMIN)
    await server.drain()
    async with open_job_pool(server.settings.database_url) as pool:
        await Archiver(pool, ColdStorage(server.settings.archive_url)).archive(session_id)
    for part in ("events", "archive"):
        path = f"/v1/sessions/{session_id}/{part}"
        assert (await server.client.get(path, headers=alice())).status_code == 200, part
        bob = await server.client.get(path, headers=as_caller("bob", "controller", reaches="-"))
        assert bob.status_code == 404, part


async def test_state_at_an_instant_needs_a_row_too(server: RestServer) -> None:
    session_id, _ = await create_started(server)
    now_ms = await server.parts.sessions.now_ms()
    path = f"/v1/sessions/{session_id}?at={now_ms}"
    assert (await server.client.get(path, headers=alice())).status_code == 404
    await put(server, (SUBJECT, session_id, "viewer"))
    assert (await server.client.get(path, headers=alice())).status_code == 200


async def test_unknown_members_answer_503_and_grants_still_decide(
    server: RestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(server, ("bob", LABEL, "viewer"))
    statement = members_table._statement
    for case in SESSION_CASES:
        monkeypatch.setattr(members_table, "_statement", statement)
        session_id, person = await create_started(server, labels={"cup": "spring"})
        monkeypatch.setattr(members_table, "_statement", lambda _: b"SELECT FROM no_such_table")
        for reaches in ("-", "label:cup=autumn"):
            answer = await send(server, case, alice(reaches=reaches, participant_id=person), session_id, person)
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "STORE_UNAVAILABLE"), (case, reaches)
        for reaches in (session_id, LABEL):
            answer = await send(server, case, alice(reaches=reaches, participant_id=person), session_id, person)
            if case.least == "admin":
                assert refusal_of(answer) == (403, "FORBIDDEN"), (case, reaches)
            else:
                assert refusal_of(answer) is None, (case, reaches)
            session_id, person = await create_started(server, labels={"cup": "spring"})


async def test_live_tail_ends_when_the_rows_of_its_subject_change(settings: Settings, node: MemberNode) -> None:
    ends = CredentialEnds(now_ms, node.node.channel)
    callers = MemberCallers(node.cache, LIFE)
    async with (
        running(HolderRights(node.cache, ends).run()),
        open_rest_server(
            settings, caller_identity=callers, member_changes=node.changes, credential_ends=ends
        ) as server,
    ):
        session_id, _ = await create_started(server)
        await put(server, (SUBJECT, session_id, "controller"))
        headers = alice() | {"accept": "text/event-stream"}
        tail = asyncio.create_task(server.client.get(f"/v1/sessions/{session_id}/events", headers=headers))
        await until(lambda: ends.holder_count == 1)
        await put(server, ("bob", session_id, "viewer"))
        await put(server, (SUBJECT, session_id, "controller"))
        assert ends.holder_count == 1
        await delete(server, SUBJECT, session_id)
        async with asyncio.timeout(20):
            assert (await tail).status_code == 200
        assert (await server.client.get(f"/v1/sessions/{session_id}/events", headers=headers)).status_code == 404


async def test_live_tail_ends_if_its_row_is_removed_before_the_tail_is_watched(
    settings: Settings, node: MemberNode
) -> None:
    """The row is removed while the tail reads its first page: after the check of the right, and before the watch."""
    ends = CredentialEnds(now_ms, node.node.channel)
    async with (
        running(HolderRights(node.cache, ends).run()),
        open_rest_server(
            settings, caller_identity=MemberCallers(node.cache, LIFE), member_changes=node.changes, credential_ends=ends
        ) as server,
        await psycopg.AsyncConnection.connect(settings.database_url) as database,
    ):
        session_id, _ = await create_started(server)
        await server.drain()
        await put(server, (SUBJECT, session_id, "controller"))
        path, headers = f"/v1/sessions/{session_id}", alice()
        assert (await server.client.get(path, headers=headers)).status_code == 200
        await database.execute("LOCK TABLE sync_events IN ACCESS EXCLUSIVE MODE")
        tail = asyncio.create_task(
            server.client.get(f"{path}/events", headers=headers | {"accept": "text/event-stream"})
        )
        async with await psycopg.AsyncConnection.connect(settings.database_url, autocommit=True) as watching:

            async def is_blocked() -> bool:
                rows = await watching.execute("SELECT 1 FROM pg_locks WHERE NOT granted AND relation IS NOT NULL")
                return await rows.fetchone() is not None

            await eventually(is_blocked)
        await delete(server, SUBJECT, session_id)
        assert (await server.client.get(path, headers=headers)).status_code == 404  # the changed rows are in memory
        await database.rollback()
        async with asyncio.timeout(20):
            answer = await tail
        assert (answer.status_code, ends.holder_count) == (200, 0)


async def test_failing_holder_is_ended_and_the_others_are_checked(settings: Settings, node: MemberNode) -> None:
    class Holder:
        """A socket that fails if `fails` is True, and else notes what happens."""

        def __init__(self, fails: bool) -> None:
            self.principal = replace(node.principal(SUBJECT), life=LIFE)
            self.fails, self.events = fails, list[str]()

        def warn_of_end(self, within_ms: int) -> None: ...

        def end_with_credential(self, reason: EndReason) -> None:
            self.events.append(reason.value)
            if self.fails:
                raise RuntimeError("a fault of the test")

        def apply_rights(self) -> None:
            self.events.append("checked")
            if self.fails:
                raise RuntimeError("a fault of the test")

    ends = CredentialEnds(now_ms, node.node.channel)
    holders = [Holder(fails) for fails in (True, False)]
    for each in holders:
        ends.add(each, has_max_age=False)
    async with running(HolderRights(node.cache, ends).run()):
        await node.put(SUBJECT, "viewer")
        await until(lambda: holders[1].events == ["checked"])
        assert holders[0].events == ["checked", "disconnected"]
        assert ends.holders == (holders[1],)
        failing = Holder(True)
        ends.add(failing, has_max_age=False)
        await node.node.channel.disconnect(ADMIN_PRINCIPAL, SUBJECT)
        await until(lambda: holders[1].events == ["checked", "disconnected"])


@pytest.mark.parametrize("source", ["grant", "row"])
async def test_live_tail_ends_before_the_event_that_removes_its_label(
    settings: Settings, node: MemberNode, source: str
) -> None:
    ends = CredentialEnds(now_ms, node.node.channel)
    async with open_rest_server(
        settings, caller_identity=MemberCallers(node.cache, LIFE), member_changes=node.changes, credential_ends=ends
    ) as server:
        session_id, _ = await create_started(server, labels={"cup": "spring"})
        path = f"/v1/sessions/{session_id}"
        await server.client.patch(path, json={"labels": {"level": "b"}}, headers=ADMIN)
        if source == "row":
            await put(server, (SUBJECT, LABEL, "controller"))
        headers = alice(reaches=LABEL if source == "grant" else "-") | {"accept": "text/event-stream"}
        tail = asyncio.create_task(server.client.get(f"{path}/events", headers=headers))
        await until(lambda: ends.holder_count == 1)
        await server.client.patch(path, json={"labels": {"cup": "autumn"}}, headers=ADMIN)
        await server.client.patch(path, json={"metadata": {"secret": 1}}, headers=ADMIN)
        async with asyncio.timeout(20):
            text = (await tail).text
        assert text.count("event: session_updated") == 1
        assert "metadata_updated" not in text


# -- own sessions -----------------------------------------------------------------------------------------------------


async def list_own(server: RestServer, headers: dict[str, str], **filters: Any) -> list[str]:
    server.client.headers.update(headers)
    found = await list_all(server.client, "/v1/me/sessions", limit=2, **filters)
    for name in headers:
        del server.client.headers[name]
    return [each["session_id"] for each in found]


async def test_own_sessions_are_those_of_grants_and_members_newest_first(server: RestServer) -> None:
    by_row, _ = await create_started(server)
    ended, _ = await create_started(server, labels={"cup": "spring"})
    await server.client.post(f"/v1/sessions/{ended}/complete", headers=ADMIN)
    await server.drain()  # a session that has ended is listed when Postgres has it
    by_label, _ = await create_started(server, labels={"cup": "spring"})
    by_grant, _ = await create_started(server)
    other, _ = await create_started(server, labels={"cup": "autumn"})
    everything = [other, by_grant, by_label, ended, by_row]
    await put(server, (SUBJECT, by_row, "viewer"), (SUBJECT, LABEL, "participant"), (SUBJECT, str(uuid4()), "viewer"))
    for _ in range(2):
        assert await list_own(server, alice(reaches=by_grant)) == [by_grant, by_label, ended, by_row]
        assert await list_own(server, alice()) == [by_label, ended, by_row]
        assert await list_own(server, as_caller("bob", "viewer", reaches="-")) == []
        assert await list_own(server, as_caller("bob", "viewer")) == everything
        assert await list_own(server, ADMIN) == everything
        assert await list_own(server, alice(tenant="acme")) == []
        await server.drain()
    changed = await server.client.patch(f"/v1/sessions/{by_label}", json={"labels": {"cup": None}}, headers=ADMIN)
    assert changed.status_code == 200
    assert await list_own(server, alice()) == [ended, by_row]


async def test_own_sessions_are_limited_by_status_mode_and_labels(server: RestServer) -> None:
    """The newest sessions of the label do not match, so that a page of the label before the filter has no match."""
    wanted, _ = await create_started(server, labels={"cup": "spring", "round": "1"})
    ended, _ = await create_started(server, labels={"cup": "spring", "round": "2"})
    await server.client.post(f"/v1/sessions/{ended}/complete", headers=ADMIN)
    newest = [(await create_started(server, labels={"cup": "spring", "round": "2"}))[0] for _ in range(4)]
    await create_started(server, labels={"cup": "autumn", "round": "1"})
    await put(server, (SUBJECT, LABEL, "viewer"))
    await server.drain()
    for headers in (alice(), alice(reaches=LABEL)):
        assert await list_own(server, headers, label="round=1") == [wanted]
        assert await list_own(server, headers, label=["round=1", "cup=spring"]) == [wanted]
        assert await list_own(server, headers, label="cup=autumn") == []
        assert await list_own(server, headers, status="completed") == [ended]
        assert await list_own(server, headers, status="running", label="round=2") == newest[::-1]
        assert await list_own(server, headers, sync_mode="global") == []
        assert len(await list_own(server, headers, sync_mode="per_participant")) == 6
    refused = await server.client.get("/v1/me/sessions", params={"status": "odd"}, headers=alice())
    assert refused.status_code == 400


async def test_own_sessions_need_the_members(server: RestServer, monkeypatch: pytest.MonkeyPatch) -> None:
    await put(server, ("bob", LABEL, "viewer"))
    monkeypatch.setattr(members_table, "_statement", lambda _: b"SELECT FROM no_such_table")
    answer = await server.client.get("/v1/me/sessions", headers=alice())
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "STORE_UNAVAILABLE")


async def test_rows_of_a_tenant_are_hidden_from_another_tenant(server: RestServer, settings: Settings) -> None:
    """Tenant B neither sees nor changes the rows of tenant A, and its own rows of the same names reach nothing of A."""
    session_id, _ = await create_started(server, labels={"cup": "spring"})
    await put(server, (SUBJECT, session_id, "viewer"))
    other_admin = as_caller("root", tenant="acme")
    assert await list_members(server, other_admin) == []
    await put(server, (SUBJECT, session_id, "controller"), (SUBJECT, LABEL, "controller"), headers=other_admin)
    await server.client.delete(PATH, params={"subject": SUBJECT, "resource": session_id}, headers=other_admin)
    assert [each["role"] for each in await list_members(server)] == ["viewer"]
    assert await list_own(server, alice(tenant="acme")) == []
    path = f"/v1/sessions/{session_id}"
    assert (await server.client.get(path, headers=alice(tenant="acme"))).status_code == 404
    assert (await server.client.get(path, headers=alice())).status_code == 200
    async with await psycopg.AsyncConnection.connect(settings.database_url) as database:
        rows = await (await database.execute("SELECT tenant, resource FROM sync_members ORDER BY 1, 2")).fetchall()
    assert rows == [("acme", LABEL), ("default", session_id)]
