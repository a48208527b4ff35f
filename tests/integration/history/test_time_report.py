"""Time reports: versions in the outbox count once, running sessions count until now, and days and weeks are local."""

from typing import Any
from uuid import uuid4

import pytest

from synckairos.clock.commands import (
    Command,
    Complete,
    Create,
    Delete,
    NewParticipant,
    Pause,
    RemoveParticipant,
    Resume,
    Start,
    Switch,
    UpdateMetadata,
)
from synckairos.clock.model import SyncMode
from synckairos.history.records import TimeReportSpec, UsedTimeBucket
from synckairos.history.time_report import TimeReporter
from synckairos.history.used_time_reader import UsedTimeReader
from synckairos.http.time_ranges import parse_time_range
from synckairos.wire.query_parameters import ParticipantTimeQuery, parse_query
from tests.integration.participant_rows import list_rows, new_participants
from tests.integration.rest_server import RestServer
from tests.integration.session_committer import ALICE, BOB, HOUR_MS, SessionCommitter, chess

DAY_MS = 24 * HOUR_MS
MINUTE_MS = 60_000
T0 = 1_700_000_000_000
NOW_MS = T0 + 10 * DAY_MS

WHOLE: dict[str, Any] = {"from_ms": 0, "to_ms": NOW_MS, "now_ms": NOW_MS, "metadata_key": None}


async def slices(server: RestServer, participant_id: str, **more: Any) -> list[UsedTimeBucket]:
    hours = TimeReporter(server.parts.history, server.outbox)
    spec = TimeReportSpec(participant_ids=(participant_id,), **({"bucket": "session"} | WHOLE | more))
    found, is_away = await hours.report_used_time(spec)
    assert not is_away
    return found


@pytest.mark.parametrize("drained_after", range(9))
async def test_report_does_not_depend_on_what_has_been_drained(server: RestServer, drained_after: int) -> None:
    committer = SessionCommitter(server.parts.store)
    life = await committer.create(chess(metadata={"project": "old"}), T0)
    steps: list[tuple[int, Command]] = [
        (0, Start()),
        (1, Switch()),
        (3, Pause()),
        (8, Resume()),
        (10, Switch()),
        (11, UpdateMetadata({"project": "new"})),
        (12, Switch()),
        (20, Complete()),
    ]
    for at, (minutes, command) in enumerate(steps):
        if at == drained_after:
            await server.drain()
        await committer.apply(life, command, T0 + minutes * MINUTE_MS)
    if drained_after == len(steps):
        await server.drain()
    for person, minutes in ((ALICE, 3), (BOB, 12)):
        assert await slices(server, person) == [UsedTimeBucket(life.session_id, minutes * MINUTE_MS, 1)]
        assert await slices(server, person, bucket="day", metadata_key="project") == [
            UsedTimeBucket("2023-11-14", minutes * MINUTE_MS, 1, ("new",))
        ]
    # The range of the request also limits turns in the outbox.
    cut = {"from_ms": T0 + 9 * MINUTE_MS, "to_ms": T0 + 14 * MINUTE_MS}
    assert [each.time_used_ms for each in await slices(server, BOB, **cut)] == [3 * MINUTE_MS]
    assert await slices(server, BOB, from_ms=T0 + 3 * MINUTE_MS, to_ms=T0 + 8 * MINUTE_MS) == []


async def test_running_turn_is_ended_by_a_version_in_the_outbox(server: RestServer) -> None:
    committer = SessionCommitter(server.parts.store)
    left, gone, runs = [await committer.create(chess(), T0 + at) for at in range(3)]
    for life in (left, gone, runs):
        await committer.apply(life, Start(), T0 + MINUTE_MS)
    await server.drain()
    await committer.apply(left, Switch(), T0 + 2 * MINUTE_MS)
    await committer.apply(left, RemoveParticipant(ALICE), T0 + 3 * MINUTE_MS)
    await committer.apply(gone, Delete(), T0 + 2 * MINUTE_MS)
    now_ms = T0 + 5 * MINUTE_MS
    expected = {left.session_id: MINUTE_MS, runs.session_id: 4 * MINUTE_MS}
    for _ in range(2):
        found = await slices(server, ALICE, now_ms=now_ms)
        assert {each.bucket: each.time_used_ms for each in found} == expected
        await server.drain()
    again = await committer.create(chess(), T0 + 4 * MINUTE_MS, gone.session_id, gone.snapshot)
    await committer.apply(again, Start(), T0 + 4 * MINUTE_MS)
    expected[gone.session_id] = MINUTE_MS
    for _ in range(2):
        found = await slices(server, ALICE, now_ms=now_ms)
        assert {each.bucket: each.time_used_ms for each in found} == expected
        await server.drain()


