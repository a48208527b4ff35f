"""Import of live sessions of v2 while v2 runs: the clock continues, and each state is imported once and completely."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from synckairos.admin.from_v2 import ImportsFailed, import_sessions
from synckairos.admin.progress import NoProgress
from synckairos.audit.verify import open_verifier
from synckairos.clock.recover_lost_session import OutageChargePolicy
from synckairos.config import Settings
from synckairos.errors import StoreUnavailable
from synckairos.store.v2_sessions import LEASE_KEY, ImportAlreadyRunning
from tests.fixtures.v2 import product
from tests.fixtures.v2.product import State
from tests.fixtures.v2.redis import V2Redis
from tests.integration.audit_parts import AuditParts
from tests.integration.rest_server import RestServer
from tests.waiting import eventually


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def v2(server: RestServer) -> V2Redis:
    return V2Redis(server.parts.pipe, f"{server.settings.key_prefix}-v2:")


@pytest.fixture(autouse=True)
async def no_lease(server: RestServer) -> AsyncIterator[None]:
    yield
    await server.parts.pipe.call("DEL", LEASE_KEY)


async def import_all(server: RestServer, v2: V2Redis, settings: Settings | None = None) -> list[str]:
    """Run an import and return its lines. If the run fails, the last line is the message of the error."""
    lines: list[str] = []
    try:
        async for line in import_sessions(settings or server.settings, server.settings.redis_url, v2.prefix):
            lines += [line]
    except ImportsFailed as failure:
        lines.append(failure.message)
    return lines


async def get(server: RestServer, state: State) -> dict[str, Any]:
    answer = await server.client.get(f"/v1/sessions/{state['session_id']}")
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def post(server: RestServer, state: State, verb: str, **body: Any) -> dict[str, Any]:
    answer = await server.client.post(f"/v1/sessions/{state['session_id']}/{verb}", json=body)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def verify(audit: AuditParts, state: State) -> list[tuple[str, str]]:
    """Drain the outbox. Return the findings of the verification of one session."""
    await audit.drain()
    async with open_verifier(audit.settings.database_url, OutageChargePolicy()) as verifier:
        verified = await verifier.verify_session(state["session_id"])
        assert verified is not None
        return [(finding.kind, finding.text) for finding in verified.findings]


def running(ago_ms: int = 5_000, **members: Any) -> State:
    """Return a session of v2 in its second turn, which began `ago_ms` milliseconds before now."""
    at_ms = now_ms() - ago_ms
    state = product.start(product.create(at_ms - 3_000, **members), at_ms - 2_000)
    return product.switch(state, at_ms)


# -- one import -------------------------------------------------------------------------------------------------------


@pytest.mark.pooler
async def test_running_session_goes_on_to_the_millisecond(server: RestServer, v2: V2Redis, audit: AuditParts) -> None:
    state = running()
    await v2.save(state)
    assert await import_all(server, v2) == ["1 imported, 0 updated, 0 unchanged, 0 failed"]
    found = await get(server, state)
    same = ("session_id", "sync_mode", "status", "active_participant_id", "cycle_started_at", "session_started_at")
    assert {name: found[name] for name in same} == {name: state[name] for name in same}
    assert found["created_at"] == state["created_at"]
    assert found["version"] == state["version"] + 1
    for ours, theirs in zip(found["participants"], state["participants"], strict=True):
        for name in ("participant_id", "participant_index", "time_used_ms", "time_remaining_ms", "cycle_count"):
            assert ours[name] == theirs[name], name
    after = await post(server, state, "switch")
    at_ms = product.milliseconds(after["cycle_started_at"])
    elsewhere = product.switch(state, at_ms)
    assert [each["time_used_ms"] for each in after["participants"]] == [
        each["time_used_ms"] for each in elsewhere["participants"]
    ]
    assert await verify(audit, state) == []


@pytest.mark.parametrize("mode", ["per_participant", "per_cycle", "per_group", "global", "count_up"])
@pytest.mark.parametrize("steps", [(), ("start",), ("start", "pause"), ("start", "complete")])
async def test_each_mode_and_status(
    server: RestServer, v2: V2Redis, audit: AuditParts, mode: str, steps: tuple[str, ...]
) -> None:
    at_ms = now_ms() - 10_000
    state = product.create(at_ms, sync_mode=mode, time_per_cycle_ms=60_000, max_time_ms=100_000)
    for at, step in enumerate(steps, start=1):
        state = getattr(product, step)(state, at_ms + at * 1_000)
    await v2.save(state)
    assert await import_all(server, v2) == ["1 imported, 0 updated, 0 unchanged, 0 failed"]
    found = await get(server, state)
    assert (found["status"], found["sync_mode"], found["version"]) == (state["status"], mode, state["version"] + 1)
    if found["status"] != "completed":
        verb = {"pending": "start", "running": "switch", "paused": "resume"}[found["status"]]
        assert (await post(server, state, verb))["status"] == "running"
    assert await verify(audit, state) == []


async def test_copy_of_v2_is_left_and_marked(server: RestServer, v2: V2Redis) -> None:
    state = running()
    await v2.save(state)
    before = await v2.keys()
    await import_all(server, v2)
    assert await v2.keys() == before
    found = await get(server, state)
    mark = await v2.mark(state["session_id"])
    assert mark is not None
    assert (mark["epoch"], mark["version"]) == (found["epoch"], found["version"])
    assert (mark["v2"]["version"], mark["v2"]["updated_at"]) == (state["version"], state["updated_at"])


async def test_trail_and_webhook_event_of_an_import(server: RestServer, v2: V2Redis) -> None:
    state = running()
    await v2.save(state)
    await import_all(server, v2)
    (event,) = (await server.client.get(f"/v1/sessions/{state['session_id']}/events")).json()["data"]
    assert (event["event_type"], event["actor"], event["version"]) == ("session_imported", "import-v2", 4)
    assert event["occurred_at"] == state["cycle_started_at"]


async def test_expiry_in_v2_takes_effect_at_its_instant(server: RestServer, v2: V2Redis, audit: AuditParts) -> None:
    state = running(ago_ms=5_000, budgets_ms=[10_000, 3_000])
    await v2.save(state)
    await import_all(server, v2)
    found = await get(server, state)
    assert found["status"] == "expired"
    assert (
        product.milliseconds(found["session_completed_at"]) == product.milliseconds(state["cycle_started_at"]) + 3_000
    )
    assert await verify(audit, state) == []


# -- again ------------------------------------------------------------------------------------------------------------


async def test_second_run_changes_nothing(server: RestServer, v2: V2Redis, audit: AuditParts) -> None:
    states = [running() for _ in range(3)]
    for state in states:
        await v2.save(state)
    await import_all(server, v2)
    before = [await get(server, state) for state in states]
    await post(server, states[0], "pause")
    assert await import_all(server, v2) == ["0 imported, 0 updated, 3 unchanged, 0 failed"]
    assert [await get(server, state) for state in states[1:]] == before[1:]
    await audit.drain()
    assert await import_all(server, v2) == ["0 imported, 0 updated, 3 unchanged, 0 failed"]


async def test_later_change_of_v2_is_taken(server: RestServer, v2: V2Redis, audit: AuditParts) -> None:
    state = running()
    await v2.save(state)
    await import_all(server, v2)
    before = await get(server, state)
    later = product.pause(product.switch(state, now_ms()), now_ms())
    await v2.save(later)
    assert await import_all(server, v2) == ["0 imported, 1 updated, 0 unchanged, 0 failed"]
    found = await get(server, state)
    assert (found["status"], found["version"], found["epoch"]) == ("paused", before["version"] + 1, before["epoch"])
    assert [each["time_used_ms"] for each in found["participants"]] == [
        each["time_used_ms"] for each in later["participants"]
    ]
    assert await import_all(server, v2) == ["0 imported, 0 updated, 1 unchanged, 0 failed"]
    assert await verify(audit, state) == []


async def test_v2_decides_also_after_time_has_acted_here(server: RestServer, v2: V2Redis, audit: AuditParts) -> None:
    state = running(budgets_ms=[10_000, 3_000])
    await v2.save(state)
    await import_all(server, v2)
    assert (await get(server, state))["status"] == "expired"
    await v2.save(product.switch(state, now_ms()))  # v2 lets it go on
    assert await import_all(server, v2) == ["0 imported, 1 updated, 0 unchanged, 0 failed"]
    assert (await get(server, state))["status"] == "running"
    assert await verify(audit, state) == []


async def test_session_that_was_changed_here_is_reported(server: RestServer, v2: V2Redis) -> None:
    state = running()
    await v2.save(state)
    await import_all(server, v2)
    changed = await post(server, state, "pause")
    await v2.save(product.switch(state, now_ms()))
    reason = f"{state['session_id']}: it was created or changed here (version 5), and v2 has another state"
    assert await import_all(server, v2) == [
        reason,
        "0 imported, 0 updated, 0 unchanged, 1 failed",
        "1 session of v2 could not be imported; v2 still has them",
    ]
    assert await get(server, state) == changed


async def test_session_that_was_created_here_is_reported(server: RestServer, v2: V2Redis) -> None:
    state = running()
    ours = await server.create(session_id=state["session_id"])
    await v2.save(state)
    assert "it was created or changed here (version 1)" in (await import_all(server, v2))[0]
    assert await get(server, state) == ours


async def test_session_that_was_deleted_here_is_reported(server: RestServer, v2: V2Redis) -> None:
    state = running()
    await v2.save(state)
    await import_all(server, v2)
    assert (await server.client.delete(f"/v1/sessions/{state['session_id']}")).status_code == 204
    await v2.save(product.switch(state, now_ms()))
    assert "it was deleted here" in (await import_all(server, v2))[0]


async def test_session_that_v2_created_again_is_taken(server: RestServer, v2: V2Redis, audit: AuditParts) -> None:
    state = running()
    await v2.save(state)
    await import_all(server, v2)
    await server.client.delete(f"/v1/sessions/{state['session_id']}")
    again = product.create(now_ms() + 1_000, session_id=state["session_id"])
    await v2.save(again)
    assert await import_all(server, v2) == ["1 imported, 0 updated, 0 unchanged, 0 failed"]
    found = await get(server, state)
    assert (found["status"], found["version"], found["created_at"]) == ("pending", 2, again["created_at"])
    assert await verify(audit, state) == []


async def test_session_that_v2_no_longer_has_is_named(server: RestServer, v2: V2Redis) -> None:
    state = running()
    await v2.save(state)
    await import_all(server, v2)
    await v2.delete(state["session_id"])
    gone, summary = await import_all(server, v2)
    assert gone.startswith(f"{state['session_id']}: v2 no longer has it")
    assert summary == "0 imported, 0 updated, 0 unchanged, 0 failed"
    assert (await get(server, state))["status"] == "running"


async def test_evicted_session_is_not_imported_again(server: RestServer, v2: V2Redis, audit: AuditParts) -> None:
    state = running()
    await v2.save(state)
    await import_all(server, v2)
    before = await get(server, state)
    await audit.drain()
    keys = server.parts.store.keys
    for key in (keys.session, keys.history, keys.idempotency_records):
        await server.parts.pipe.call("DEL", key(state["session_id"]))
    assert await import_all(server, v2) == ["0 imported, 0 updated, 1 unchanged, 0 failed"]
    assert await get(server, state) == before


# -- faults -----------------------------------------------------------------------------------------------------------


async def test_each_fault_is_reported_with_its_session(server: RestServer, v2: V2Redis) -> None:
    good, blitz, moved = running(), running(sync_mode="blitz"), running()
    await v2.save(good)
    await v2.save(blitz)
    await v2.put("not-a-uuid", product.render(running(session_id="not-a-uuid")))
    await v2.put("0198c0de-0000-7000-8000-000000000001", b'{"session_id": "0198')
    await v2.put("0198c0de-0000-7000-8000-000000000002", product.render(moved))
    *faults, summary, failure = await import_all(server, v2)
    assert sorted(line.partition(": ")[0] for line in faults) == sorted(
        [blitz["session_id"], "not-a-uuid", *(f"0198c0de-0000-7000-8000-00000000000{at}" for at in (1, 2))]
    )
    reasons = " | ".join(faults)
    for reason in (
        "unknown mode 'blitz'",
        "session_id: should be a UUID",
        "malformed JSON",
        "belongs to another session",
    ):
        assert reason in reasons
    assert summary == "1 imported, 0 updated, 0 unchanged, 4 failed"
    assert failure == "4 sessions of v2 could not be imported; v2 still has them"
    assert (await get(server, good))["status"] == "running"
    assert (await server.client.get(f"/v1/sessions/{moved['session_id']}")).status_code == 404
    assert await v2.mark(blitz["session_id"]) is None


async def test_ids_that_differ_only_in_case(server: RestServer, v2: V2Redis) -> None:
    state = running()
    await v2.save(state)
    upper = state["session_id"].upper()
    await v2.put(upper, product.render(state | {"session_id": upper}))
    *faults, summary, _ = await import_all(server, v2)
    assert (len(faults), summary) == (1, "1 imported, 0 updated, 0 unchanged, 1 failed")
    assert "differs only in case" in faults[0]


async def test_upper_case_ids_become_lower_case(server: RestServer, v2: V2Redis) -> None:
    state = running()
    upper = state | {"session_id": state["session_id"].upper()}
    await v2.save(upper)
    await import_all(server, v2)
    assert (await get(server, state))["session_id"] == state["session_id"]
    await import_all(server, v2)
    assert (await get(server, state))["version"] == state["version"] + 1


async def test_prefix_with_glob_characters_is_taken_literally(server: RestServer, v2: V2Redis) -> None:
    await v2.save(running())
    odd = V2Redis(v2.pipe, f"{v2.prefix}[*]?:")
    state = running()
    await odd.save(state)
    assert await import_all(server, odd) == ["1 imported, 0 updated, 0 unchanged, 0 failed"]


async def test_full_outbox_fails_and_a_later_run_succeeds(server: RestServer, v2: V2Redis) -> None:
    for _ in range(2):
        await v2.save(running())
    strict = server.settings.model_copy(update={"outbox_max_entries": 1})
    assert "1 imported, 0 updated, 0 unchanged, 1 failed" in await import_all(server, v2, strict)
    assert await import_all(server, v2) == ["1 imported, 0 updated, 1 unchanged, 0 failed"]


async def test_two_imports_at_once_are_refused(server: RestServer, v2: V2Redis) -> None:
    await server.parts.pipe.call("SET", LEASE_KEY, "another", "EX", 30)
    with pytest.raises(ImportAlreadyRunning):
        await import_all(server, v2)


async def test_redis_of_v2_that_is_down_is_named(settings: Settings, unused_tcp_port: int) -> None:
    quick = settings.model_copy(update={"redis_timeout_s": 0.3})
    with pytest.raises(StoreUnavailable) as refusal:
        async for _ in import_sessions(quick, f"redis://:secret@127.0.0.1:{unused_tcp_port}", "session:"):
            pass
    assert refusal.value.setting == "--redis"
    assert refusal.value.address == f"redis://:***@127.0.0.1:{unused_tcp_port}"


class ShownProgress(NoProgress):
    """Receiver that keeps the reported activities and the announcements of an import."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, int | None]] = []
        self.announcements: list[str] = []

    def report(self, activity: str, done: int | None = None, total: int | None = None) -> None:
        self.reports.append((activity, done))

    def announce(self, line: str) -> None:
        self.announcements.append(line)


