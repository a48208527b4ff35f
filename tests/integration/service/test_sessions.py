"""The session service with real stores: commands take effect once, versions have no gap, and no time is lost."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import orjson
import pytest

from synckairos.clock.commands import (
    Cancel,
    Command,
    Create,
    Delete,
    NewParticipant,
    Pause,
    Start,
    Switch,
    UpdateMetadata,
    VersionPrecondition,
)
from synckairos.clock.model import OnTimeout, Status, SyncMode
from synckairos.config import Settings
from synckairos.errors import (
    IdempotencyKeyReused,
    InvalidTransition,
    PreconditionFailed,
    RateLimitExceeded,
    ReplayedRefusal,
    SessionExists,
    SessionNotFound,
    StoreUnavailable,
    SyncKairosError,
    VersionConflict,
)
from synckairos.frozen_replace import replace
from synckairos.principal import TIMEKEEPER
from synckairos.service.requests import CommandRequest, CreateRequest, SessionResult
from synckairos.service.sessions import Sessions
from synckairos.store.rate_meter import RateMeter
from synckairos.store.rate_quotas import Quota, general_rate
from synckairos.store.sessions import SessionStore
from tests.background_task import start
from tests.integration.parts import Parts, open_parts
from tests.principals import make_principal
from tests.waiting import eventually

CALLER = make_principal("admin")


@pytest.fixture
def sessions(parts: Parts) -> Sessions:
    return parts.sessions


@pytest.fixture
def store(parts: Parts) -> SessionStore:
    return parts.store


def chess(budget_ms: int = 60_000, **rules: Any) -> Create:
    two = tuple(NewParticipant(str(uuid4()), total_time_ms=budget_ms) for _ in range(2))
    return replace(Create(SyncMode.PER_PARTICIPANT, two), **rules)


async def create(sessions: Sessions, spec: Create | None = None) -> SessionResult:
    return await sessions.create(CreateRequest(CALLER, spec or chess()))


async def create_started(sessions: Sessions, spec: Create | None = None) -> str:
    session_id = (await create(sessions, spec)).session.session_id
    await sessions.execute(request_of(session_id, Start()))
    return session_id


def request_of(session_id: str, command: Command, **more: Any) -> CommandRequest:
    return replace(CommandRequest(CALLER, session_id, command, type(command).__name__.lower()), **more)


async def test_read_returns_the_committed_document(sessions: Sessions) -> None:
    created = await create(sessions)
    read = await sessions.read(TIMEKEEPER, created.session.session_id)
    assert (read.snapshot.document, read.snapshot.version, read.snapshot.epoch) == (
        created.snapshot.document,
        1,
        created.snapshot.epoch,
    )


async def test_fifty_switches_by_two_instances_leave_no_gap_and_lose_no_time(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(open_parts(settings)) for _ in range(2)]
        session_id = await create_started(one.sessions)
        answers = await asyncio.gather(
            *((one, two)[n % 2].sessions.execute(request_of(session_id, Switch())) for n in range(50))
        )
        assert sorted(answer.snapshot.version for answer in answers) == list(range(3, 53))
        history = [orjson.loads(message.snapshot.document) for message in await one.store.read_history(session_id)][
            ::-1
        ]
        assert [state["version"] for state in history] == list(range(21, 53))
        last = (await two.sessions.read(TIMEKEEPER, session_id)).session
        assert last.anchor_ms is not None
        assert last.started_at_ms is not None
        assert sum(p.used_ms for p in last.participants) == last.anchor_ms - last.started_at_ms
        assert sum(p.cycle_count for p in last.participants) == 50


async def test_command_id_sent_a_hundred_times_at_once_is_executed_once(sessions: Sessions) -> None:
    session_id = await create_started(sessions)
    request = request_of(session_id, Switch(), command_id="press-1", fingerprint="f")
    answers = await asyncio.gather(*(sessions.execute(request) for _ in range(100)))
    assert {answer.snapshot.document for answer in answers} == {answers[0].snapshot.document}
    assert sum(not answer.replayed for answer in answers) == 1
    assert (await sessions.read(TIMEKEEPER, session_id)).snapshot.version == 3


async def test_replay_after_later_commands_is_the_first_answer(sessions: Sessions) -> None:
    session_id = await create_started(sessions)
    request = request_of(session_id, Switch(), command_id="press-1", fingerprint="f")
    first = await sessions.execute(request)
    await sessions.execute(request_of(session_id, Switch()))
    again = await sessions.execute(request)
    assert again.replayed
    assert again.snapshot.document == first.snapshot.document


async def test_command_of_a_participant_is_replayed_after_the_deletion(sessions: Sessions) -> None:
    spec = chess()
    created = (await sessions.create(CreateRequest(CALLER, spec))).session
    await sessions.execute(request_of(created.session_id, Start()))
    person = spec.participants[0].participant_id
    caller = make_principal("participant", person, participant_id=person)
    command = Switch(current_participant_id=person)
    request = CommandRequest(caller, created.session_id, command, "switch", command_id="a", fingerprint="f")
    first = await sessions.execute(request)
    await sessions.execute(request_of(created.session_id, Delete()))
    again = await sessions.execute(request)
    assert (again.replayed, again.snapshot.document) == (True, first.snapshot.document)


async def test_refusal_is_replayed_even_if_the_command_would_now_be_accepted(sessions: Sessions) -> None:
    session_id = (await create(sessions)).session.session_id
    request = request_of(session_id, Switch(), command_id="early", fingerprint="f")
    with pytest.raises(InvalidTransition, match="pending"):
        await sessions.execute(request)
    await sessions.execute(request_of(session_id, Start()))
    with pytest.raises(ReplayedRefusal, match="pending") as again:
        await sessions.execute(request)
    assert again.value.replayed
    assert again.value.code == InvalidTransition.code


async def test_command_id_of_another_request_is_refused(sessions: Sessions) -> None:
    session_id = await create_started(sessions)
    await sessions.execute(request_of(session_id, Switch(), command_id="k", fingerprint="one"))
    with pytest.raises(IdempotencyKeyReused):
        await sessions.execute(request_of(session_id, Switch(), command_id="k", fingerprint="two"))


async def test_creation_key_used_twenty_times_creates_one_session(sessions: Sessions) -> None:
    request = CreateRequest(CALLER, chess(), command_id=uuid4().hex, fingerprint="f")
    answers = await asyncio.gather(*(sessions.create(request) for _ in range(20)))
    assert {answer.snapshot.document for answer in answers} == {answers[0].snapshot.document}
    with pytest.raises(IdempotencyKeyReused):
        await sessions.create(replace(request, fingerprint="other"))


async def test_creation_with_an_existing_id_is_refused_until_it_is_deleted(sessions: Sessions) -> None:
    request = CreateRequest(CALLER, chess(), session_id=str(uuid4()))
    first = await sessions.create(request)
    with pytest.raises(SessionExists):
        await sessions.create(request)
    await sessions.execute(request_of(first.session.session_id, Delete()))
    with pytest.raises(SessionNotFound):
        await sessions.read(TIMEKEEPER, first.session.session_id)
    second = await sessions.create(request)
    assert second.snapshot.version == 1
    assert second.snapshot.epoch != first.snapshot.epoch


@pytest.mark.parametrize(
    ("precondition", "error"),
    [
        (VersionPrecondition(version=1), VersionConflict),
        (VersionPrecondition(etags=((2, "other"),)), PreconditionFailed),
    ],
)
async def test_stale_precondition_is_refused(
    sessions: Sessions, precondition: VersionPrecondition, error: type[SyncKairosError]
) -> None:
    session_id = await create_started(sessions)
    with pytest.raises(error) as refused:
        await sessions.execute(request_of(session_id, Switch(), precondition=precondition))
    if error is VersionConflict:
        assert orjson.loads(refused.value.document or b"")["version"] == 2


async def test_command_without_a_change_makes_no_version(sessions: Sessions) -> None:
    session_id = (await create(sessions, chess(metadata={"a": 1}))).session.session_id
    same = await sessions.execute(request_of(session_id, UpdateMetadata({"a": 1})))
    assert same.snapshot.version == 1


async def test_read_after_the_deadline_commits_the_expiry_at_the_deadline(sessions: Sessions) -> None:
    spec = Create(SyncMode.GLOBAL, total_time_ms=1_000)
    session_id = await create_started(sessions, spec)
    deadline_ms = orjson.loads((await sessions.read(TIMEKEEPER, session_id)).snapshot.document)["deadline_at"]

    async def is_over() -> bool:
        return (await sessions.read(TIMEKEEPER, session_id)).session.status is Status.EXPIRED

    await eventually(is_over)
    over = orjson.loads((await sessions.read(TIMEKEEPER, session_id)).snapshot.document)
    assert over["session_completed_at"] == over["deadline_at"] == deadline_ms == over["updated_at"]


async def test_two_hundred_overdue_cycles_are_committed_before_the_command(parts: Parts) -> None:
    spec = replace(
        Create(SyncMode.PER_CYCLE, chess().participants, time_per_cycle_ms=1_000, max_cycles=500),
        on_timeout=OnTimeout.ADVANCE,
    )
    session_id = await create_started(parts.sessions, spec)
    await parts.rewind(session_id, 200_500)
    answer = await parts.sessions.execute(request_of(session_id, Pause()))
    assert answer.snapshot.version == 2 + 200 + 1
    assert answer.session.turn.cycles == 200
    assert answer.session.used_ms == pytest.approx(200_500, abs=500)


async def test_read_at_an_instant_uses_the_version_history(sessions: Sessions) -> None:
    created = await create(sessions)
    session_id = created.session.session_id
    created_ms = created.session.rules.created_at_ms
    started_answer = await sessions.execute(request_of(session_id, Start()))
    ended = await sessions.execute(request_of(session_id, Cancel()))
    assert (
        await sessions.read_at_instant(TIMEKEEPER, session_id, ended.now_ms + 10**9)
    ).snapshot.document == ended.snapshot.document
    at_start = await sessions.read_at_instant(TIMEKEEPER, session_id, started_answer.session.updated_at_ms)
    assert at_start.session.updated_at_ms <= started_answer.session.updated_at_ms
    with pytest.raises(SessionNotFound):
        await sessions.read_at_instant(TIMEKEEPER, session_id, created_ms - 1)


async def test_versions_that_are_no_longer_in_the_history_are_found_in_the_outbox(settings: Settings) -> None:
    async with open_parts(settings.model_copy(update={"history_length": 2})) as parts:
        created = await create(parts.sessions)
        session_id, created_ms = created.session.session_id, created.session.rules.created_at_ms

        async def is_later() -> bool:
            return await parts.sessions.now_ms() > created_ms

        await eventually(is_later)
        start = request_of(session_id, Start(), command_id="k", fingerprint="f")
        started_answer = await parts.sessions.execute(start)
        for at in range(3):
            await parts.sessions.execute(request_of(session_id, UpdateMetadata({"at": at})))
        assert (
            await parts.sessions.read_at_instant(TIMEKEEPER, session_id, created_ms)
        ).snapshot.document == created.snapshot.document
        with pytest.raises(SessionNotFound):
            await parts.sessions.read_at_instant(TIMEKEEPER, session_id, created_ms - 1)
        again = await parts.sessions.execute(start)
        assert (again.replayed, again.snapshot.document) == (True, started_answer.snapshot.document)

        # A failed entry, or an entry behind a long backlog, is neither in the history nor in the scanned part of the
        # outbox. No older version replaces it.
        await parts.pipe.call("DEL", parts.store.keys.outbox(parts.store.keys.partition_of(session_id)))
        with pytest.raises(StoreUnavailable, match="Postgres does not have the version"):
            await parts.sessions.read_at_instant(TIMEKEEPER, session_id, created_ms)
        with pytest.raises(StoreUnavailable, match="Postgres does not have the version"):
            await parts.sessions.execute(start)


async def test_rate_limit_is_counted_before_the_command_and_not_for_replays(sessions: Sessions) -> None:
    session_id = await create_started(sessions)
    meter = RateMeter(Quota(general_rate(2), session_id))
    request = request_of(session_id, Switch(), command_id="k", fingerprint="f", meter=meter)
    await sessions.execute(request)
    assert meter.statuses[0].remaining == 1
    for _ in range(4):
        assert (await sessions.execute(request)).replayed
        assert meter.statuses == ()
    await sessions.execute(request_of(session_id, Switch(), meter=meter))
    with pytest.raises(RateLimitExceeded):
        await sessions.execute(request_of(session_id, Switch(), meter=meter))
    assert meter.statuses[0].remaining == 0
    assert (await sessions.read(TIMEKEEPER, session_id)).snapshot.version == 4


async def test_cancelled_caller_of_a_shielded_command_does_not_stop_it(sessions: Sessions) -> None:
    session_id = await create_started(sessions)
    command = await start(sessions.execute_shielded(request_of(session_id, Switch())))
    command.cancel()
    await sessions.wait_for_shielded_commands()
    assert (await sessions.read(TIMEKEEPER, session_id)).snapshot.version == 3


async def test_unfinished_sessions_are_listed_newest_first_without_evicted_sessions(parts: Parts) -> None:
    created = [await create(parts.sessions) for _ in range(6)]
    ids = [answer.session.session_id for answer in reversed(created)]
    await parts.sessions.execute(request_of(ids[2], Cancel()))
    await parts.pipe.call("DEL", parts.store.keys.session(ids[0]), parts.store.keys.session(ids[1]))
    page = await parts.store.live.list_live(2, max_bytes=1 << 20)
    assert [session_id for _, session_id, _ in page] == ids[3:5]
    assert [
        session_id for _, session_id, _ in await parts.store.live.list_live(9, page[-1][:2], max_bytes=1 << 20)
    ] == ids[5:]
    assert await parts.store.live.count_unfinished() == 3