async def test_each_running_clock_of_an_individual_session_counts_until_its_own_deadline(server: RestServer) -> None:
    committer = SessionCommitter(server.parts.store)
    people = tuple(NewParticipant(each, total_time_ms=HOUR_MS) for each in (ALICE, BOB))
    life = await committer.create(Create(SyncMode.INDIVIDUAL, people), T0)
    await committer.apply(life, Start((ALICE,)), T0)
    for _ in range(2):
        for now_ms, used_ms in ((T0 + 5 * MINUTE_MS, 5 * MINUTE_MS), (T0 + 2 * HOUR_MS, HOUR_MS)):
            assert await slices(server, ALICE, now_ms=now_ms) == [UsedTimeBucket(life.session_id, used_ms, 1)]
        assert await slices(server, BOB) == []
        await server.drain()


async def test_version_that_is_drained_during_the_read_counts_once(
    server: RestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    committer = SessionCommitter(server.parts.store)
    life = await committer.create(chess(), T0)
    await committer.apply(life, Start(), T0)
    await server.drain()
    await committer.apply(life, Switch(), T0 + MINUTE_MS)
    await committer.apply(life, Switch(), T0 + 3 * MINUTE_MS)
    ask = UsedTimeReader.sum_by_bucket

    async def drained_first(history: UsedTimeReader, *args: Any, **more: Any) -> list[UsedTimeBucket]:
        await server.drain()
        return await ask(history, *args, **more)

    monkeypatch.setattr(UsedTimeReader, "sum_by_bucket", drained_first)
    now_ms = T0 + 4 * MINUTE_MS
    assert [each.time_used_ms for each in await slices(server, ALICE, now_ms=now_ms)] == [2 * MINUTE_MS]
    assert [each.time_used_ms for each in await slices(server, BOB, now_ms=now_ms)] == [2 * MINUTE_MS]


@pytest.mark.parametrize(
    ("tz", "bucket", "begins_ms", "hours", "expected"),
    [
        # In Berlin clocks were set back on 2024-10-27: a day of 25 hours.
        ("Europe/Berlin", "day", 1_729_980_000_000, 30, {"2024-10-27": 25, "2024-10-28": 5}),
        # In Havana clocks were set back on 2024-11-03 from 01:00 to 00:00: this hour came twice.
        ("America/Havana", "day", 1_730_602_800_000, 30, {"2024-11-02": 1, "2024-11-03": 25, "2024-11-04": 4}),
        # In Havana clocks were set forward on 2024-03-10 at midnight: the day began at 01:00.
        ("America/Havana", "day", 1_710_043_200_000, 30, {"2024-03-09": 1, "2024-03-10": 23, "2024-03-11": 6}),
        # 2024-12-30, a Monday, begins the first week of 2025; 2020 had a week 53.
        ("UTC", "week", 1_735_516_800_000 - 2 * HOUR_MS, 4, {"2024-W52": 2, "2025-W01": 2}),
        ("UTC", "week", 1_609_718_400_000 - 2 * HOUR_MS, 4, {"2020-W53": 2, "2021-W01": 2}),
        ("Asia/Kathmandu", "day", 1_735_516_800_000, 24, {"2024-12-30": 18.25, "2024-12-31": 5.75}),
    ],
)
@pytest.mark.parametrize("is_drained", [False, True])
async def test_days_and_weeks_are_those_of_the_time_zone(
    server: RestServer, tz: str, bucket: str, begins_ms: int, hours: int, expected: dict[str, float], is_drained: bool
) -> None:
    committer = SessionCommitter(server.parts.store)
    life = await committer.create(Create(SyncMode.COUNT_UP, (NewParticipant(ALICE),)), begins_ms)
    await committer.apply(life, Start(), begins_ms)
    await committer.apply(life, Complete(), begins_ms + hours * HOUR_MS)
    if is_drained:
        await server.drain()
    found = await slices(server, ALICE, tz=tz, bucket=bucket, to_ms=2**41, now_ms=2**41)
    assert {each.bucket: each.time_used_ms / HOUR_MS for each in found} == expected
    # A range that begins within the repeated hour loses no time.
    for from_ms in range(begins_ms, begins_ms + 3 * HOUR_MS, HOUR_MS // 2):
        part = await slices(server, ALICE, tz=tz, bucket=bucket, from_ms=from_ms, to_ms=2**41, now_ms=2**41)
        assert sum(each.time_used_ms for each in part) == begins_ms + hours * HOUR_MS - from_ms


@pytest.mark.parametrize("is_drained", [False, True])
@pytest.mark.parametrize(
    ("tz", "days", "bucket", "expected"),
    [
        # Databases of 2025 have other rules for these three in November 2026.
        ("America/Vancouver", "2026-11-20 2026-11-20", "day", {"2026-11-20": 24}),
        ("America/Edmonton", "2026-11-20 2026-11-20", "day", {"2026-11-20": 24}),
        ("Africa/Casablanca", "2026-11-20 2026-11-21", "day", {"2026-11-20": 24, "2026-11-21": 24}),
        ("Europe/Berlin", "2026-03-29 2026-03-30", "day", {"2026-03-29": 23, "2026-03-30": 24}),
        ("CET", "2026-10-24 2026-10-25", "day", {"2026-10-24": 24, "2026-10-25": 25}),
        ("Africa/Casablanca", "2026-02-15 2026-02-15", "day", {"2026-02-15": 25}),
        ("America/Toronto", "2026-03-02 2026-03-15", "week", {"2026-W10": 167, "2026-W11": 168}),
        ("Japan", "2026-11-19 2026-11-23", "week", {"2026-W47": 96, "2026-W48": 24}),
        ("America/Vancouver", "2026-11-20 2026-11-20", "session", {"": 24}),
    ],
)
async def test_days_of_the_range_are_the_days_of_the_buckets(
    server: RestServer, tz: str, days: str, bucket: str, expected: dict[str, float], is_drained: bool
) -> None:
    first_day, last_day = days.split()
    query = parse_query(ParticipantTimeQuery, f"from={first_day}&to={last_day}&tz={tz}".encode())
    from_ms, to_ms = parse_time_range(query, NOW_MS)
    committer = SessionCommitter(server.parts.store)
    life = await committer.create(Create(SyncMode.COUNT_UP, (NewParticipant(ALICE),)), from_ms - 2 * DAY_MS)
    await committer.apply(life, Start(), from_ms - DAY_MS)
    await committer.apply(life, Complete(), to_ms + DAY_MS)
    if is_drained:
        await server.drain()
    found = await slices(server, ALICE, tz=tz, bucket=bucket, from_ms=from_ms, to_ms=to_ms, now_ms=2**41)
    hours = {"" if bucket == "session" else each.bucket: each.time_used_ms / HOUR_MS for each in found}
    assert hours == expected


@pytest.mark.parametrize("is_drained", [False, True])
async def test_report_since_the_year_1_finds_the_first_session(server: RestServer, is_drained: bool) -> None:
    committer = SessionCommitter(server.parts.store)
    life = await committer.create(Create(SyncMode.COUNT_UP, (NewParticipant(ALICE),)), T0)
    await committer.apply(life, Start(), T0)
    whole: dict[str, Any] = {"from_ms": -(2**45), "bucket": "week", "tz": "America/New_York"}
    assert await slices(server, BOB, **whole) == []
    if is_drained:
        await server.drain()
    assert await slices(server, ALICE, **whole, now_ms=T0 + HOUR_MS) == [UsedTimeBucket("2023-W46", HOUR_MS, 1)]
    assert await slices(server, ALICE, **whole | {"to_ms": T0 - DAY_MS}) == []
    first_day = whole | {"bucket": "day", "to_ms": -(2**45) + DAY_MS}
    assert await slices(server, ALICE, **first_day) == []


@pytest.mark.parametrize("mode", ["per_participant", "count_up"])
async def test_report_and_list_of_sessions_have_the_same_time_of_a_running_session(
    server: RestServer, mode: str
) -> None:
    ada = str(uuid4())
    fields: dict[str, Any] = {"sync_mode": mode, "participants": new_participants(ada, str(uuid4()))}
    if mode == "count_up":
        fields |= {"participants": [{"participant_id": ada}], "total_time_ms": None}
    session = await server.create_started(**fields)
    path = f"/v1/participants/{ada}/time"
    for is_drained in (False, True):
        if is_drained:
            await server.drain()
        (before,) = await list_rows(server, ada)
        (slot,) = (await server.client.get(path, params={"bucket": "session"})).json()["data"]
        (after,) = await list_rows(server, ada)
        assert slot["bucket"] == session["session_id"]
        assert 0 < before["time_used_ms"] <= slot["time_used_ms"] <= after["time_used_ms"]
    await server.client.post(f"/v1/sessions/{session['session_id']}/pause")
    (row,) = await list_rows(server, ada)
    (slot,) = (await server.client.get(path)).json()["data"]
    assert slot["time_used_ms"] == row["time_used_ms"]
    answer = await server.client.get(path, headers={"accept": "text/csv"})
    assert answer.text.splitlines()[1].split(",")[2:] == [str(row["time_used_ms"]), "1"]