async def test_many_sessions_report_progress(server: RestServer, v2: V2Redis) -> None:
    states = [running() for _ in range(500)]
    await asyncio.gather(*(v2.save(state) for state in states))
    shown = ShownProgress()
    source = import_sessions(server.settings, server.settings.redis_url, v2.prefix, progress=shown)
    assert [line async for line in source] == ["500 imported, 0 updated, 0 unchanged, 0 failed"]
    assert len(shown.reports) > 1
    assert shown.reports[-1] == ("reading sessions of v2", 500)


# -- following v2 -----------------------------------------------------------------------------------------------------


class Follower:
    """An import that follows v2 in a task."""

    def __init__(self, server: RestServer, v2: V2Redis) -> None:
        self.lines: list[str] = []
        self._shown = ShownProgress()
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run(server, v2))

    async def _run(self, server: RestServer, v2: V2Redis) -> None:
        settings = server.settings
        source = import_sessions(settings, settings.redis_url, v2.prefix, stop=self._stop, progress=self._shown)
        async for line in source:
            self.lines.append(line)

    async def is_following(self) -> bool:
        return bool(self._shown.announcements)

    async def end(self) -> list[str]:
        self._stop.set()
        await self._task
        return self.lines


async def test_follower_takes_each_change(server: RestServer, v2: V2Redis, audit: AuditParts) -> None:
    first = running()
    await v2.save(first)
    follower = Follower(server, v2)

    async def has(state: State, status: str) -> bool:
        answer = await server.client.get(f"/v1/sessions/{state['session_id']}")
        return answer.status_code == 200 and answer.json()["data"]["status"] == status

    await eventually(lambda: has(first, "running"))
    second = product.create(now_ms())
    await v2.save(second)
    await eventually(lambda: has(second, "pending"))
    await v2.save(product.start(second, now_ms()))
    await eventually(lambda: has(second, "running"))
    await v2.save(product.pause(first, now_ms()))
    await eventually(lambda: has(first, "paused"))
    await v2.delete(second["session_id"])
    await eventually(lambda: has_gone(server, second))
    lines = await follower.end()
    assert lines == [
        f"{second['session_id']}: v2 deleted it; it is deleted here too",
        "2 imported, 2 updated, 0 unchanged, 0 failed",
    ]
    assert await verify(audit, first) == []
    assert await verify(audit, second) == []


async def has_gone(server: RestServer, state: State) -> bool:
    return (await server.client.get(f"/v1/sessions/{state['session_id']}")).status_code == 404


async def test_follower_takes_what_messages_did_not_say(server: RestServer, v2: V2Redis) -> None:
    follower = Follower(server, v2)
    await eventually(follower.is_following)
    state = running()
    await v2.put(state["session_id"], product.render(state))  # without a message
    await v2.pipe.call("PUBLISH", "session-updates", "no JSON")
    assert (await follower.end())[-1] == "1 imported, 0 updated, 0 unchanged, 0 failed"
    assert (await get(server, state))["status"] == "running"


async def test_session_deleted_in_v2_stays_if_it_was_changed_here(server: RestServer, v2: V2Redis) -> None:
    state = running()
    await v2.save(state)
    follower = Follower(server, v2)
    await eventually(lambda: _is_there(server, state))
    await post(server, state, "pause")
    await v2.delete(state["session_id"])

    async def is_reported() -> bool:
        return any("v2 deleted it; it stays here" in line for line in follower.lines)

    await eventually(is_reported)
    await follower.end()
    assert (await get(server, state))["status"] == "paused"


async def _is_there(server: RestServer, state: State) -> bool:
    return not await has_gone(server, state)
